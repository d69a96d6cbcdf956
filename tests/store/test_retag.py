from __future__ import annotations

import os
import random
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from store.store import EncodingRow, NewLabel, Retagged, Selection, Store, TagRow, Target
from store.where import BadCondition

ROOT = Path(__file__).parents[2]
TOPICS = Target("topics", "net@2", {"picture": "eye@1"})
EVENTS = Target("events", "ear@2", {"yamnet": "ear@1"})
SHOTS = Target("layout", "seams@1", {}, from_kept=False)
BOTH = ("embeddings", "full")


def keep(work, upload_id: str, models: dict[str, str], encoders: dict[str, str] | None = None, **options: Any) -> None:
    """Take an upload to its document, with rows of these encoders (name to version)."""
    outcome = options.pop("outcome", "ok")
    topics = [{"topic": one, "score": 0.5, "ranges": [], "from": ["picture"]} for one in options.pop("topics", ["old"])]
    body = work.body(outcome, models=models, topics=topics, events=[], diversity={"topic": None}, absent={})
    attempt = work.start(upload_id, request={"media": "m", **options})
    rows = [EncodingRow(name, version, 4, 8, 0.0, 2.0) for name, version in (encoders or {}).items()]
    tags = [TagRow("topics", models.get("topics", "-"), one["topic"], 0.5, []) for one in topics]
    artifact = f"of-{upload_id}" if rows else None
    work.finish(attempt, body, tags=tags, artifact=artifact, encodings=rows)


@pytest.fixture
def archive(store: Store, work) -> Store:
    keep(work, "current", {"topics": "net@2", "events": "ear@2"}, {"picture": "eye@1", "yamnet": "ear@1"})
    keep(work, "stale1", {"topics": "net@1", "events": "ear@2"}, {"picture": "eye@1", "yamnet": "ear@1"}, country="IT")
    keep(work, "stale2", {"topics": "net@1"}, {"picture": "eye@1", "yamnet": "ear@0"})
    keep(work, "other", {"topics": "net@1"}, {"picture": "eye@0"}, country="IT")
    keep(work, "bare", {"topics": "net@1"})
    keep(work, "asked", {"topics": "net@1"}, {"picture": "eye@1"}, taggers=["topics"])
    keep(work, "broken", {}, outcome="corrupt")
    work.start("running")
    return store


def planned(
    store: Store, work, selection: Selection, *targets: Target, ways=BOTH, full: bool = False
) -> dict[str, str]:
    run, _ = store.open_retag(selection, targets, ways, full)
    return dict(work.rows("SELECT upload_id, way FROM retag_items WHERE run_id = :run", run=run.run_id))


def test_a_run_takes_what_its_selection_finds(archive: Store, work) -> None:
    def plan(selection: Selection, *targets: Target, **options: Any) -> dict[str, str]:
        return planned(archive, work, selection, *targets, **options)

    kept, decoded = "embeddings", "full"
    assert plan(Selection(stale=("topics",)), TOPICS) == {
        "stale1": kept,
        "stale2": kept,
        "asked": kept,
        "other": decoded,
        "bare": decoded,
    }
    canary = replace(TOPICS, version="net@3", beside=("net@1",))
    assert plan(Selection(stale=("topics",)), canary).keys() == {"current"}, "what a canary said is not stale"
    assert plan(Selection(stale=("topics",)), TOPICS, ways=("embeddings",)).keys() == {"stale1", "stale2", "asked"}
    assert set(plan(Selection(stale=("topics",)), TOPICS, ways=("full",), full=True).values()) == {decoded}
    # Not of what was asked to be without it, nor of what cannot be tagged at all.
    assert plan(Selection(missing=("events",)), EVENTS) == {"stale2": decoded, "other": decoded, "bare": decoded}
    assert plan(Selection(missing=("events",), stale=("topics",)), TOPICS, EVENTS)["asked"] == kept
    assert plan(Selection(failed=True), TOPICS) == {"broken": decoded}
    assert plan(Selection(stale=("topics",), where="country = 'IT'"), TOPICS) == {"stale1": kept, "other": decoded}
    assert plan(Selection(where="country = 'IT'"), TOPICS, EVENTS) == {"stale1": kept, "other": decoded}
    assert set(plan(Selection(missing=("layout",)), SHOTS).values()) == {decoded}
    with pytest.raises(BadCondition):
        plan(Selection(where="nonsense"), TOPICS)


