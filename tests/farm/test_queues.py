"""Who is next: fresh uploads before bulk work, calm accounts before busy ones; and that the queues can be seen."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import httpx
import redis

from benchmarks.rabbit import free_port
from tasks.enqueue import Sender


def test_uploads_come_before_backfill(farm_factory, media: Path, tmp_path: Path) -> None:
    farm = farm_factory(tmp_path / "farm", {"TAGFARM_WORKER__CONCURRENCY": "1"}, nodes=0)
    try:
        for number in range(4):
            farm.send(f"bulk{number}", media / "silent.mp4", queue="backfill")
        for number in range(4):
            farm.send(f"fresh{number}", media / "silent.mp4")
        assert farm.embedded.queue_lengths() == {"uploads": 4, "uploads.overflow": 0, "backfill": 4}
        farm.embedded.start_node()
        farm.wait(lambda: farm.store.feed_head() == 8, "all documents")
        # One that is sent after the node has declared its queues.
        farm.send("later", media / "silent.mp4")
        farm.document("later")
        order = [event.upload_id[:-1] for event in farm.store.feed(0)][:8]
        if farm.amqp:  # RabbitMQ hands out its queues in turn; the node begins what is fresh first
            assert order[:2] == ["fresh"] * 2
        else:
            assert order == ["fresh"] * 4 + ["bulk"] * 4
        assert sorted(order) == ["bulk"] * 4 + ["fresh"] * 4
        assert farm.embedded.queue_lengths() == {"uploads": 0, "uploads.overflow": 0, "backfill": 0}
        assert farm.log().count("Task tagfarm.tag_upload[") == 2 * 9, "received and succeeded, once each"
        assert farm.store.status("bulk0").queue == "backfill"
        assert farm.store.status("fresh0").queue == "uploads"
        if not farm.amqp:
            client = redis.Redis.from_url(farm.embedded.broker_url)
            assert client.zcard("unacked_index") == 0, "every message is acknowledged"
            client.close()
    finally:
        farm.close()


def test_a_busy_account_steps_aside_for_a_calm_one(farm_factory, media: Path, tmp_path: Path) -> None:
    farm = farm_factory(tmp_path / "farm", {"TAGFARM_WORKER__CONCURRENCY": "2"}, nodes=0)
    try:
        for number in range(16):
            farm.send(f"hot{number}", media / "silent.mp4", account_id="hot")
        for number in range(2):
            farm.send(f"calm{number}", media / "silent.mp4", account_id="calm")
        farm.embedded.start_node()
        farm.wait(lambda: farm.store.feed_head() == 18, "all documents")
        order = [event.upload_id.rstrip("0123456789") for event in farm.store.feed(0)]
        behind = len(order) - 1 - order[::-1].index("calm")
        assert behind < 12, f"the calm account's last was number {behind + 1}, behind sixteen of the busy one's"
        assert farm.store.counts()["ok"] == 18
        assert farm.embedded.queue_lengths() == {"uploads": 0, "uploads.overflow": 0, "backfill": 0}
    finally:
        farm.close()


def test_the_queues_can_be_seen(farm_factory, media: Path, tmp_path: Path) -> None:
    port = free_port()
    environment = {"TAGFARM_WORKER__CONCURRENCY": "1", "TAGFARM_WORKER__METRICS_PORT": str(port)}
    farm = farm_factory(tmp_path / "farm", environment, nodes=0)
    try:
        sender = Sender(farm.embedded.broker_url)
        for number in range(12):
            sender.send({"upload_id": f"u{number}", "media": (media / "a.mp4").as_uri()})
        sender.close()
        shown = subprocess.run(
            [sys.executable, "-m", "scripts.cli", "queues", "--json"],
            env={**farm.embedded.environment},
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert {one["queue"]: one["messages"] for one in map(json.loads, shown.stdout.splitlines())}["uploads"] == 12
        farm.embedded.start_node()
        names = ("tagfarm_queue_depth", "tagfarm_message_age_seconds")

        def page() -> str:
            try:
                return httpx.get(f"http://127.0.0.1:{port}/metrics").text
            except httpx.HTTPError:
                return ""

        values: dict[str, str] = {}

        def shown_by_the_node() -> bool:
            # Of one page: the next look at the queues may find that all is done.
            values.update(re.findall(r'(tagfarm_\w+)\{queue="uploads"\} ([\d.e+]+)', page()))
            return all(name in values for name in names)

        farm.wait(shown_by_the_node, "the gauges")
        assert 0.0 < float(values["tagfarm_message_age_seconds"]) < 300
        assert float(values["tagfarm_queue_depth"]) >= 1
        if not farm.amqp:
            assert float(values["tagfarm_oldest_message_seconds"]) > 0
    finally:
        farm.close()
