"""Leases of the uploads in this process, renewed together for as long as their work goes on."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

log = logging.getLogger(__name__)

RENEWALS = 3
"""Renewals in one lease: two may fail before it is lost."""


class NodeStopping(Exception):
    """The node stops: the message is for another."""


class LeaseKeeper:
    """Renews every held attempt from one thread.

    Args:
        renew: `renew(attempt_id) -> bool`; False: the lease is someone else's now.
        lease_s: length of a lease, s.
        longest_s: an attempt that is held for longer hangs: it is not renewed any more, so that another may try.
    """

    def __init__(self, renew: Callable[[int], bool], lease_s: float, longest_s: float = math.inf) -> None:
        self._renew = renew
        self._interval_s = lease_s / RENEWALS
        self._longest_s = longest_s
        self._held: dict[int, float] = {}
        self._guard = threading.Lock()
        self._taking = threading.Lock()
        self._closed = False
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="leases", daemon=True)

    def start(self) -> None:
        """Begin to renew."""
        self._thread.start()

    @contextmanager
    def taking(self) -> Iterator[None]:
        """Take an attempt from the ledger and `hold` it inside the block: `close` sees both or neither.

        Raises:
            NodeStopping: nothing is taken any more.
        """
        with self._taking:
            if self._closed:
                raise NodeStopping
            yield

    def hold(self, attempt_id: int) -> None:
        """Keep this attempt's lease alive until it is let go."""
        with self._guard:
            self._held[attempt_id] = time.monotonic()

    def let_go(self, attempt_id: int) -> None:
        """The attempt has ended."""
        with self._guard:
            self._held.pop(attempt_id, None)

    def close(self) -> None:
        """Take nothing any more; after this `held` can only shrink."""
        with self._taking:
            self._closed = True

    def held(self) -> list[int]:
        """Attempts in work."""
        with self._guard:
            return sorted(self._held)

    def stop(self) -> None:
        """Stop renewing; leases then run out by themselves."""
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join(timeout=self._interval_s)

    def _to_renew(self) -> list[int]:
        oldest = time.monotonic() - self._longest_s
        with self._guard:
            hung = sorted(attempt_id for attempt_id, since in self._held.items() if since < oldest)
            fit = sorted(attempt_id for attempt_id, since in self._held.items() if since >= oldest)
        if hung:
            log.error("attempts %s hang: their leases are let go", hung)
        return fit

    def _run(self) -> None:
        while not self._stopped.wait(self._interval_s):
            for attempt_id in self._to_renew():
                try:
                    if not self._renew(attempt_id) and attempt_id in self.held():
                        # The work goes on, but its commit will be refused: it is too late to stop a network's forward.
                        log.warning("the lease of attempt %d is lost", attempt_id)
                except Exception:
                    log.exception("the lease of attempt %d could not be renewed; trying again", attempt_id)
