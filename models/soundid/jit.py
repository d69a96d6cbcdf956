"""Compiled loops. Only the matcher's process compiles them: the decoder's, which extracts features, never does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

Function = TypeVar("Function", bound=Callable[..., Any])


def compiled(function: Function) -> Function:
    """Compile with numba, without the interpreter's lock, and keep the result where there is a place to keep it."""
    from numba import njit

    try:
        made = njit(nogil=True, cache=True)(function)
    except RuntimeError:  # neither beside the module nor in the user's cache may anything be written
        made = njit(nogil=True)(function)
    return cast(Function, made)
