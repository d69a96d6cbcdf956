"""What a fetch may do, and how much of it is left."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from media.addresses import Resolver, resolve
from media.types import MediaError


class FetchUnavailable(Exception):
    """The file could not be had *now*: try again later. Not a statement about the file."""


@dataclass(frozen=True)
class FetchPolicy:
    """From where, how much, and for how long may be fetched."""

    file_roots: tuple[Path, ...] = ()
    """Folders under which `file://` may read. None: no local files."""
    max_bytes: int = 2 * 1024**3
    deadline_s: float = 60.0
    """For the whole fetch."""
    allow_https: bool = True
    allow_http: bool = False
    """Also unencrypted."""
    allow_private: bool = False
    """Also addresses that are not public. For tests and closed networks: it turns the guard off."""
    ca_file: Path | None = None
    """Certificates to trust instead of the usual ones."""
    resolver: Resolver = resolve
    object_schemes: frozenset[str] = frozenset({"s3"})
    """fsspec protocols that are allowed."""
    object_roots: tuple[str, ...] = ()
    """Buckets, or folders in them, that may be read: `s3://uploads`, `s3://shared/incoming`. None: no objects. The
    farm's credentials may open more than an upload may ask for."""
    object_options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """By scheme: options for its fsspec file system (endpoint, credentials)."""


class Budget:
    """What one fetch may still take."""

    def __init__(self, policy: FetchPolicy) -> None:
        self.max_bytes = policy.max_bytes
        self._deadline_s = policy.deadline_s
        self._end = time.monotonic() + policy.deadline_s

    def left_s(self) -> float:
        """Time left, s.

        Raises:
            MediaError: `timeout`: there is none.
        """
        left = self._end - time.monotonic()
        if left <= 0:
            raise MediaError("timeout", f"fetching it took longer than {self._deadline_s:.0f} s")
        return left

    def check_size(self, size: int) -> None:
        """Raises `too_large` if there are more bytes than allowed."""
        if size > self.max_bytes:
            raise MediaError("too_large", f"it has more than {self.max_bytes} bytes")
