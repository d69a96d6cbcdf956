"""Send an upload to the farm. Needs Celery and pydantic only; plain Celery's `send_task` does as well.

from tasks.enqueue import Sender
Sender("redis://broker:6379/0").send({"upload_id": "u1", "media": "s3://uploads/u1.mp4"})
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, Literal

from celery import Celery

from tasks.contract import BACKFILL_QUEUE, QUEUE, TASK, TagUpload
from tasks.queues import SENT_AT, is_amqp, task_queues

DEFAULT_PRIORITY = 5


class Sender:
    """A connection to the farm's broker for those who only send. Safe to share between threads."""

    def __init__(self, broker_url: str) -> None:
        self._app = Celery("tagfarm-sender", broker=broker_url)
        self._app.conf.update(
            task_serializer="json",
            accept_content=["json"],
            task_ignore_result=True,
            task_queues=task_queues(broker_url),
            # A broker that is down is told to the caller at once, not waited for; on RabbitMQ a message is only sent
            # when the broker has confirmed it.
            broker_transport_options={"confirm_publish": True}
            if is_amqp(broker_url)
            else {"socket_connect_timeout": 5},
        )

    def send(self, upload: TagUpload | dict[str, Any], queue: Literal["uploads", "backfill"] = "uploads") -> str:
        """Enqueue one upload and return its message's id.

        Raises `pydantic.ValidationError` for what is not a `TagUpload`, and `kombu.exceptions.OperationalError` when
        the broker cannot be reached.
        """
        if queue not in (QUEUE, BACKFILL_QUEUE):
            raise ValueError(f"queue {queue!r} is neither {QUEUE!r} nor {BACKFILL_QUEUE!r}")
        body = upload if isinstance(upload, TagUpload) else TagUpload.model_validate(upload)
        return send(self._app, body.model_dump(mode="json", exclude_defaults=True), queue, body.priority)

    def close(self) -> None:
        """Close the connections."""
        self._app.close()


def send(app: Celery, message: Mapping[str, Any], queue: str, priority: int = DEFAULT_PRIORITY) -> str:
    """Put one message on a queue through an existing Celery application."""
    result = app.send_task(
        TASK,
        kwargs={"upload": dict(message)},
        headers={SENT_AT: time.time()},
        queue=queue,
        priority=transport_priority(str(app.conf.broker_url or ""), priority),
        retry=True,
        retry_policy={"max_retries": 3, "interval_start": 0.2, "interval_step": 0.5},
    )
    return str(result.id)


def transport_priority(broker_url: str, priority: int) -> int:
    """The broker's own number for a contract priority (9 most urgent).

    On Valkey 0 is served first and is what a plain sender gets, so normal and urgent share it and what is less urgent
    comes after. RabbitMQ counts upwards.
    """
    if is_amqp(broker_url):
        return priority
    return min(9, max(0, (DEFAULT_PRIORITY - priority) * 2))
