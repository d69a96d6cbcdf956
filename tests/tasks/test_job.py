"""One message's way through the ledger, with a real store, index and artifacts; only the analysis is prepared."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from celery.exceptions import Reject

import tasks.job
import tasks.tag_upload
from media.fetch_policy import FetchUnavailable
from media.types import DecoderDied
from models.soundid.fingerprint import Fingerprint
from store.artifacts import ArtifactStore
from store.store import Started, Store, StoreUnavailable
from tasks import runtime
from tasks.contract import TagDocument, TagUpload
from tasks.job import SUSPECT_AFTER, Desk
from tasks.leases import LeaseKeeper
from tasks.lineup import LineupSwitch
from tasks.pipeline import Analysis
from tasks.sound_library import SoundLibrary
from tasks.sweep import sweep


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    store = Store.open(f"sqlite:///{tmp_path / 'store.db'}", connections=24)
    yield Desk(
        store=store,
        artifacts=ArtifactStore((tmp_path / "artifacts").as_uri()),
        parts=SimpleNamespace(),  # type: ignore[arg-type]
        library=SoundLibrary(tmp_path / "index"),
        leases=LeaseKeeper(lambda attempt: True, 60),
        owner="test",
        lease_s=60,
        max_attempts=3,
    )
    store.close()


@pytest.fixture(scope="module")
def fingerprint() -> Fingerprint:
    """Six seconds of notes over a beat."""
    random = np.random.default_rng(5)
    time_s = np.arange(6 * 16_000) / 16_000
    heard = np.zeros_like(time_s)
    for at in np.arange(0, 6, 0.2):
        here = (time_s >= at) & (time_s < at + 0.25)
        local = time_s[here] - at
        pitch = 200 * 2 ** (random.integers(0, 30) / 12)
        heard[here] += sum(np.sin(2 * np.pi * pitch * k * local) / k for k in (1, 2, 3)) * np.exp(-5 * local)
    return Fingerprint.of((heard * 0.2).astype(np.float32))


def started(desk: Desk, upload_id: str) -> Started:
    admission = desk.store.admit(upload_id, {"upload_id": upload_id}, "h", owner="test", lease_s=60)
    assert isinstance(admission, Started)
    return admission


def test_one_new_sound_in_many_uploads_at_once_is_one_original(desk: Desk, fingerprint: Fingerprint) -> None:
    names = [f"u{number}" for number in range(8)]
    attempts = {name: started(desk, name) for name in names}
    together = threading.Barrier(len(names))
    documents: dict[str, TagDocument] = {}

    def commit(name: str) -> None:
        upload = TagUpload(upload_id=name, media="file:///x")
        together.wait()
        analysis = Analysis(TagDocument(upload_id=name, outcome="ok"), fingerprint, {"a": np.zeros(3)})
        documents[name] = desk._commit(upload, attempts[name], analysis)

    threads = [threading.Thread(target=commit, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(documents) == len(names)
    assert len({document.diversity.sound for document in documents.values()}) == 1
    assert len(desk.store.list_sounds()) == 1


def raising(desk: Desk, error: Exception, monkeypatch: pytest.MonkeyPatch) -> Desk:
    def fetch(uri: str, folder: Path) -> Any:
        raise error

    scratch = Path(desk.library.index._path).parent / "scratch"
    scratch.mkdir(exist_ok=True)
    return replace(
        desk, parts=SimpleNamespace(fetch=fetch, scratch=scratch, taggers=(), absent={}, lineup=LineupSwitch())
    )  # type: ignore[arg-type]


MESSAGE = {"upload_id": "u1", "media": "file:///x.mp4"}


def test_the_nodes_own_trouble_is_not_held_against_the_upload(desk: Desk, monkeypatch) -> None:
    full = raising(desk, OSError(28, "No space left on device"), monkeypatch)
    for _ in range(5):
        assert full.handle(MESSAGE) == "retry"
        status = desk.store.status("u1")
        assert status is not None
        assert (status.state, status.attempts) == ("queued", 0)


def test_a_bug_is_tried_again_and_then_left_to_the_sweeper(desk: Desk, monkeypatch) -> None:
    broken = raising(desk, ZeroDivisionError("secret path /x"), monkeypatch)
    for _ in range(3):
        assert broken.handle(MESSAGE) == "retry"
    status = desk.store.status("u1")
    assert status is not None
    assert status.attempts == 3
    assert status.reason == "failed: ZeroDivisionError"
    assert broken.handle(MESSAGE) == "known"


def test_media_that_cannot_be_had_in_all_attempts_is_a_timeout(desk: Desk, monkeypatch) -> None:
    away = raising(desk, FetchUnavailable("503"), monkeypatch)
    assert [away.handle(MESSAGE) for _ in range(3)] == ["retry", "retry", "committed"]
    document = desk.store.document("u1")
    assert document is not None
    assert document["outcome"] == "timeout"


@pytest.mark.parametrize("message", [None, 7, "text", [], {}, {"upload_id": "../x", "media": "m"}, {"media": "m"}])
def test_a_message_that_names_no_upload_is_kept(desk: Desk, message: Any) -> None:
    assert desk.handle(message) == "refused"
    assert len(desk.store.refusals()) == 1
    assert desk.store.feed(0) == []


def test_a_message_that_names_its_upload_is_answered(desk: Desk) -> None:
    for _ in range(2):
        assert desk.handle({**MESSAGE, "country": "USA", "taggers": ["astrology"]}) == "refused"
    document = desk.store.document("u1")
    assert document is not None
    assert document["outcome"] == "unsupported"
    assert "country" in document["reason"]
    assert len(desk.store.feed(0)) == 1


def test_half_an_emoji_and_an_impossible_date_lose_nothing(desk: Desk, monkeypatch) -> None:
    broken = raising(desk, OSError("x"), monkeypatch)
    odd = {**MESSAGE, "caption": "cut \ud83d", "uploaded_at": "0001-01-01T00:00:00+05:00"}
    assert broken.handle(odd) == "retry"
    status = desk.store.status("u1")
    assert status is not None


def test_a_store_that_is_away_leaves_the_message_with_the_broker(monkeypatch) -> None:
    class Away:
        def handle(self, message: Any, queue: str) -> None:
            raise StoreUnavailable("away")

    monkeypatch.setattr(tasks.tag_upload, "STORE_AWAY_S", 0.0)
    monkeypatch.setattr(tasks.tag_upload, "HOLD_S", 0.0)
    runtime.install(Away())  # type: ignore[arg-type]
    try:
        with pytest.raises(Reject) as rejected:
            tasks.tag_upload.tag_upload(SimpleNamespace(request=SimpleNamespace(delivery_info={})), dict(MESSAGE))
        assert rejected.value.requeue is True
    finally:
        runtime.install(None)


def test_a_failed_commit_leaves_no_artifact(desk: Desk, fingerprint: Fingerprint, tmp_path: Path) -> None:
    attempt = started(desk, "u1")
    desk.store.fail(attempt.attempt_id, "lost meanwhile")
    analysis = Analysis(TagDocument(upload_id="u1", outcome="ok"), None, {"a": np.zeros(3)})
    with pytest.raises(Exception, match="live"):
        desk._commit(TagUpload(upload_id="u1", media="file:///x"), attempt, analysis)
    assert [path for path in (tmp_path / "artifacts").rglob("*") if path.is_file()] == []


def test_a_decoder_that_dies_is_tried_again_and_then_left_to_the_sweeper(desk: Desk, monkeypatch) -> None:
    deadly = raising(desk, DecoderDied("SIGSEGV"), monkeypatch)
    assert [deadly.handle(MESSAGE) for _ in range(4)] == ["retry", "retry", "retry", "known"]
    later = Store.open(str(desk.store._database.url), clock=lambda: datetime.now(UTC) + timedelta(hours=1))
    sent: list[Any] = []
    assert sweep(later, lambda *message: sent.append(message), 3) == 0
    assert sent == []
    document = desk.store.document("u1")
    assert document is not None
    assert document["outcome"] == "quarantined"
    assert "SIGSEGV" in document["reason"]
    assert deadly.handle(MESSAGE) == "known", "it stays so until asked"
    later.close()


def test_what_was_lost_twice_waits_to_be_alone_without_a_lease(desk: Desk, monkeypatch) -> None:
    upload = TagUpload.model_validate(MESSAGE)
    clock = {"now": datetime.now(UTC)}
    later = Store.open(str(desk.store._database.url), clock=lambda: clock["now"])
    for _ in range(SUSPECT_AFTER):
        lost = later.admit("u1", MESSAGE, upload.request_hash(), owner="dead", lease_s=60)
        assert isinstance(lost, Started)
        clock["now"] += timedelta(minutes=2)
    suspicious = replace(desk, store=later)
    analysed = threading.Event()

    def analyse(upload: TagUpload, parts: Any) -> Analysis:
        analysed.set()
        return Analysis(TagDocument(upload_id=upload.upload_id, outcome="ok"))

    monkeypatch.setattr(tasks.job, "analyse", analyse)
    ended: list[str] = []
    thread = threading.Thread(target=lambda: ended.append(suspicious.handle(MESSAGE)))
    with suspicious.gate.admitted("uploads"):
        thread.start()
        deadline = time.monotonic() + 20
        while (status := later.status("u1")) is None or status.state != "queued":
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert not analysed.wait(0.3), "its neighbour is still in work"
        assert suspicious.leases.held() == []
    thread.join(20)
    assert ended == ["committed"]
    document = later.document("u1")
    assert document is not None and document["attempts"] == SUSPECT_AFTER + 1
    later.close()


def test_two_sweepers_send_each_upload_once(desk: Desk) -> None:
    for number in range(40):
        desk.store.register(f"u{number}", {"upload_id": f"u{number}"}, "h")
    later = Store.open(str(desk.store._database.url), clock=lambda: datetime.now(UTC) + timedelta(hours=1))
    sent: list[str] = []
    together = threading.Barrier(4)

    def beat(name: str) -> None:
        together.wait()
        for _ in range(3):
            sweep(later, lambda message, queue, priority: sent.append(message["upload_id"]), 3, name)

    threads = [threading.Thread(target=beat, args=(f"beat{number}",)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(sent) == sorted(f"u{number}" for number in range(40))
    later.close()
