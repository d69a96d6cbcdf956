"""The Celery tasks: thin. Names are explicit, and a name that was once published works for ever."""

from __future__ import annotations

from functools import partial
from typing import Any

from celery import Task, shared_task

from tasks.contract import QUEUE, SWEEP_TASK, TASK
from tasks.enqueue import send
from tasks.runtime import desk
from tasks.sweep import sweep as sweep_once

FORMER_NAMES: tuple[str, ...] = ()
"""Names that `TASK` had. Renaming it means adding the old name here: messages under it are still in queues, and in
other people's programs. `tests/tasks/test_tag_upload.py` holds every name that was ever published against this."""


def tag_upload(self: Task, upload: dict[str, Any], **_: Any) -> None:
    """Tag one upload. `upload`: a `TagUpload` as a JSON object. Other keywords are a newer sender's: ignored."""
    desk().handle(upload, queue=(self.request.delivery_info or {}).get("routing_key") or QUEUE)


for _name in (TASK, *FORMER_NAMES):
    shared_task(name=_name, bind=True, acks_late=True, ignore_result=True)(tag_upload)


@shared_task(name=SWEEP_TASK, bind=True, ignore_result=True)
def sweep(self: Task, **_: Any) -> None:
    """One round of the sweeper; sent by beat."""
    sweep_once(desk().store, partial(send, self.app), desk().max_attempts)
