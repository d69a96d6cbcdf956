"""Fresh uploads come before bulk work, whoever was first in the queue."""

from __future__ import annotations

from pathlib import Path

import redis


def test_uploads_come_before_backfill(farm_factory, media: Path, tmp_path: Path) -> None:
    farm = farm_factory(tmp_path / "farm", {"TAGFARM_WORKER__CONCURRENCY": "1"}, nodes=0)
    try:
        for number in range(4):
            farm.send(f"bulk{number}", media / "silent.mp4", queue="backfill")
        for number in range(4):
            farm.send(f"fresh{number}", media / "silent.mp4")
        assert farm.embedded.queue_lengths() == {"uploads": 4, "backfill": 4}
        farm.embedded.start_node()
        farm.wait(lambda: farm.store.feed_head() == 8, "all documents")
        # One that is sent after the node has declared its queues.
        farm.send("later", media / "silent.mp4")
        farm.document("later")
        order = [event.upload_id[:-1] for event in farm.store.feed(0)][:8]
        if not farm.amqp:  # RabbitMQ serves its queues in turn
            assert order == ["fresh"] * 4 + ["bulk"] * 4
        assert sorted(order) == ["bulk"] * 4 + ["fresh"] * 4
        assert farm.embedded.queue_lengths() == {"uploads": 0, "backfill": 0}
        assert farm.log().count("Task tagfarm.tag_upload[") == 2 * 9, "received and succeeded, once each"
        assert farm.store.status("bulk0").queue == "backfill"
        assert farm.store.status("fresh0").queue == "uploads"
        if not farm.amqp:
            client = redis.Redis.from_url(farm.embedded.broker_url)
            assert client.zcard("unacked_index") == 0, "every message is acknowledged"
            client.close()
    finally:
        farm.close()
