"""A version is promoted and rolled back while uploads flow: no restart, no mixed document, none lost."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
import torch
from sqlalchemy import select

from models.registry.versions import Registry
from models.sounds.events import EventsTagger
from models.topics.efficientnet import PictureEncoder
from models.topics.tagger import TopicsTagger
from models.topics.tuned import Tail
from models.training.dataset import DataSet, Item, write
from models.training.fit import Plan
from models.training.train import train
from store.schema_labels import EncodingKept
from workers.settings import Settings

KEY = "a signing key of the tests"
UPLOADS = 16
PACKAGED = TopicsTagger.version
EVENTS = EventsTagger.version
BEGIN = datetime(2000, 1, 1, tzinfo=UTC)


def data_set(folder: Path, tagger: str, encoder: str, dimension: int, label: str) -> DataSet:
    """Embeddings as if of uploads: the half that has the label lies to one side."""
    random = np.random.default_rng(0)
    rows, items = random.random((80, dimension)), []
    for number in range(80):
        present = number % 2 == 0
        rows[number, :200] += 0.5 * present
        split = ("train", "train", "validation", "test")[number // 2 % 4]
        items.append(Item(f"u{number}", f"g{number}", split, (number, number + 1), {label: float(present)}))  # type: ignore[arg-type]
    data = DataSet(
        tagger, "taxonomy@1", encoder, (label,), tuple(items), rows.astype(np.float16), np.zeros(80, np.float32), "2026"
    )
    return write(folder, data)


def add_pair(registry: Registry) -> None:
    """topics/3: the head of topics/1 with an encoder of its own, whose last block is as packaged."""
    one = registry.version("topics", 1)
    encoder = PictureEncoder(Settings().models.weights.expanduser(), device=torch.device("cpu"))
    arrays = Tail(encoder.network, 1).arrays()
    encoder.close()
    its_own = ("files", "signature", "number", "tagger", "format")
    fields = {name: value for name, value in one.manifest.items() if name not in its_own}
    registry.add("topics", {**fields, "fine_tuning": {"blocks": 1}}, one.tensors(), None, arrays)


@pytest.fixture(scope="module")
def versioned(farm_factory, tmp_path_factory: pytest.TempPathFactory):
    """A farm of two nodes whose registry has topics/1, topics/2 and events/1."""
    home = tmp_path_factory.mktemp("promotion")
    registry = Registry(home / "registry", KEY.encode())
    for tagger, encoder, dimension, label, seed in (
        ("topics", "efficientnet-lite2@1", 1280, "animals/cat", 0),
        ("topics", "efficientnet-lite2@1", 1280, "animals/cat", 1),
        ("events", "yamnet@2", 1024, "Dog", 0),
    ):
        data = data_set(home / "data" / f"{tagger}{seed}", tagger, encoder, dimension, label)
        train(data, Plan(seed=seed, epochs=3), registry, torch.device("cpu"))
    add_pair(registry)
    environment = {"TAGFARM_MODELS__SIGNING_KEY": KEY, "TAGFARM_MODELS__POLL_S": "0.2"}
    running = farm_factory(home, environment, nodes=2)
    yield running
    running.close()


def models(farm, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "scripts.cli", "models", *arguments],
        env=farm.embedded.environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def version_of(farm, upload_id: str, media: Path, tagger: str = "topics") -> str:
    farm.send(upload_id, media / "silent.mp4", taggers=["topics", "events"])
    return farm.document(upload_id)["models"][tagger]


def test_promotion_and_rollback_in_the_middle_of_uploads(versioned, media: Path) -> None:
    farm = versioned
    assert version_of(farm, "before", media) == PACKAGED

    def flow(name: str, *command: str) -> Counter[str]:
        for number in range(UPLOADS // 2):
            farm.send(f"{name}{number}", media / "silent.mp4", taggers=["topics", "events"])
        done = models(farm, *command, "--why", "a test", "--who", "Ada")
        assert done.returncode == 0, done.stderr
        for number in range(UPLOADS // 2, UPLOADS):
            farm.send(f"{name}{number}", media / "silent.mp4", taggers=["topics", "events"])
        documents = [farm.document(f"{name}{number}") for number in range(UPLOADS)]
        for document in documents:
            rows = farm.store.spoken("topics", document["models"]["topics"], BEGIN)
            assert document["outcome"] == "ok", document["reason"]
            assert document["upload_id"] in {said.upload_id for said in rows}
        return Counter(document["models"]["topics"] for document in documents)

    first = f"{PACKAGED}+topics-head@1"
    assert set(flow("p", "promote", "topics/1")) <= {PACKAGED, first}
    farm.wait(lambda: farm.log().count("champion of topics is version 1") == 2, "both nodes to follow")
    assert version_of(farm, "promoted", media) == first
    second = f"{PACKAGED}+topics-head@2"
    assert set(flow("q", "promote", "topics/2")) <= {first, second}
    farm.wait(lambda: farm.log().count("champion of topics is version 2") == 2, "both nodes to follow")
    assert version_of(farm, "promoted-again", media) == second
    assert set(flow("r", "rollback", "topics")) <= {first, second}
    farm.wait(lambda: farm.log().count("champion of topics is version 1") == 4, "both nodes to follow")
    assert version_of(farm, "rolled-back", media) == first
    assert version_of(farm, "events", media, "events") == EVENTS
    assert [state.action for state in farm.store.alias_history("topics")[:3]] == ["rollback", "promote", "promote"]


def test_a_head_and_its_encoder_change_as_one(versioned, media: Path) -> None:
    farm = versioned
    for number in range(UPLOADS):
        farm.send(f"pair{number}", media / "silent.mp4", taggers=["topics"])
        if number == UPLOADS // 2:
            done = models(farm, "promote", "topics/3", "--why", "a test", "--who", "Ada")
            assert done.returncode == 0, done.stderr
    farm.wait(lambda: farm.log().count("champion of topics is version 3") >= 2, "both nodes to follow")
    farm.send("pair-after", media / "silent.mp4", taggers=["topics"])
    said = {}
    for upload_id in ("pair-after", *(f"pair{number}" for number in range(UPLOADS))):
        said[upload_id] = farm.document(upload_id)["models"]["topics"]
        with farm.store._database.read() as connection:
            kept = select(EncodingKept.encoder, EncodingKept.version).where(EncodingKept.upload_id == upload_id)
            rows = {name: version for name, version in connection.execute(kept) if name.startswith("picture")}
        pair = {"picture-topics-3": "efficientnet-lite2-topics@3"} if said[upload_id].endswith("@3") else {}
        assert rows == {"picture": "efficientnet-lite2@1", **pair}
    assert said["pair-after"] == f"{PACKAGED}+topics-head@3"
    done = models(farm, "rollback", "topics", "--why", "a test", "--who", "Ada")
    assert done.returncode == 0, done.stderr


def test_a_shadow_is_asked_and_never_published(versioned, media: Path) -> None:
    farm = versioned
    done = models(farm, "promote", "events/1", "--as", "shadow", "--why", "a look")
    assert done.returncode == 0, done.stderr
    farm.wait(lambda: farm.log().count("shadow of events is version 1") >= 2, "both nodes to follow")
    farm.send("shadowed", media / "a.mp4", taggers=["events"])
    assert farm.document("shadowed")["models"] == {"events": EVENTS}
    (answer,) = farm.store.shadow_answers("events")
    assert (answer.upload_id, answer.row.version) == ("shadowed", f"{EVENTS}+events-head@1")
    assert answer.row.published == farm.document("shadowed")["events"]


def test_what_must_not_speak_is_not_promoted(versioned) -> None:
    farm = versioned
    missing = models(farm, "promote", "topics/9", "--why", "x")
    assert missing.returncode == 1
    assert "VersionMissing" in missing.stderr
    head = farm.home / "registry" / "topics" / "2" / "head.safetensors"
    sound = head.read_bytes()
    head.write_bytes(sound[:-1] + bytes([sound[-1] ^ 1]))
    try:
        damaged = models(farm, "promote", "topics/2", "--why", "x")
        assert damaged.returncode == 1
        assert "VersionCorrupt" in damaged.stderr
        listed = models(farm, "list", "--json")
        assert "VersionCorrupt" in listed.stdout
    finally:
        head.write_bytes(sound)
