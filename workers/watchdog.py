"""Reasons for a node to end itself softly, so that whoever started it starts a fresh one."""

from __future__ import annotations

import time
from collections.abc import Callable


class Watchdog:
    """Tells when a node consumes nothing although there is something, or has grown too large.

    Args:
        stall_s: how long messages may wait while nothing is in work and nothing was handled, s.
        memory_bytes: resident memory beyond which it is to end; None: never.
        clock: seconds.
    """

    def __init__(
        self, stall_s: float, memory_bytes: int | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._stall_s = stall_s
        self._memory_bytes = memory_bytes
        self._clock = clock
        self._handled = -1
        self._idle_since: float | None = None

    def look(self, waiting: int, in_work: int, handled: int, resident: int) -> str | None:
        """Why the node should end; None: it should not.

        Args:
            waiting: messages at the broker in the queues that it serves.
            in_work: on this node.
            handled: by it, since it started.
            resident: its memory, bytes.
        """
        if self._memory_bytes is not None and resident > self._memory_bytes:
            return f"its memory grew to {resident >> 20} MiB, more than {self._memory_bytes >> 20} MiB"
        moves = handled != self._handled or in_work > 0 or waiting == 0
        self._handled = handled
        if moves:
            self._idle_since = None
            return None
        now = self._clock()
        if self._idle_since is None:
            self._idle_since = now
        idle_s = now - self._idle_since
        return f"{waiting} messages wait and it took none for {idle_s:.0f} s" if idle_s >= self._stall_s else None
