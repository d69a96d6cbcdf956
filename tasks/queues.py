"""The farm's queues, as both who sends and who consumes must declare them.

RabbitMQ: quorum queues, which survive the loss of a broker's node. A message that was delivered too often without an
end - its consumers died before they could write it into the ledger - goes to the dead-letter queue, where people look
at it: `tagfarm queues`. On Valkey a queue is a list for each priority, and the ledger alone counts.

A declaration must be the same everywhere: RabbitMQ refuses (406) whoever declares a queue otherwise than it is.
"""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Sequence
from typing import Any

from celery import Celery
from kombu import Connection, Exchange, Queue

from tasks.contract import BACKFILL_QUEUE, QUEUE

OVERFLOW_QUEUE = "uploads.overflow"
"""Where nodes put what busy accounts send beyond their share; nobody else sends there."""
QUEUES = (QUEUE, OVERFLOW_QUEUE, BACKFILL_QUEUE)
"""The urgent first."""
DEAD_QUEUE = "tagfarm.dead"
DELIVERY_LIMIT = 20
"""Deliveries without an end, after which RabbitMQ moves a message to the dead-letter queue. Far above
`TAGFARM_WORKER__MAX_ATTEMPTS`: whatever reaches the ledger is counted there."""
SENT_AT = "tagfarm_sent_at"
"""Header of a message: when it was sent, s since 1970. It tells how old a queue is; a plain sender may leave it out."""
PRIORITY_SUFFIXES = ("", "\x06\x163", "\x06\x166", "\x06\x169")
"""How the Valkey transport names a queue's list for each of its priorities."""

_QUORUM = {"x-queue-type": "quorum"}
_BOUNDED = {
    **_QUORUM,
    "x-delivery-limit": DELIVERY_LIMIT,
    "x-dead-letter-exchange": DEAD_QUEUE,
    # At least once needs `reject-publish`: a full queue refuses what comes rather than dropping what is there.
    "x-dead-letter-strategy": "at-least-once",
    "x-overflow": "reject-publish",
}


def is_amqp(broker_url: str) -> bool:
    """Whether the broker is a RabbitMQ."""
    return broker_url.startswith(("amqp:", "amqps:", "pyamqp:"))


def task_queues(broker_url: str) -> list[Queue]:
    """Celery's `task_queues` for this broker."""
    # Each its own exchange and key: with Celery's defaults both would hang on one key, and a sender that publishes to
    # the exchange by name (rather than with `queue=`) would reach both.
    arguments = _BOUNDED if is_amqp(broker_url) else None
    return [Queue(name, Exchange(name), routing_key=name, queue_arguments=arguments) for name in QUEUES]


def dead_letters() -> Queue:
    """RabbitMQ's queue for what was delivered too often."""
    return Queue(DEAD_QUEUE, Exchange(DEAD_QUEUE, type="fanout"), routing_key="", queue_arguments=dict(_QUORUM))


def declare_dead_letters(connection: Connection) -> None:
    """Have RabbitMQ keep dead letters; a node's first act."""
    if is_amqp(connection.as_uri()):
        with connection.channel() as channel:
            dead_letters()(channel).declare()


def queue_depths(app: Celery, names: Sequence[str] = QUEUES) -> dict[str, int]:
    """Messages that wait at the broker, by queue; not those that nodes hold.

    Raises:
        kombu.exceptions.OperationalError: the broker cannot be reached.
    """
    with app.connection_for_read() as connection:
        connection.ensure_connection(max_retries=1)
        if is_amqp(connection.as_uri()):
            return {name: _amqp_depth(connection, name) for name in names}
        client = connection.default_channel.client
        return {name: sum(client.llen(f"{name}{suffix}") for suffix in PRIORITY_SUFFIXES) for name in names}


def oldest_ages(app: Celery, names: Sequence[str] = QUEUES) -> dict[str, float]:
    """How long the message that is next waits, by queue, s; 0: none, or its sender did not say when it sent it.

    Valkey only, and empty on RabbitMQ: looking at a message there is a delivery.
    """
    with app.connection_for_read() as connection:
        connection.ensure_connection(max_retries=1)
        if is_amqp(connection.as_uri()):
            return {}
        client = connection.default_channel.client
        now = time.time()
        ages = dict.fromkeys(names, 0.0)
        for name, suffix in itertools.product(names, PRIORITY_SUFFIXES):
            if (message := client.lindex(f"{name}{suffix}", -1)) is not None:
                sent_at = json.loads(message).get("headers", {}).get(SENT_AT)
                if isinstance(sent_at, int | float):
                    ages[name] = max(ages[name], now - sent_at)
        return ages


def _amqp_depth(connection: Connection, name: str) -> int:
    # A channel of its own: asking for a queue that is not there closes it.
    channel: Any = connection.channel()
    try:
        return int(channel.queue_declare(queue=name, passive=True).message_count)
    except connection.channel_errors:
        return 0
    finally:
        if channel.connection is not None:
            channel.close()


def revive(app: Celery, limit: int = 1000) -> int:
    """Put dead letters back into the queues that they came from. Returns how many. RabbitMQ only."""
    moved = 0
    with app.connection_for_write() as connection, connection.channel() as channel:
        if not is_amqp(connection.as_uri()):
            return 0
        queue = dead_letters()(channel)
        queue.declare()
        producer = app.amqp.Producer(channel)
        while moved < limit and (message := queue.get(no_ack=False)) is not None:
            deaths = message.headers.get("x-death") or [{}]
            origin = str(deaths[0].get("queue", QUEUE))
            headers = {
                key: value for key, value in message.headers.items() if not key.startswith(("x-", "compression"))
            }
            producer.publish(
                message.body,
                exchange=origin,
                routing_key=origin,
                headers=headers,
                content_type=message.content_type,
                content_encoding=message.content_encoding,
                correlation_id=message.properties.get("correlation_id"),
                delivery_mode=2,
                retry=False,
            )
            message.ack()  # after the broker confirmed the copy: at worst it is there twice, and the ledger knows it
            moved += 1
    return moved
