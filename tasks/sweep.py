"""The sweeper: sends again what a dead node held, what is due for another try, and what a broker forgot.

One at a time sweeps, by a lease in the store. That only saves work: the ledger claims each upload for one sweeper only,
so two that sweep at once, two beats or a holder that slept through its lease, do no harm.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

from store.store import Due, Store
from tasks.contract import TagDocument

log = logging.getLogger(__name__)

Send = Callable[[Mapping[str, Any], str, int], object]
"""`send(message, queue, priority)`"""


SWEEPER = "sweeper"
FLIGHT_S = 20.0
"""How long a sweeper that fell silent keeps others from sweeping, s."""


def sweep(store: Store, send: Send, max_attempts: int, owner: str = SWEEPER) -> int:
    """One round, if it is this owner's turn. Returns how many uploads were sent again."""
    if not store.take_flight(SWEEPER, owner, FLIGHT_S):
        return 0
    sent = 0
    for due in store.claim_due(max_attempts):
        # One that cannot be sent now comes again later; the rest of the page shall not wait for it.
        try:
            sent += _settle(store, send, due)
        except Exception:
            log.exception("upload %s could not be sent again", due.upload_id)
    return sent


def _settle(store: Store, send: Send, due: Due) -> bool:
    """Send one upload again, or close it. True if it was sent."""
    if due.exhausted:
        document = TagDocument(
            upload_id=due.upload_id,
            outcome="quarantined",
            reason=f"{due.attempts} attempts ended without an answer; the last: {due.reason}",
            attempts=due.attempts,
        )
        if store.quarantine(due.upload_id, due.request_hash, document.to_json()):
            log.error("upload %s is quarantined: %s", due.upload_id, document.reason)
        return False
    log.warning("upload %s is sent again (attempts so far: %d; %s)", due.upload_id, due.attempts, due.reason)
    send(due.request, due.queue, due.priority)
    return True
