"""Versions promoted and rolled back in the middle of a real farm's uploads: is any lost, is any document mixed?"""

from __future__ import annotations

import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from celery import Celery

from models.protocol import Encoding, Evidence
from models.registry.versions import Registry
from models.topics.efficientnet import PictureEncoder
from models.topics.tagger import TopicsTagger
from models.topics.trained import trained_topics
from models.training.dataset import DataSet, Item, write
from models.training.fit import Plan
from models.training.judges import classifier
from models.training.train import train
from scripts import clips
from store.artifacts import ArtifactStore
from store.store import Store
from workers.embedded import EmbeddedFarm

UPLOADS = 200
NODES = 2
POLL_S = 0.5
PATIENCE_S = 600.0
KEY = "the key of benchmarks.promotion"
LABELS = ("animals/cat", "food/fruit")
"""What topics/1 and topics/2 are trained to say of the clip."""
NOISE = 0.05


@dataclass(frozen=True)
class Flow:
    """What came of it."""

    uploads: int
    nodes: int
    lost: int
    """Uploads without a document, or with another outcome than ok."""
    mixed: int
    """Documents whose topics are not exactly what the version that they name says of the clip."""
    versions: dict[str, int]
    slowest_s: float
    """From a change to the first document that names what was promoted, at most."""
    wall_s: float


def run(weights: Path) -> Flow:
    """Run the farm."""
    with tempfile.TemporaryDirectory(prefix="tagfarm-promotion-") as name, (Path(name) / "log").open("wb") as log:
        home, media = Path(name) / "home", Path(name) / "media"
        media.mkdir()
        clip = clips.write(media / "clip.mp4", _frames(), None, fps=12)
        environment = {
            "TAGFARM_MODELS__SIGNING_KEY": KEY,
            "TAGFARM_MODELS__POLL_S": str(POLL_S),
            "TAGFARM_MODELS__WEIGHTS": str(weights),
        }
        farm = EmbeddedFarm(home, [media], NODES, environment, log)
        farm.start()
        store = Store.open(f"sqlite:///{home / 'tagfarm.db'}")
        sender = Celery(broker=farm.broker_url)
        try:
            return _flow(home, clip, store, sender, weights)
        finally:
            sender.close()
            farm.stop()
            store.close()


def _flow(home: Path, clip: Path, store: Store, sender: Celery, weights: Path) -> Flow:
    def send(upload_id: str) -> None:
        upload = {"upload_id": upload_id, "media": clip.as_uri(), "taggers": ["topics"]}
        sender.send_task("tagfarm.tag_upload", kwargs={"upload": upload}, queue="uploads")

    send("first")
    _wait(lambda: store.document("first"))
    answers = _train(home, store, weights)
    names = list(answers)
    begin = time.perf_counter()
    for number in range(UPLOADS):
        send(f"u{number}")

    def done() -> int:
        return sum(store.counts().get(state, 0) for state in ("done",)) - 1

    changes = []
    for share, number in ((0.2, 1), (0.5, 2), (0.75, None)):
        _wait(lambda share=share: done() >= share * UPLOADS)
        if number is None:
            state = store.rollback("topics", "champion", "benchmark", "a rollback in the middle")
        else:
            digest = Registry(home / "registry", KEY.encode()).version("topics", number).digest
            state = store.promote("topics", "champion", number, digest, 1.0, "benchmark", "in the middle")
        changes.append((state.at, names[state.number or 0]))
    _wait(lambda: done() >= UPLOADS)
    wall_s = time.perf_counter() - begin
    kept = [store.kept(f"u{number}") for number in range(UPLOADS)]
    documents = [one.document for one in kept if one is not None]
    said = [(document["models"].get("topics", "none"), document["topics"]) for document in documents]
    delays = [
        min(
            (one.at - at).total_seconds()
            for one in kept
            if one and one.at > at and one.document["models"]["topics"] == named
        )
        for at, named in changes
    ]
    return Flow(
        uploads=UPLOADS,
        nodes=NODES,
        lost=UPLOADS - sum(document["outcome"] == "ok" for document in documents),
        mixed=sum(topics != answers.get(version) for version, topics in said),
        versions=dict(Counter(version for version, _ in said)),
        slowest_s=round(max(delays), 3),
        wall_s=round(wall_s, 1),
    )


def _train(home: Path, store: Store, weights: Path) -> Mapping[str, list[dict[str, Any]]]:
    """Train two versions that answer differently, and return what each version says of the clip, by its name."""
    kept = store.kept("first")
    assert kept is not None
    assert kept.artifact is not None
    arrays = ArtifactStore((home / "artifacts").as_uri()).get(kept.artifact)
    assert arrays is not None
    rows = arrays["embeddings/picture"].astype(np.float32)
    registry = Registry(home / "registry", KEY.encode())
    taggers: list[TopicsTagger] = [TopicsTagger()]
    for label in LABELS:
        data = write(home / "data" / label, _data_set(rows, label))
        taggers.append(trained_topics(train(data, Plan(), registry, torch.device("cpu")).version))
    times = arrays["times/picture"].astype(np.float64)
    seen = Encoding(PictureEncoder.version, times, 0.5, rows, classifier("topics", weights)(rows))
    duration_s = kept.document["media"]["duration_s"]
    evidence = Evidence(
        duration_s=duration_s,
        frames=np.zeros((0, 0, 0, 3), np.uint8),
        frame_times_s=times,
        shots=[(0.0, duration_s)],
        waveform=np.zeros(0, np.float32),
        encodings={"picture": seen},
    )
    answers = {tagger.version: tagger.tag(evidence) for tagger in taggers}
    told = [[topic["topic"] for topic in answer] for answer in answers.values()]
    if told[1] == told[2] or LABELS[0] not in told[1]:
        raise RuntimeError(f"the versions do not answer differently: {told}")
    return answers


def _data_set(rows: np.ndarray, label: str) -> DataSet:
    """The clip's own frames with noise have the label; the same numbers in other orders have not."""
    random = np.random.default_rng(0)
    parts, items = [], []
    for number in range(80):
        present = number % 2 == 0
        mine = rows if present else random.permuted(rows, axis=1)
        parts.append(mine + random.normal(0, NOISE, rows.shape))
        first = number * len(rows)
        split = ("train", "train", "validation", "test")[number // 2 % 4]
        items.append(Item(f"u{number}", f"g{number}", split, (first, first + len(rows)), {label: float(present)}))  # type: ignore[arg-type]
    embeddings = np.concatenate(parts).astype(np.float16)
    return DataSet(
        "topics",
        "taxonomy@1",
        PictureEncoder.version,
        (label,),
        tuple(items),
        embeddings,
        np.zeros(len(embeddings), np.float32),
        "2026-11-24",
    )


def _frames() -> Iterator[clips.Frame]:
    """Two seconds of a moving texture."""
    random = np.random.default_rng(3)
    whole = np.kron(random.integers(0, 255, (40, 60, 3), dtype=np.uint8), np.ones((6, 6, 1), np.uint8))
    for step in range(24):
        yield np.ascontiguousarray(whole[step : step + 108, 2 * step : 2 * step + 192])


def _wait(condition: Any) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"the farm did not come to it within {PATIENCE_S:.0f} s")
        time.sleep(0.05)
