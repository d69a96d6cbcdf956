"""The Celery tasks: thin. Names are explicit, and a name that was once published works for ever."""

from __future__ import annotations

from typing import Any

from celery import shared_task

from tasks.contract import TASK
from tasks.runtime import desk

FORMER_NAMES: tuple[str, ...] = ()
"""Names that `TASK` had. Renaming it means adding the old name here: messages under it are still in queues, and in
other people's programs. `tests/tasks/test_tag_upload.py` holds every name that was ever published against this."""


@shared_task(name=TASK, acks_late=True, ignore_result=True)
def tag_upload(upload: dict[str, Any], **_: Any) -> None:
    """Tag one upload. `upload`: a `TagUpload` as a JSON object. Other keywords are a newer sender's: ignored."""
    desk().handle(upload)


for _name in FORMER_NAMES:
    shared_task(name=_name, acks_late=True, ignore_result=True)(tag_upload.run)