def test_counts_come_before_anything_is_done(archive: Store, work) -> None:
    counts = archive.retag_counts(Selection(stale=("topics",)), [TOPICS])
    assert (counts.selected, counts.kept, counts.stale, counts.without) == (5, 3, 1, 1)
    assert counts.encoders == {"picture: eye@0": 1}
    newer = replace(TOPICS, version="net@3", encoders={"picture": "eye@2"})
    counts = archive.retag_counts(Selection(stale=("topics",)), [newer])
    assert (counts.selected, counts.kept, counts.stale, counts.without) == (6, 0, 5, 1)
    assert counts.encoders == {"picture: eye@0": 1, "picture: eye@1": 4}
    assert work.rows("SELECT count(*) FROM retag_runs") == [(0,)]


def test_the_same_words_find_the_unfinished_run(archive: Store, work, clock) -> None:
    first, known = archive.open_retag(Selection(stale=("topics",)), [TOPICS], BOTH)
    assert (known, first.total, first.left) == (False, 5, 5)
    again, known = archive.open_retag(Selection(stale=("topics",)), [TOPICS], BOTH)
    assert (known, again.run_id) == (True, first.run_id)
    other, known = archive.open_retag(Selection(stale=("topics",), where="country = 'IT'"), [TOPICS], BOTH)
    assert not known
    # The same words for another version: the former run has lost its aim.
    newer, known = archive.open_retag(Selection(stale=("topics",)), [replace(TOPICS, version="net@3")], BOTH)
    assert (known, archive.retag_state(first.run_id), archive.retag_state(other.run_id)) == (
        False,
        "cancelled",
        "running",
    )
    assert archive.set_retag_state(newer.run_id, "done")
    assert not archive.set_retag_state(newer.run_id, "running")
    assert not archive.set_retag_state(999, "paused")
    assert [run.run_id for run in archive.retag_runs()] == [newer.run_id, other.run_id, first.run_id]
    clock.now += timedelta(days=40)
    archive.open_retag(Selection(failed=True), [TOPICS], BOTH)
    assert archive.retag_run(newer.run_id).total == 0
    assert archive.retag_run(other.run_id).total == 2


def say(current, *topics: str, version: str = "net@2") -> Retagged:
    document = current.said()
    document["topics"] = [{"topic": one, "score": 0.5, "ranges": [], "from": ["picture"]} for one in topics]
    document["models"] = {**document["models"], "topics": version}
    return Retagged(current, document, {"topics": version})


def test_an_item_is_settled_with_its_document(archive: Store, work) -> None:
    run, _ = archive.open_retag(Selection(stale=("topics",)), [TOPICS], BOTH)
    head = archive.feed_head()
    items = {current.upload_id: current for current, _ in archive.retag_items(run.run_id, 10)}
    assert list(items) == ["asked", "stale1", "stale2"]
    said = [say(items["stale1"], "new"), say(items["stale2"], "old")]
    states = archive.settle_retagged(run.run_id, said, {"asked": "gone"})
    assert states == {"stale1": "changed", "stale2": "unchanged", "asked": "failed"}
    # Only where it says something new is there an event; the versions are named everywhere.
    assert [(event.upload_id, event.event) for event in archive.feed(head)] == [("stale1", "retagged")]
    for upload_id in ("stale1", "stale2"):
        assert archive.document(upload_id)["models"]["topics"] == "net@2"
        assert work.rows(
            "SELECT version FROM tagger_states WHERE upload_id = :u AND tagger = 'topics'", u=upload_id
        ) == [("net@2",)]
    assert work.rows("SELECT tag, version FROM tags WHERE upload_id = 'stale1'") == [("new", "net@2")]
    kept = archive.kept("stale1")
    assert (kept.revision, kept.artifact, kept.document["models"]["events"]) == (2, "of-stale1", "ear@2")
    assert archive.status("stale1").state == "done"
    assert archive.retag_run(run.run_id).items == {"changed": 1, "unchanged": 1, "failed": 1, "waiting": 2}
    # Again, as by another process that had read the same: nothing.
    assert archive.settle_retagged(run.run_id, said, {}) == {}
    assert archive.feed_head() == head + 1
    assert archive.retag_items(run.run_id, 10) == []


def test_what_is_not_kept_can_go_the_full_way_instead(archive: Store) -> None:
    run, _ = archive.open_retag(Selection(stale=("topics",)), [TOPICS], BOTH)
    assert archive.settle_retagged(run.run_id, [], {"asked": "gone"}, full_instead=True) == {"asked": "full"}
    assert [current.upload_id for current, _ in archive.retag_items(run.run_id, 10)] == ["stale1", "stale2"]
    assert archive.send_retagged(run.run_id, 10) == 3
    assert archive.status("asked").queue == "backfill"


