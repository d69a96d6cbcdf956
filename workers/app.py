"""The Celery application: `celery -A workers.app worker -Q uploads,uploads.overflow,backfill -P threads`."""

from __future__ import annotations

import logging
import os
from typing import Any

# See scripts/cli.py: before NumPy is loaded.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from celery import Celery
from celery.signals import worker_init, worker_ready, worker_shutdown, worker_shutting_down

from tasks.queues import declare_dead_letters
from workers import transport
from workers.celery_config import BEAT_SCHEDULE, celery_config
from workers.settings import settings

log = logging.getLogger(__name__)

transport.install()
app = Celery("tagfarm", include=["tasks.tag_upload"])
app.config_from_object(celery_config(settings()))
app.conf.beat_schedule = BEAT_SCHEDULE


@worker_init.connect
def _open_node(sender: Any = None, **_: Any) -> None:
    """Build what every upload shares - store, decoders, networks - once, before the first message is taken."""
    from workers.node import open_node

    try:
        open_node(settings(), app)
    except Exception as error:
        # Celery logs what a signal's receiver raises and goes on: the worker would eat the queue without a node.
        log.critical("the node cannot be opened: %s; see: tagfarm doctor", error, exc_info=True)
        raise SystemExit(1) from error


@worker_ready.connect
def _start_node(sender: Any = None, **_: Any) -> None:
    from workers.node import node

    with app.connection_for_write() as connection:
        declare_dead_letters(connection)
    # Asked for anew when it is needed: a lost connection changes the channel.
    node().start(lambda: transport.give_back(sender.task_consumer.channel))


@worker_shutting_down.connect
def _bound_shutdown(sender: Any = None, **_: Any) -> None:
    from workers.node import node

    node().stop_within(settings().worker.grace_s)


@worker_shutdown.connect
def _close_node(sender: Any = None, **_: Any) -> None:
    from workers.node import close_node

    close_node()
