"""Re-tagging with the real head and the real network's last layer; what is kept is made, not decoded."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from models.protocol import Encoding, Evidence, WeightsMissing
from models.topics.calibration import load_calibration
from models.topics.efficientnet import PictureEncoder
from models.topics.tagger import TopicsTagger
from store.store import NewLabel, Selection
from tasks.retag import Heads, Progress, Retagger, UnknownTagger, refusal
from workers.settings import Settings

TABBY, ESPRESSO = 281, 967


class NewTopics(TopicsTagger):
    """A new version: it says what it is nearly sure of, too."""

    version = "efficientnet-lite2-taxonomy@99"

    def __init__(self) -> None:
        super().__init__(calibration=replace(load_calibration(), threshold=(0.2, 0.2)))


@pytest.fixture(scope="module")
def picture() -> Iterator[PictureEncoder]:
    weights = Settings(_env_file=None).models.weights  # type: ignore[call-arg]
    try:
        encoder = PictureEncoder(weights, device=torch.device("cpu"))
    except WeightsMissing as error:
        pytest.skip(str(error))
    yield encoder
    encoder.close()


@pytest.fixture(scope="module")
def heads(picture: PictureEncoder) -> Heads:
    return Heads({"picture": picture}, [NewTopics()], {"events": "weights 'yamnet' are not installed"})


def seen(picture: PictureEncoder, *classes: tuple[int, float], version: str = PictureEncoder.version) -> Evidence:
    """Evidence of six frames in which the network sees these classes, this strongly."""
    embedding = np.zeros(1280, np.float32)
    for number, strength in classes:
        embedding += strength * np.maximum(picture.classifier.weight[:, number], 0)
    rows = np.tile(embedding, (6, 1)).astype(np.float16).astype(np.float32)
    times = np.arange(6) * 0.5
    encoding = Encoding(version, times, 0.5, rows, picture.scores_of(rows))
    frames = np.zeros((0, 0, 0, 3), np.uint8)
    return Evidence(3.0, frames, times, [(0.0, 3.0)], np.zeros(0, np.float32), encodings={"picture": encoding})


@pytest.fixture
def archive(shelf, picture: PictureEncoder):
    """`cat`: as the old version said; `fox`: it says something else now; `none`: nothing is kept of it any more."""
    cat = seen(picture, (TABBY, 30.0))
    said = NewTopics().tag(cat)
    assert [topic["topic"] for topic in said] == ["animals/cat"]
    old = {"topics": TopicsTagger.version}
    shelf.keep("cat", evidence=cat, models=old, document={"topics": said, "diversity": {"topic": "animals/cat"}})
    shelf.keep("fox", ("food",), evidence=cat, models=old, hashtags=["dance"])
    shelf.keep("none", ("food",), evidence=cat, models=old)
    shelf.artifacts.delete(shelf.store.kept("none").artifact)
    return shelf


def retagger(shelf, heads: Heads, selection: Selection | None = None, **options: Any) -> Retagger:
    ways = options.pop("ways", ("embeddings",))
    run, _ = shelf.store.open_retag(selection or Selection(stale=("topics",)), [heads.target("topics")], ways)
    return Retagger(shelf.store, shelf.artifacts, heads, run, **{"full_instead": False, **options})


def said(shelf, upload_id: str) -> list[str]:
    return [topic["topic"] for topic in shelf.store.document(upload_id)["topics"]]


def test_heads_speak_anew_without_the_file(archive, heads: Heads) -> None:
    head = archive.store.feed_head()
    progress = retagger(archive, heads).work()
    assert {state: count for state, count in progress.items.items() if count} == {
        "changed": 1,
        "unchanged": 1,
        "failed": 1,
    }
    assert said(archive, "fox") == ["animals/cat", "people/dance"]
    document = archive.store.document("fox")
    assert document["diversity"]["topic"] == "animals/cat"
    assert document["models"] == {"topics": NewTopics.version}
    assert archive.store.document("cat")["models"] == {"topics": NewTopics.version}
    # One event: of the one that changed.
    assert [event.upload_id for event in archive.store.feed(head)] == ["fox"]
    assert archive.store.retag_runs()[0].state == "done"
    again = retagger(archive, heads).work()
    assert again.total == 1  # only what failed is still stale
    assert archive.store.feed_head() == head + 1


def test_what_is_gone_goes_to_the_farm_unless_it_may_not(archive, heads: Heads) -> None:
    work = retagger(archive, heads, ways=("embeddings", "full"), full_instead=True)
    moves: list[dict[str, int]] = []

    def told(progress: Progress) -> None:
        moves.append(dict(progress.items))
        if progress.items.get("sent"):
            # The farm does it, as a node would.
            for due in archive.store.claim_due(3):
                archive.keep(due.upload_id, ("travel",), models={"topics": NewTopics.version})
            work.stopped.wait(0.05)

    work.told = told
    thread = threading.Thread(target=work.work)
    thread.start()
    thread.join(30)
    assert not thread.is_alive()
    assert said(archive, "none") == ["travel"]
    assert {state: count for state, count in moves[-1].items() if count}.keys() <= {
        "changed",
        "unchanged",
        "done",
        "sent",
    }
    assert archive.store.retag_runs()[0].items == {"changed": 1, "unchanged": 1, "done": 1}


def test_labels_hold(archive, heads: Heads) -> None:
    archive.store.label("fox", [NewLabel("fox", "topics", "animals/cat", "reject", "ada")])
    retagger(archive, heads).work()
    assert said(archive, "fox") == ["people/dance"]


def test_a_tagger_that_was_absent_makes_the_document_whole(shelf, heads: Heads, picture: PictureEncoder) -> None:
    absent = {"topics": "failed: ValueError", "events": "its weights are missing"}
    reason = "absent: events (its weights are missing); topics (failed: ValueError)"
    degraded = {"outcome": "degraded", "reason": reason, "absent": absent}
    cat = seen(picture, (TABBY, 30.0))
    shelf.keep("u1", evidence=cat, models={"layout": "seams@1"}, document=degraded)
    only = {
        "outcome": "degraded",
        "reason": "absent: topics (failed: ValueError)",
        "absent": {"topics": absent["topics"]},
    }
    shelf.keep("u2", evidence=cat, models={"layout": "seams@1"}, document=only)
    shelf.keep("u3", evidence=cat, models={"layout": "seams@1"}, taggers=["layout"])
    retagger(shelf, heads, Selection(missing=("topics",))).work()
    document = shelf.store.document("u1")
    assert (document["absent"], document["outcome"]) == ({"events": absent["events"]}, "degraded")
    assert document["reason"] == "absent: events (its weights are missing)"
    document = shelf.store.document("u2")
    assert (document["absent"], document["reason"], document["outcome"]) == ({}, None, "ok")
    assert shelf.store.status("u2").outcome == "ok"
    # Who did not ask for topics has none.
    assert said(shelf, "u3") == []
    retagger(shelf, heads, Selection(where="upload_id = 'u3'")).work()
    assert said(shelf, "u3") == [] and shelf.store.document("u3")["models"] == {"layout": "seams@1"}


def test_a_head_that_fails_leaves_the_document_as_it_was(archive, heads: Heads) -> None:
    class Broken(NewTopics):
        def tag(self, evidence: Evidence) -> Any:
            raise ZeroDivisionError

    before = archive.store.document("fox")
    progress = retagger(archive, replace(heads, taggers=[Broken()])).work()
    assert progress.items["failed"] == 3
    assert archive.store.document("fox") == before


def test_it_keeps_to_its_rate(shelf, heads: Heads, picture: PictureEncoder) -> None:
    cat = seen(picture, (TABBY, 30.0))
    for number in range(12):
        shelf.keep(f"u{number}", evidence=cat)
    start = time.perf_counter()
    retagger(shelf, heads, rate=10.0).work()
    assert 1.0 <= time.perf_counter() - start < 10.0


def test_a_pause_and_a_stop(shelf, heads: Heads, picture: PictureEncoder, monkeypatch) -> None:
    monkeypatch.setattr("tasks.retag.POLL_S", 0.05)
    cat = seen(picture, (TABBY, 30.0))
    for number in range(30):
        shelf.keep(f"u{number}", evidence=cat)
    work = retagger(shelf, heads, rate=10.0)
    run_id = work.run.run_id
    thread = threading.Thread(target=work.work)
    thread.start()
    shelf.store.set_retag_state(run_id, "paused")
    time.sleep(1.5)
    left = shelf.store.retag_run(run_id).left
    time.sleep(0.8)
    assert shelf.store.retag_run(run_id).left == left > 0
    shelf.store.set_retag_state(run_id, "running")
    time.sleep(0.5)
    work.stopped.set()
    thread.join(10)
    stopped = shelf.store.retag_run(run_id)
    assert 0 < stopped.left < left
    again = retagger(shelf, heads)
    assert again.run.run_id == run_id
    assert again.work().left == 0
    cancelled = retagger(shelf, replace(heads, taggers=[TopicsTagger()]))
    shelf.store.set_retag_state(cancelled.run.run_id, "cancelled")
    assert cancelled.work().left == 30


def test_an_encoder_that_changed_tells_its_old_embeddings_apart(shelf, heads: Heads, picture: PictureEncoder) -> None:
    shelf.keep("new", evidence=seen(picture, (TABBY, 30.0)))
    shelf.keep("old", evidence=seen(picture, (TABBY, 30.0), version="efficientnet-lite2@0"))
    target = heads.target("topics")
    assert target.encoders == {"picture": "efficientnet-lite2@1"}
    counts = shelf.store.retag_counts(Selection(stale=("topics",)), [target])
    assert (counts.selected, counts.kept, counts.stale, counts.encoders) == (
        2,
        1,
        1,
        {"picture: efficientnet-lite2@0": 1},
    )
    told = refusal(counts, [target])
    assert told is not None
    assert "1 of 2 have embeddings of another encoder (1 of picture: efficientnet-lite2@0; it is efficientnet" in told
    assert "--full" in told and "--skip-stale" in told
    assert refusal(replace(counts, selected=1), [target]) is None
    shots = heads.target("soundid")
    assert "soundid cannot be run from embeddings: it reads the fingerprint" in str(refusal(counts, [shots]))
    # Also one that the store's table did not tell apart is refused when it is read.
    work = retagger(shelf, heads)
    with shelf.store._database.write() as connection:
        from store.schema_retag import RetagItem

        row = {"run_id": work.run.run_id, "upload_id": "old", "way": "embeddings", "state": "waiting", "attempts": 0}
        connection.execute(RetagItem.__table__.insert().values(**row, at=shelf.store._database.now(connection)))
    assert work.work().items["failed"] == 1
    assert said(shelf, "old") == []


def test_taggers_by_name(heads: Heads) -> None:
    assert heads.from_kept() == ["topics"]
    assert heads.target("soundid").from_kept is False
    with pytest.raises(UnknownTagger, match="yamnet"):
        heads.target("events")
    with pytest.raises(UnknownTagger, match="no tagger 'astrology'"):
        heads.target("astrology")


def test_artifacts_are_read_by_name(shelf, tmp_path: Path) -> None:
    shelf.keep("u1")
    address = shelf.store.kept("u1").artifact
    assert set(shelf.artifacts.get(address, ["evidence", "times/picture", "nothing"])) == {"evidence", "times/picture"}
    assert {"keyframes/00", "embeddings/picture"} <= set(shelf.artifacts.get(address))
