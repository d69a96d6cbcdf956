"""What the tasks of this process run on. Filled by whoever owns the process (`workers`), before the first message."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tasks.job import Desk

_desk: Desk | None = None


def install(desk: Desk | None) -> None:
    """Put the process's desk in place; None takes it away."""
    global _desk  # noqa: PLW0603  # one per process, by Celery's design: a task function takes no context
    _desk = desk


def desk() -> Desk:
    """The process's desk."""
    if _desk is None:
        raise RuntimeError(
            "this process was not opened as a node: start it with `tagfarm worker` or `celery -A workers.app`"
        )
    return _desk
