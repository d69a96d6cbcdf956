"""A node follows the aliases: it loads what it can trust, keeps what it has, and says what it cannot follow."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.registry.versions import Registry
from models.topics.tagger import TopicsTagger
from store.store import Store
from tasks.lineup import LineupSwitch
from workers.versions import VersionKeeper

KEY = b"a key of the tests"
LABEL = "animals/cat"
PICTURE: Any = object()
"""An encoder that these tests never run."""


def add(registry: Registry, **changes: object) -> str:
    manifest = {
        "encoder": "efficientnet-lite2@1",
        "taxonomy": "taxonomy@1",
        "labels": [LABEL],
        "head": {"kind": "linear", "dimension": 4},
        "calibration": {LABEL: {"slope": 1.0, "offset": 0.0}},
        "thresholds": {LABEL: 0.5},
    }
    zeros = np.zeros(4, np.float32)
    tensors = {"mean": zeros, "scale": zeros + 1, "out.weight": zeros[None], "out.bias": zeros[:1]}
    return registry.add("topics", {**manifest, **changes}, tensors).digest


class Node:
    """A store, a registry, and what a node has of them."""

    def __init__(self, folder: Path) -> None:
        self.store = Store.open(f"sqlite:///{folder / 'store.db'}")
        self.registry = Registry(folder / "registry", KEY)
        self.begin()

    def begin(self) -> None:
        """Start anew."""
        self.switch = LineupSwitch()
        self.keeper = VersionKeeper(self.registry, self.store.aliases, self.switch, {"picture": PICTURE})

    def promote(self, number: int | None, digest: str | None, alias: str = "champion", share: float = 1.0) -> None:
        self.store.promote("topics", alias, number, digest, share, "Ada", "a test")  # type: ignore[arg-type]

    def speaks(self) -> str:
        speakers = self.switch.current.speakers("u1", [TopicsTagger()], {})
        return speakers.taggers[0].version if speakers.taggers else f"absent: {speakers.absent['topics']}"


@pytest.fixture
def node(tmp_path: Path):
    made = Node(tmp_path)
    yield made
    made.store.close()


PACKAGED = TopicsTagger.version


def test_it_takes_up_a_promotion_and_a_rollback(node: Node) -> None:
    digests = [add(node.registry) for _ in range(2)]
    assert not node.keeper.follow()
    node.promote(1, digests[0])
    assert node.speaks() == PACKAGED
    assert node.keeper.follow()
    assert node.speaks() == f"{PACKAGED}+topics-head@1"
    assert not node.keeper.follow(), "nothing changed"
    node.promote(2, digests[1])
    node.keeper.follow()
    assert node.speaks() == f"{PACKAGED}+topics-head@2"
    node.store.rollback("topics", "champion", "Ada", "")
    node.store.rollback("topics", "champion", "Ada", "")
    node.keeper.follow()
    assert node.speaks() == PACKAGED


def test_an_upload_keeps_the_line_up_that_it_began_with(node: Node) -> None:
    digest = add(node.registry)
    begun = node.switch.current.speakers("u1", [TopicsTagger()], {})
    node.promote(1, digest)
    node.keeper.follow()
    assert begun.taggers[0].version == PACKAGED
    assert node.speaks() != PACKAGED


@pytest.mark.parametrize("harm", ["missing", "damaged", "unsigned", "another", "incompatible"])
def test_what_it_cannot_trust_it_does_not_follow(node: Node, harm: str) -> None:
    good = add(node.registry)
    bad = add(node.registry, **({"encoder": "net@9"} if harm == "incompatible" else {}))
    node.promote(1, good)
    node.keeper.follow()
    folder = node.registry.root / "topics" / "2"
    if harm == "missing":
        shutil.rmtree(folder)
    elif harm == "damaged":
        (folder / "head.safetensors").write_bytes(b"x")
    elif harm == "unsigned":
        path = folder / "manifest.json"
        path.write_text(path.read_text().replace("hmac-sha256:", "hmac-sha256:0"))
    node.promote(2, "0" * 64 if harm == "another" else bad)
    node.keeper.follow()
    assert node.speaks() == f"{PACKAGED}+topics-head@1", "what spoke goes on"
    assert list(node.keeper.failed) == ["topics champion"]
    node.begin()
    node.keeper.follow()
    assert node.speaks().startswith("absent: version 2 cannot be loaded"), "a node that begins has nothing right to say"
    node.keeper.follow()
    assert node.speaks().startswith("absent")
    node.promote(1, good)
    node.keeper.follow()
    assert node.speaks() == f"{PACKAGED}+topics-head@1"
    assert node.keeper.failed == {}


def test_a_node_without_the_encoder_does_not_take_it(node: Node) -> None:
    node.promote(1, add(node.registry))
    node.keeper = VersionKeeper(node.registry, node.store.aliases, node.switch, {})
    node.keeper.follow()
    assert "encoder" in node.keeper.failed["topics champion"]


def test_challengers_and_shadows_are_followed(node: Node) -> None:
    digest = add(node.registry)
    node.promote(1, digest, "challenger", 1.0)
    node.promote(1, digest, "shadow", 0.5)
    node.keeper.follow()
    assert node.speaks() == f"{PACKAGED}+topics-head@1"
    assert node.switch.current.shadows["topics"][1] == 0.5
    node.promote(None, None, "challenger")
    node.keeper.follow()
    assert node.speaks() == PACKAGED
