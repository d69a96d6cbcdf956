"""The Celery tasks: thin. Names are explicit, and a name that was once published works for ever."""

from __future__ import annotations

import logging
import time
from functools import partial
from typing import Any

from celery import Task, shared_task
from celery.exceptions import Reject

from store.store import StoreUnavailable
from tasks.contract import QUEUE, SWEEP_TASK, TASK
from tasks.enqueue import send
from tasks.leases import NodeStopping
from tasks.queues import SENT_AT
from tasks.runtime import desk
from tasks.sweep import sweep as sweep_once

log = logging.getLogger(__name__)

STORE_AWAY_S = 5.0
"""Wait before a message is tried again because the store is away, s."""
HOLD_S = 120.0
"""How long a message is kept while the store is away, s; then it goes back to the broker, which counts that."""
FORMER_NAMES: tuple[str, ...] = ()
"""Names that `TASK` had. Renaming it means adding the old name here: messages under it are still in queues, and in
other people's programs. `tests/tasks/test_tag_upload.py` holds every name that was ever published against this."""


def tag_upload(self: Task, upload: Any = None, **_: Any) -> None:
    """Tag one upload. `upload`: a `TagUpload` as a JSON object. Other keywords are a newer sender's: ignored."""
    queue = (self.request.delivery_info or {}).get("routing_key") or QUEUE
    sent_at = getattr(self.request, SENT_AT, None)
    if isinstance(sent_at, int | float):
        desk().observe_age(queue, max(0.0, time.time() - sent_at))
    end = time.monotonic() + HOLD_S
    while True:
        try:
            desk().handle(upload, queue)
            return
        except NodeStopping as error:
            raise Reject("the node stops", requeue=True) from error
        except StoreUnavailable as error:
            # Without the store there is no ledger, so the message stays here. The wait is the back-pressure.
            log.warning("the store is away (%s): a message of %s waits", error, queue)
            time.sleep(STORE_AWAY_S)
            if time.monotonic() > end:
                raise Reject(str(error), requeue=True) from error


for _name in (TASK, *FORMER_NAMES):
    shared_task(name=_name, bind=True, acks_late=True, ignore_result=True)(tag_upload)


@shared_task(name=SWEEP_TASK, bind=True, ignore_result=True)
def sweep(self: Task, **_: Any) -> None:
    """One round of the sweeper; sent by beat."""
    try:
        sweep_once(desk().store, partial(send, self.app), desk().max_attempts, desk().owner)
    except StoreUnavailable as error:
        log.warning("the store is away (%s): nothing was swept", error)
