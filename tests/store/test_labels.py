from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from store.store import Labelled, NewLabel, Store, TagRow, UnknownUpload

LONG_AGO = datetime(2025, 1, 1, tzinfo=UTC)


def label(tag: str, decision: Any = "confirm", tagger: str = "topics", **fields: Any) -> NewLabel:
    return NewLabel("u1", tagger, tag, decision, **{"by": "ada", **fields})


def topics(*names: str) -> dict[str, Any]:
    said = [{"topic": name, "score": 0.6, "ranges": [[0.0, 1.5]], "from": ["picture"]} for name in names]
    return {"topics": said, "events": [], "diversity": {"topic": names[0] if names else None, "sound": None}}


def tagged(work, *names: str, request_hash: str = "h1") -> None:
    work.tag(request_hash=request_hash, topics=names, document=work.body(**topics(*names)))


def said(store: Store) -> list[str]:
    return [topic["topic"] for topic in store.document("u1")["topics"]]


def test_a_decision_changes_the_document_its_tags_and_the_feed_once(store: Store, work, clock) -> None:
    tagged(work, "animals/cat", "food")
    assert store.label("u1", [label("animals/cat", "reject", taxonomy="taxonomy@1", note="a fox")]) == Labelled(
        (True,), True
    )
    assert said(store) == ["food"]
    assert store.document("u1")["diversity"]["topic"] == "food"
    assert work.rows("SELECT tagger, tag, version FROM tags") == [("topics", "food", "net@1")]
    assert [(event.event, event.document["topics"][0]["topic"]) for event in store.feed(0)] == [
        ("tagged", "animals/cat"),
        ("labelled", "food"),
    ]
    (row,) = store.labels()
    assert (row.tag, row.decision, row.by, row.at, row.taxonomy, row.note, row.holds) == (
        "animals/cat",
        "reject",
        "ada",
        clock(),
        "taxonomy@1",
        "a fox",
        True,
    )
    # Nothing else moved.
    assert store.status("u1").state == "done"
    assert [row[:2] for row in work.rows("SELECT tagger, version FROM tagger_states ORDER BY tagger")] == [
        ("soundid", "marks@1"),
        ("topics", "net@1"),
    ]


def test_a_rejected_tag_never_comes_back(store: Store, work) -> None:
    tagged(work, "animals/cat", "food")
    store.label("u1", [label("animals/cat", "reject")])
    for number in range(2, 5):
        document = work.body(models={"topics": f"net@{number}"}, **topics("animals/cat", "food", f"new{number}"))
        work.tag(request_hash=f"h{number}", topics=["animals/cat", "food"], document=document)
        assert said(store) == ["food", f"new{number}"]
        assert "animals/cat" not in [row[0] for row in work.rows("SELECT tag FROM tags")]
    assert [event.event for event in store.feed(2)] == ["retagged"] * 3
    assert all("animals/cat" not in str(event.document) for event in store.feed(1))


def test_a_label_before_the_first_document_waits_for_it(store: Store, work) -> None:
    attempt = work.start()
    assert store.label("u1", [label("food", "reject"), label("travel", "add")]) == Labelled((True, True), False)
    work.finish(attempt, work.body(**topics("food")), tags=[TagRow("topics", "net@1", "food", 0.6, [])])
    assert said(store) == ["travel"]
    assert work.rows("SELECT tag, version, score FROM tags") == [("travel", "human", 1.0)]
    assert store.feed_head() == 1


def test_the_same_decision_again_is_nothing(store: Store, work, clock) -> None:
    tagged(work, "food")
    assert store.label("u1", [label("food"), label("food")]).written == (True, False)
    clock.pass_s(5)
    assert store.label("u1", [label("food")]) == Labelled((False,), False)
    assert store.label("u1", [label("food", by="bob")]) == Labelled((True,), False)  # a second opinion is kept
    dated = label("food", "reject", at=LONG_AGO)
    assert store.label("u1", [dated]) == Labelled((True,), False)  # older than what holds
    assert store.label("u1", [dated]) == Labelled((False,), False)
    assert said(store) == ["food"]
    assert [(row.decision, row.by, row.holds) for row in store.labels(history=True)] == [
        ("reject", "ada", False),
        ("confirm", "ada", False),
        ("confirm", "bob", True),
    ]


