"""Stopping a node: what is in flight is finished, or handed back when the grace time is over."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest


@pytest.mark.parametrize("grace_s", [0, 60])
def test_a_stopped_node_finishes_or_hands_back(farm_factory, media: Path, tmp_path: Path, grace_s: int) -> None:
    farm = farm_factory(tmp_path / "farm", {"TAGFARM_WORKER__GRACE_S": str(grace_s)})
    try:
        node = farm.embedded.nodes[0]
        for number in range(4):
            farm.send(f"u{number}", media / "a.mp4", caption=str(number))
        farm.wait(lambda: farm.store.counts()["running"] >= 2, "work in flight")
        node.send_signal(signal.SIGTERM)
        node.wait(60)
        counts = farm.store.counts()
        assert counts["running"] == 0, "a stopped node holds no lease"
        if grace_s:
            assert farm.store.feed_head() >= 2, "what was in flight is finished"
        else:
            assert counts["queued"] >= 1, "what was in flight is handed back"
        assert list((farm.home / "scratch").iterdir()) == []
        farm.embedded.start_node()
        farm.wait(lambda: farm.store.feed_head() == 4, "all documents")
        assert farm.store.counts()["ok"] == 4
    finally:
        farm.close()


def test_a_node_that_cannot_open_its_store_takes_no_message(farm_factory, media: Path, tmp_path: Path) -> None:
    unreachable = {"TAGFARM_STORE__URL": "postgresql://127.0.0.1:1/nothing"}
    farm = farm_factory(tmp_path / "farm", unreachable, nodes=0)
    try:
        farm.send("u1", media / "silent.mp4")
        node = farm.embedded.start_node()
        assert node.wait(90) != 0
        assert "tagfarm doctor" in farm.log()
        assert farm.embedded.queue_lengths()["uploads"] == 1
    finally:
        farm.close()
