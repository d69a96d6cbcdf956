"""Celery's configuration: at-least-once, JSON only, one message at a time for each thread."""

from __future__ import annotations

from typing import Any

from kombu import Exchange, Queue

from tasks.contract import BACKFILL_QUEUE, QUEUE, SWEEP_TASK
from workers.settings import Settings

SWEEP_S = 15.0
BEAT_SCHEDULE = {"sweep": {"task": SWEEP_TASK, "schedule": SWEEP_S, "options": {"queue": QUEUE, "expires": SWEEP_S}}}
"""What beat sends. Each node also sweeps by itself, so that a farm without beat loses nothing; with it, a round comes
even where a node's own thread hangs."""
RESTORE_INTERVAL_S = 10
"""How often the Valkey transport looks for messages whose consumer died."""


def celery_config(settings: Settings) -> dict[str, Any]:
    """The configuration as Celery's lower-case names."""
    config: dict[str, Any] = {
        "broker_url": settings.broker.url,
        "broker_connection_retry_on_startup": True,
        "task_default_queue": QUEUE,
        # Each its own exchange and key: with the defaults both would hang on one key, and a sender that publishes to
        # the exchange by name (rather than with `queue=`) would reach both.
        "task_queues": [Queue(name, Exchange(name), routing_key=name) for name in (QUEUE, BACKFILL_QUEUE)],
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
        "worker_concurrency": settings.worker.concurrency,
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
    return config