def test_the_latest_decision_holds_and_can_be_withdrawn(store: Store, work, clock) -> None:
    tagged(work, "animals/cat", "food")
    before = store.document("u1")
    for decision, expected in (("reject", ["food"]), ("confirm", ["animals/cat", "food"]), ("reject", ["food"])):
        clock.pass_s(1)
        store.label("u1", [label("animals/cat", decision)])
        assert said(store) == expected
    clock.pass_s(1)
    store.label("u1", [label("animals/cat", "withdraw")])
    assert store.document("u1") == before
    assert store.kept("u1").machine is None


def test_a_dry_run_says_what_it_would_do_and_does_nothing(store: Store, work) -> None:
    tagged(work, "food")
    assert store.label("u1", [label("food", "reject")], dry_run=True) == Labelled((True,), True)
    assert (said(store), list(store.labels()), store.feed_head()) == (["food"], [], 1)


def test_an_upload_that_nobody_knows(store: Store, work) -> None:
    assert store.label("u9", [label("food")]) == UnknownUpload()
    assert store.unknown_uploads(["u9", "u1"]) == {"u9", "u1"}
    tagged(work, "food")
    assert store.unknown_uploads(["u9", "u1"]) == {"u9"}


def test_labels_are_listed_by_what_they_say(store: Store, work) -> None:
    tagged(work, "food")
    store.label("u1", [label("food", "reject"), label("Dog", "add", tagger="events", by="bob"), label("art", "add")])
    assert [row.tag for row in store.labels()] == ["Dog", "art", "food"]
    assert [row.tag for row in store.labels(tagger="topics")] == ["art", "food"]
    assert [row.tag for row in store.labels(decision="add", by="ada")] == ["art"]
    assert [row.tag for row in store.labels(upload_id="u1", tag="food")] == ["food"]


def test_labels_are_read_in_pages(store: Store, work, monkeypatch) -> None:
    monkeypatch.setattr("store.labels.PAGE", 2)
    for number in range(5):
        work.tag(f"u{number}")
        for decision in ("add", "reject"):
            store.label(f"u{number}", [NewLabel(f"u{number}", "topics", tag, decision, "ada") for tag in ("a", "b")])
    everything = [(row.upload_id, row.tag, row.decision, row.holds) for row in store.labels(history=True)]
    assert everything == [
        (f"u{number}", tag, decision, decision == "reject")
        for number in range(5)
        for tag in ("a", "b")
        for decision in ("add", "reject")
    ]
    assert len(list(store.labels())) == 10
    assert [row.upload_id for row in store.labels(tag="b")] == [f"u{number}" for number in range(5)]


def test_decisions_and_commits_at_once_lose_nothing(store: Store, work) -> None:
    """Each locks the upload, so a commit sees every decision made before it, and the other way round."""
    tagged(work, "t0", "t1", "t2", "t3")
    names = [f"t{number}" for number in range(4)]
    errors: list[BaseException] = []

    def guarded(action) -> None:
        try:
            action()
        except BaseException as error:
            errors.append(error)

    def commits() -> None:
        for number in range(6):
            document = work.body(models={"topics": f"n@{number}"}, **topics(*names, f"x{number}"))
            work.tag(request_hash=f"again{number}", topics=names, document=document)

    def decides(name: str) -> None:
        store.label("u1", [label(name, "reject")])

    threads = [threading.Thread(target=guarded, args=[commits])]
    threads += [threading.Thread(target=guarded, args=[lambda name=name: decides(name)]) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert errors == []
    assert said(store) == ["x5"]
    assert work.rows("SELECT tag FROM tags WHERE tagger = 'topics'") == [("x5",)]
    assert [event.cursor for event in store.feed(0, 100)] == list(range(1, store.feed_head() + 1))


def test_hostile_text_in_a_label(store: Store, work) -> None:
    tagged(work, "food")
    hostile = "a\x00b\ud800'; DROP TABLE labels; --"
    for _ in range(2):
        store.label("u1", [label(hostile, "add", by=hostile, note=hostile, at=LONG_AGO + timedelta(days=1))])
    (row,) = store.labels()
    assert row.tag == row.by == row.note == "ab'; DROP TABLE labels; --"


@pytest.mark.parametrize("outcome", ["corrupt", "quarantined"])
def test_an_upload_that_could_not_be_tagged_takes_labels_too(store: Store, work, outcome: str) -> None:
    work.tag(document=work.body(outcome, models={}, **topics()))
    assert store.label("u1", [label("food", "add")]).changed
    assert said(store) == ["food"]
    assert store.status("u1").outcome == outcome