def test_a_document_that_changed_meanwhile_is_read_again(archive: Store, work, clock) -> None:
    run, _ = archive.open_retag(Selection(stale=("topics",), where="upload_id = 'stale1'"), [TOPICS], BOTH)
    for _ in range(2):
        ((current, _),) = archive.retag_items(run.run_id, 10)
        clock.pass_s(1)
        archive.label("stale1", [NewLabel("stale1", "topics", f"t{clock.now.second}", "add", "ada")])
        assert archive.settle_retagged(run.run_id, [say(current, "new")], {}) == {}
    ((current, _),) = archive.retag_items(run.run_id, 10)
    clock.pass_s(1)
    # Also one that took its predecessor's place without an event.
    archive.requeue("stale1")
    keep(work, "stale1", {"topics": "net@1", "events": "ear@9"}, {"picture": "eye@1", "yamnet": "ear@1"}, country="IT")
    assert archive.settle_retagged(run.run_id, [say(current, "new")], {}) == {"stale1": "failed"}
    assert archive.document("stale1")["models"]["events"] == "ear@9"


def test_labels_hold_through_it(archive: Store) -> None:
    archive.label("stale1", [NewLabel("stale1", "topics", "wrong", "reject", "ada")])
    archive.label("stale1", [NewLabel("stale1", "topics", "right", "add", "ada")])
    run, _ = archive.open_retag(Selection(stale=("topics",), where="upload_id = 'stale1'"), [TOPICS], BOTH)
    ((current, _),) = archive.retag_items(run.run_id, 10)
    assert [topic["topic"] for topic in current.said()["topics"]] == ["old"]
    archive.settle_retagged(run.run_id, [say(current, "wrong", "new")], {})
    assert [topic["topic"] for topic in archive.document("stale1")["topics"]] == ["right", "new"]


def test_the_farm_gets_so_many_at_once_and_no_more(archive: Store, work) -> None:
    run, _ = archive.open_retag(Selection(stale=("topics",)), [TOPICS], ("full",), full=True)
    assert [archive.send_retagged(run.run_id, 2) for _ in range(2)] == [2, 0]
    due = archive.claim_due(3)
    assert sorted((one.upload_id, one.queue) for one in due) == [("asked", "backfill"), ("bare", "backfill")]
    work.tag("asked", "h1", document=work.body(n=2))
    assert archive.collect_retagged(run.run_id) == 1
    assert archive.send_retagged(run.run_id, 2) == 1
    assert archive.retag_run(run.run_id).items == {"done": 1, "sent": 2, "waiting": 2}


def test_runs_labels_and_commits_at_once_never_stand_in_each_others_way(store: Store, work) -> None:
    """Each locks uploads and then the feed; in another order they would wait for each other for ever."""
    names = [f"u{number:02d}" for number in range(12)]
    for name in names:
        keep(work, name, {"topics": "net@1"}, {"picture": "eye@1"})
    run, _ = store.open_retag(Selection(stale=("topics",)), [TOPICS], ("embeddings",))

    def retags() -> None:
        while items := store.retag_items(run.run_id, 5):
            store.settle_retagged(run.run_id, [say(current, f"new-{current.upload_id}") for current, _ in items], {})

    def labels() -> None:
        for name in reversed(names):
            store.label(name, [NewLabel(name, "topics", "seen", "add", "ada")])

    def commits() -> None:
        for name in (*names[6:], *names[:6]):
            store.requeue(name)
            keep(work, name, {"topics": "net@1"}, {"picture": "eye@1"}, topics=["fresh"])

    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(action) for action in (retags, retags, labels, commits)]:
            done.result(120)
    cursors = [event.cursor for event in store.feed(0, 1000)]
    assert cursors == list(range(1, len(cursors) + 1))
    settled = store.retag_run(run.run_id).items
    assert sum(settled.values()) == 12 and settled.keys() <= {"changed", "failed"}
    for name in names:
        document = store.document(name)
        assert document["topics"][0]["topic"] == "seen"
        # The version that is named is the one whose words stand there.
        words = {"net@1": {"fresh"}, "net@2": {f"new-{name}"}}[document["models"]["topics"]]
        assert {topic["topic"] for topic in document["topics"][1:]} == words
        assert work.rows("SELECT version FROM tagger_states WHERE upload_id = :u AND tagger = 'topics'", u=name) == [
            (document["models"]["topics"],)
        ]


# Runs the whole of it, and dies at its n-th statement (0: never).
CHILD = """
import os, sys
from sqlalchemy import event
from store.store import Retagged, Selection, Store, Target
url, fatal = sys.argv[1], int(sys.argv[2])
store = Store.open(url)
seen = 0

@event.listens_for(store._database.engine, "before_cursor_execute")
def count(*_):
    global seen
    seen += 1
    if seen == fatal:
        os._exit(9)

target = Target("topics", "net@2", {"picture": "eye@1"})
run, _ = store.open_retag(Selection(stale=("topics",)), [target], ("embeddings", "full"))
while items := store.retag_items(run.run_id, 4):
    said, refused = [], {}
    for current, request in items:
        document = current.said()
        number = int(current.upload_id[1:])
        if number % 11 == 7:
            refused[current.upload_id] = "gone"
            continue
        if number % 3:
            document["topics"] = [{"topic": f"t{number % 5}", "score": 0.7, "ranges": [], "from": ["picture"]}]
        document["models"] = {**document["models"], "topics": "net@2"}
        said.append(Retagged(current, document, {"topics": "net@2"}))
    store.settle_retagged(run.run_id, said, refused)
store.send_retagged(run.run_id, 100)
store.set_retag_state(run.run_id, "done")
print(seen)
"""
TIMES = {"at", "updated_at", "created_at", "uploaded_at", "due_at", "started_at", "ended_at", "written_at"}


