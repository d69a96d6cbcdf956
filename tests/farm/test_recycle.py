"""A node that grew too large, or consumes nothing any more, ends itself softly; whoever started it starts another."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest

from benchmarks import planted
from workers import embedded


def test_a_node_that_grew_too_large_ends_softly_and_loses_nothing(farm_factory, media: Path, tmp_path: Path) -> None:
    farm = farm_factory(tmp_path / "farm", {"TAGFARM_WORKER__RECYCLE_MEMORY_BYTES": str(50 << 20)})
    try:
        for number in range(4):
            farm.send(f"u{number}", media / "a.mp4", caption=str(number))
        first = farm.embedded.nodes[0]
        farm.wait(lambda: first.poll() is not None, "its end")
        assert first.returncode == 0
        assert "this node ends itself: its memory grew" in farm.log()
        assert farm.store.counts()["running"] == 0, "a node that ended holds no lease"
        farm.embedded._environment["TAGFARM_WORKER__RECYCLE_MEMORY_BYTES"] = str(1 << 40)
        farm.embedded._started[first.pid] = time.monotonic() - 2 * embedded.LEAST_LIFE_S
        assert farm.embedded.revive()
        farm.wait(lambda: farm.store.feed_head() == 4, "all documents")
        assert farm.store.counts()["ok"] == 4
    finally:
        farm.close()


def test_a_node_that_ends_at_once_is_not_started_again(farm_factory, tmp_path: Path) -> None:
    farm = farm_factory(tmp_path / "farm", {"TAGFARM_CELERY": '{"task_acks_late": false}'})
    try:
        assert farm.embedded.nodes[0].wait(60) == 2
        assert "task_acks_late=true" in farm.log()
        assert not farm.embedded.revive()
    finally:
        farm.close()


@pytest.mark.slow
def test_a_node_that_consumes_nothing_though_messages_wait_ends_itself(
    farm_factory, media: Path, tmp_path: Path, broker: dict[str, str]
) -> None:
    if broker:
        pytest.skip("the fault is planted in the Valkey transport")
    environment = {"TAGFARM_PLANTED": "deaf", "TAGFARM_WORKER__STALL_S": "10", "TAGFARM_WORKER__GRACE_S": "5"}
    farm = farm_factory(tmp_path / "farm", environment, program=(sys.executable, *planted.PROGRAM))
    try:
        for number in range(6):
            farm.send(f"u{number}", media / "silent.mp4", caption=str(number))
        farm.wait(lambda: farm.embedded.nodes[0].poll() is not None, "its end")
        assert "messages wait and it took none" in farm.log()
        assert farm.store.feed_head() < 6
        farm.embedded._environment["TAGFARM_PLANTED"] = ""
        assert farm.embedded.revive()
        farm.wait(lambda: farm.store.feed_head() == 6, "all documents")
    finally:
        farm.close()
