"""Celery's configuration: at-least-once, JSON only, one message at a time for each thread."""

from __future__ import annotations

from typing import Any

from tasks.contract import QUEUE, SWEEP_TASK
from tasks.queues import task_queues
from workers.safety import refuse_unsafe
from workers.settings import Settings

SWEEP_S = 15.0
BEAT_SCHEDULE = {"sweep": {"task": SWEEP_TASK, "schedule": SWEEP_S, "options": {"queue": QUEUE, "expires": SWEEP_S}}}
"""What beat sends. Each node also sweeps by itself, so that a farm without beat loses nothing; with it, a round comes
even where a node's own thread hangs."""
HEARTBEAT_S = 20
"""RabbitMQ only: a connection that is silent for so long is taken for dead, s."""
RESTORE_INTERVAL_S = 10
"""How often the Valkey transport looks for messages whose consumer died."""


def celery_config(settings: Settings) -> dict[str, Any]:
    """The configuration as Celery's lower-case names.

    Raises:
        UnsafeSettings: with it work would be lost or done twice; the message says what to write instead.
    """
    config: dict[str, Any] = {
        "broker_url": settings.broker.url,
        "broker_connection_retry_on_startup": True,
        "task_default_queue": QUEUE,
        "task_queues": task_queues(settings.broker.url),
        # A message is acknowledged when its upload's document is committed, not before.
        "task_acks_late": True,
        "task_reject_on_worker_lost": True,
        "worker_prefetch_multiplier": 1,
        "worker_cancel_long_running_tasks_on_connection_loss": False,
        # Results are read from the feed: a result backend would be a second, weaker truth.
        "task_ignore_result": True,
        "task_serializer": "json",
        "result_serializer": "json",
        "accept_content": ["json"],
        "enable_utc": True,
        "timezone": "UTC",
        "worker_pool": "threads",
        "worker_concurrency": settings.worker.threads,
        "worker_send_task_events": True,
        "worker_hijack_root_logger": True,
    }
    if settings.broker.is_valkey:
        visibility = settings.broker.visibility_timeout_s
        config["broker_transport_options"] = {
            "visibility_timeout": visibility,
            "unacked_restore_interval": RESTORE_INTERVAL_S,
            "unacked_restore_throttle": 1,
            "queue_order_strategy": "priority",  # `uploads` before `backfill`
            "health_check_interval": 25,
        }
        config["visibility_timeout"] = visibility
        config["result_backend_transport_options"] = {"visibility_timeout": visibility}
    else:
        config["broker_heartbeat"] = HEARTBEAT_S
        # What the sweeper sends must have arrived, or its sender must know that it has not.
        config["broker_transport_options"] = {"confirm_publish": True}
    config.update(settings.celery)
    refuse_unsafe(config, settings.job_deadline_s, settings.broker.is_valkey, settings.broker.consumer_timeout_s)
    return config
