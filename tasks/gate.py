"""The order in which a node's messages become work: who waits, who is next, and when there is no room.

A node takes a few more messages than it works on at once, so that there is something to choose from:

- fresh uploads first, then the overflow of busy accounts, then backfill - but every `FLOOR`-th turn goes to what waits
  behind, so that nothing waits for ever;
- within a lane, the account with the least in work is next, then the longest wait;
- what was lost with its node more than once is worked on alone;
- no upload begins while the machine has no memory to spare, unless nothing is in work at all.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from tasks.leases import NodeStopping
from tasks.queues import QUEUES

FLOOR = 8
"""Every so many turns one goes to a lane behind the first, if anything waits there."""
MEMORY_CHECK_S = 0.5
ALONE_CHECK_S = 0.05
CROWD_SHARE = 0.5
"""An account that has this share of a node's places, while others find none, is asked to step aside."""


@dataclass
class _Waiter:
    lane: int
    account: str | None
    arrival: int
    admitted: bool = False
    ready: threading.Event = field(default_factory=threading.Event)


class Gate:
    """Admits messages to work, `slots` at a time. Safe to share between threads.

    Args:
        slots: uploads in work at once.
        places: in work or waiting.
        has_memory: whether another upload may begin.
    """

    def __init__(self, slots: int, places: int, has_memory: Callable[[], bool] = lambda: True) -> None:
        self._slots = slots
        self._places = max(slots, places)
        self._has_memory = has_memory
        self._lock = threading.Lock()
        self._waiting: list[_Waiter] = []
        self._running: Counter[str | None] = Counter()
        self._arrivals = itertools.count()
        self._turns = 0
        self._behind = 0
        self._suspects = 0
        self._one_suspect = threading.Lock()
        self._closed = False

    @contextmanager
    def admitted(self, queue: str, account: str | None = None) -> Iterator[None]:
        """Wait for a turn; the work is done inside the block.

        Raises:
            NodeStopping: the node stops; the message is for another.
        """
        lane = QUEUES.index(queue) if queue in QUEUES else 0
        waiter = _Waiter(lane, account, next(self._arrivals))
        with self._lock:
            if self._closed:
                raise NodeStopping
            self._waiting.append(waiter)
        self._admit()
        while not waiter.ready.wait(MEMORY_CHECK_S):
            self._admit()  # memory comes back without telling
        if not waiter.admitted:
            raise NodeStopping
        try:
            yield
        finally:
            with self._lock:
                self._running[account] -= 1
                self._running += Counter()  # drops what is at zero
            self._admit()

    @contextmanager
    def alone(self) -> Iterator[None]:
        """For one that is in work already: wait until nothing else is, and let nothing begin meanwhile.

        For what may end the whole node: whatever else was in work then would be lost with it, and be suspected too.
        """
        with self._lock:
            self._suspects += 1
        try:
            with self._one_suspect:
                while self.running > self._suspects:  # the other suspects wait here as well
                    time.sleep(ALONE_CHECK_S)
                yield
        finally:
            with self._lock:
                self._suspects -= 1
            self._admit()

    def crowded_by(self, account: str | None) -> bool:
        """Whether this account has so much here that others find no place: its next message should step aside."""
        if account is None:
            return False
        with self._lock:
            taken = self._running.total() + len(self._waiting)
            mine = self._running[account] + sum(waiter.account == account for waiter in self._waiting)
        return taken >= self._slots and mine >= max(1.0, CROWD_SHARE * self._places)

    def close(self) -> None:
        """Admit nobody any more: who waits gets `NodeStopping`, who is in work goes on."""
        with self._lock:
            self._closed = True
            for waiter in self._waiting:
                waiter.ready.set()
            self._waiting.clear()

    @property
    def running(self) -> int:
        """In work."""
        with self._lock:
            return self._running.total()

    def waiting(self) -> dict[str, int]:
        """Who waits here, by queue."""
        with self._lock:
            counted = Counter(waiter.lane for waiter in self._waiting)
        return {queue: counted[lane] for lane, queue in enumerate(QUEUES)}

    def _admit(self) -> None:
        with self._lock:
            while self._waiting and not self._suspects and self._running.total() < self._slots:
                if self._running.total() and not self._has_memory():
                    return
                chosen = self._next()
                self._waiting.remove(chosen)
                self._running[chosen.account] += 1
                chosen.admitted = True
                chosen.ready.set()

    def _next(self) -> _Waiter:
        lanes = sorted({waiter.lane for waiter in self._waiting})
        self._turns += 1
        lane = lanes[0]
        if len(lanes) > 1 and self._turns % FLOOR == 0:
            self._behind += 1  # those behind take the floor's turns in turn
            lane = lanes[1 + self._behind % (len(lanes) - 1)]
        here = [waiter for waiter in self._waiting if waiter.lane == lane]
        return min(here, key=lambda waiter: (self._running[waiter.account], waiter.arrival))
