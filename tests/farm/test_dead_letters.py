"""RabbitMQ counts deliveries: what nobody can end goes to the dead letters, and back when a person says so."""

from __future__ import annotations

import time

import pytest
from celery import Celery
from kombu import Connection

from benchmarks import rabbit
from tasks.enqueue import Sender
from tasks.queues import DEAD_QUEUE, DELIVERY_LIMIT, QUEUE, dead_letters, queue_depths, revive, task_queues

UPLOAD = {"upload_id": "u1", "media": "file:///a.mp4"}


@pytest.mark.slow
def test_a_message_that_nobody_ends_becomes_a_dead_letter_and_can_be_revived(rabbit_node: rabbit.RabbitNode) -> None:
    sender = Sender(rabbit_node.url)
    with Connection(rabbit_node.url) as connection:
        channel = connection.channel()
        uploads = task_queues(rabbit_node.url)[0](channel)
        for queue in (dead_letters()(channel), uploads):
            queue.declare()
        message_id = sender.send(UPLOAD)
        deliveries = 0
        deadline = time.monotonic() + 30
        while deliveries <= DELIVERY_LIMIT and time.monotonic() < deadline:
            if (message := uploads.get(no_ack=False)) is not None:
                deliveries += 1
                message.reject(requeue=True)
        app = Celery("test", broker=rabbit_node.url)
        while queue_depths(app, [DEAD_QUEUE])[DEAD_QUEUE] == 0 and time.monotonic() < deadline:
            time.sleep(0.1)
        assert (deliveries, queue_depths(app, [QUEUE, DEAD_QUEUE])) == (DELIVERY_LIMIT + 1, {QUEUE: 0, DEAD_QUEUE: 1})
        app.conf.broker_transport_options = {"confirm_publish": True}
        assert revive(app) == 1
        assert revive(app) == 0
        back = uploads.get(no_ack=True)
        assert back.headers["id"] == message_id
        assert back.payload[1]["upload"] == UPLOAD
        for name in ("uploads", "backfill", DEAD_QUEUE):
            channel.queue_delete(name)
        app.close()
    sender.close()
