"""Leases of the uploads in this process, renewed together for as long as their work goes on."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

log = logging.getLogger(__name__)

RENEWALS = 3
"""Renewals in one lease: two may fail before it is lost."""


class LeaseKeeper:
    """Renews every held attempt from one thread.

    Args:
        renew: `renew(attempt_id) -> bool`; False: the lease is someone else's now.
        lease_s: length of a lease, s.
    """

    def __init__(self, renew: Callable[[int], bool], lease_s: float) -> None:
        self._renew = renew
        self._interval_s = lease_s / RENEWALS
        self._held: set[int] = set()
        self._guard = threading.Lock()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="leases", daemon=True)

    def start(self) -> None:
        """Begin to renew."""
        self._thread.start()

    @contextmanager
    def holding(self, attempt_id: int) -> Iterator[None]:
        """Keep this attempt's lease alive inside the block."""
        with self._guard:
            self._held.add(attempt_id)
        try:
            yield
        finally:
            with self._guard:
                self._held.discard(attempt_id)

    def held(self) -> list[int]:
        """Attempts in work."""
        with self._guard:
            return sorted(self._held)

    def stop(self) -> None:
        """Stop renewing; leases then run out by themselves."""
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join(timeout=self._interval_s)

    def _run(self) -> None:
        while not self._stopped.wait(self._interval_s):
            for attempt_id in self.held():
                try:
                    if not self._renew(attempt_id) and attempt_id in self.held():
                        # The work goes on, but its commit will be refused: it is too late to stop a network's forward.
                        log.warning("the lease of attempt %d is lost", attempt_id)
                except Exception:
                    log.exception("the lease of attempt %d could not be renewed; trying again", attempt_id)