def everything(store: Store, work) -> dict[str, list[dict[str, Any]]]:
    """All rows of all tables, without times, and with numbers that attempts were given counted from the first."""
    from store.schema import Base

    found = {}
    for table in Base.metadata.sorted_tables:
        columns = [column.name for column in table.columns if column.name not in TIMES]
        listed = ", ".join(f'"{name}"' for name in columns)
        rows = [dict(zip(columns, row, strict=True)) for row in work.rows(f"SELECT {listed} FROM {table.name}")]
        for name in ("attempt_id", "run_id", "label_id"):
            first = min((row[name] for row in rows if row.get(name) is not None), default=0)
            for row in rows:
                if row.get(name) is not None:
                    row[name] -= first
        found[table.name] = sorted(rows, key=str)
    return found


def test_killed_anywhere_it_ends_with_the_same_store(url: str, store: Store, work, tmp_path: Path) -> None:
    """Three kills of one run, each at a statement drawn anew, against a run that nobody disturbs."""
    draw = random.Random(7)

    def run(fatal: int) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", CHILD, url, str(fatal)]
        return subprocess.run(command, cwd=ROOT, env=os.environ, check=False, capture_output=True, text=True)

    def fill() -> None:
        _empty(store)
        for number in range(24):
            keep(work, f"u{number:02d}", {"topics": "net@1"}, {"picture": "eye@1"} if number % 8 else None)
        store.label("u05", [NewLabel("u05", "topics", "t0", "reject", "ada")])

    fill()
    through = run(0)
    assert through.returncode == 0, through.stderr
    expected = everything(store, work)
    assert len([row for row in expected["outbox"] if row["event"] == "retagged"]) > 5
    statements = int(through.stdout)
    fill()
    kills = 0
    while kills < 3:
        died = run(draw.randint(1, statements // 2))
        if died.returncode == 0:
            break
        assert died.returncode == 9, died.stderr
        kills += 1
    assert kills == 3
    assert run(0).returncode == 0
    assert everything(store, work) == expected


class Died(BaseException):
    """A kill, as far as the database can tell."""


def test_wherever_it_dies_it_ends_with_the_same_store(store: Store, work) -> None:
    """At each of its statements in turn."""
    from sqlalchemy import event

    seen, fatal = 0, 0

    def count(*_: object) -> None:
        nonlocal seen
        seen += 1
        if seen == fatal:
            raise Died

    def fill() -> None:
        _empty(store)
        for number in range(5):
            keep(work, f"u{number}", {"topics": "net@1"}, {"picture": "eye@1"} if number else None)

    def run() -> None:
        run, _ = store.open_retag(Selection(stale=("topics",)), [TOPICS], BOTH)
        while items := store.retag_items(run.run_id, 2):
            said = [say(current, "old" if current.upload_id == "u2" else "new") for current, _ in items[1:]]
            said += [say(current, "new") for current, _ in items[:1] if current.upload_id != "u3"]
            gone = {current.upload_id: "gone" for current, _ in items if current.upload_id == "u3"}
            store.settle_retagged(run.run_id, said, gone)
        store.send_retagged(run.run_id, 100)
        store.set_retag_state(run.run_id, "done")

    engine = store._database.engine
    event.listen(engine, "before_cursor_execute", count)
    try:
        fill()
        seen = 0
        run()
        statements, expected = seen, everything(store, work)
        for point in range(1, statements + 1):
            fill()
            seen, fatal = 0, point
            with pytest.raises(Died):
                run()
            fatal = 0
            run()
            assert everything(store, work) == expected, f"killed at statement {point} of {statements}"
    finally:
        event.remove(engine, "before_cursor_execute", count)
    assert statements > 30
    assert {row["state"] for row in expected["retag_items"]} == {"changed", "unchanged", "failed", "sent"}


def _empty(store: Store) -> None:
    from sqlalchemy import text

    from store.schema import Base

    with store._database.write() as connection:
        for table in reversed(Base.metadata.sorted_tables):
            if table.name != "counters":
                connection.execute(table.delete())
        connection.execute(text("UPDATE counters SET value = 0"))
