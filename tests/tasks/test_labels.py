from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from store.store import Started, Store
from tasks.contract import TagDocument, Topic
from tasks.labels import Vocabulary, form_of, load, read, write

VOCABULARY = Vocabulary()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store.open(f"sqlite:///{tmp_path / 'store.db'}")
    for name in ("u1", "u2"):
        admission = opened.admit(name, {"upload_id": name}, "h", owner="n", lease_s=60)
        assert isinstance(admission, Started)
        with opened.commit(admission.attempt_id) as transaction:
            topics = [Topic(topic="animals/cat", score=0.9, from_=["picture"])]
            document = TagDocument(upload_id=name, outcome="ok", topics=topics, models={"topics": "net@1"})
            transaction.finish(document.to_json())
    yield opened
    opened.close()


def lines(*records: Any) -> Iterator[tuple[int, Any]]:
    text = "\n".join(record if isinstance(record, str) else json.dumps(record) for record in records)
    return read(io.StringIO(text), "jsonl")


def line(upload_id: str = "u1", tag: str = "animals/cat", decision: str = "reject", **fields: Any) -> dict[str, Any]:
    return {"upload_id": upload_id, "tag": tag, "decision": decision, "by": "ada", **fields}


def test_a_file_is_taken_once(store: Store) -> None:
    records = [line(), line("u2", "food/coffee_tea", "add"), line("u1", "Dog", "add", tagger="events")]
    first = load(store, lines(*records), VOCABULARY)
    assert (first.lines, first.written, first.known, first.changed, first.errors) == (3, 3, 0, 2, [])
    again = load(store, lines(*records), VOCABULARY)
    assert (again.written, again.known, again.changed) == (0, 3, 0)
    assert store.feed_head() == 4
    assert {row.taxonomy for row in store.labels()} == {"taxonomy@1", "audioset@1"}
    for document in map(store.document, ("u1", "u2")):
        TagDocument.model_validate(document)


def test_every_bad_line_is_named_and_nothing_is_written(store: Store) -> None:
    bad = [
        line(),
        "{",
        [],
        {"upload_id": "u1", "tag": "food"},
        line(decision="perhaps"),
        line(tagger="layout"),
        line(tag="animals/catt"),
        line(tag="Not A Topic"),
        line(upload_id="u9"),
        line(at="yesterday"),
        line(at="2026-01-01T00:00:00"),
        line(note=7),
        {"upload_id": "u1", "tag": "food", "decision": "add"},
        line(note="n" * 3000),
    ]
    result = load(store, lines(*bad), VOCABULARY)
    assert [(error.line, error.fault) for error in result.errors] == [
        (2, "bad_line"),
        (3, "bad_line"),
        (4, "missing"),
        (5, "bad_value"),
        (6, "bad_value"),
        (7, "unknown_tag"),
        (8, "unknown_tag"),
        (9, "unknown_upload"),
        (10, "bad_value"),
        (11, "bad_value"),
        (12, "bad_value"),
        (13, "missing"),
        (14, "bad_value"),
    ]
    assert "--new-tags" in result.errors[5].message
    assert (list(store.labels()), result.applied) == ([], False)
    skipped = load(store, lines(*bad), VOCABULARY, skip_errors=True)
    assert (skipped.written, len(skipped.errors)) == (1, 13)


def test_a_dry_run_counts(store: Store) -> None:
    result = load(store, lines(line(), line("u2", decision="confirm")), VOCABULARY, dry_run=True)
    assert (result.written, result.changed, result.applied) == (2, 2, False)
    assert (list(store.labels()), store.feed_head()) == ([], 2)


def test_new_tags_when_asked_for(store: Store) -> None:
    new = Vocabulary(new_tags=True)
    assert load(store, lines(line(tag="crafts/origami", decision="add")), new).written == 1
    assert load(store, lines(line(tag="Crafts!", decision="add")), new).errors[0].fault == "unknown_tag"


@pytest.mark.parametrize("form", ["jsonl", "csv"])
def test_what_is_exported_comes_back(store: Store, tmp_path: Path, form: Any) -> None:
    records = [
        line(note='=1+1, "quoted"\nand a second line'),
        line(decision="confirm", at="2030-01-01T00:00:00+02:00"),
        line("u2", "food", "add"),
    ]
    load(store, lines(*records), VOCABULARY)
    first = io.StringIO(newline="")
    assert write(store.labels(history=True), first, form) == 3
    again = load(store, read(io.StringIO(first.getvalue(), newline=""), form), VOCABULARY)
    assert (again.written, again.known, again.errors) == (0, 3, [])
    other = Store.open(f"sqlite:///{tmp_path / 'other.db'}")
    for name in ("u1", "u2"):
        other.admit(name, {}, "h", owner="n", lease_s=60)
    assert load(other, read(io.StringIO(first.getvalue(), newline=""), form), VOCABULARY).written == 3
    second = io.StringIO(newline="")
    write(other.labels(history=True), second, form)
    assert second.getvalue() == first.getvalue()
    other.close()


def test_a_csv_whose_lines_do_not_fit_its_header(store: Store) -> None:
    text = 'upload_id,tag,decision,by\nu1,food,add,ada\nu1,food\nu1,art,add,ada,more\nu1,"art,add,ada\n'
    result = load(store, read(io.StringIO(text, newline=""), "csv"), VOCABULARY)
    assert [(error.line, error.fault) for error in result.errors] == [(3, "bad_line"), (4, "bad_line"), (5, "bad_line")]
    foreign = load(store, read(io.StringIO("id,label\n1,2\n"), "csv"), VOCABULARY)
    assert [(error.line, error.fault) for error in foreign.errors] == [(1, "bad_line")]
    assert load(store, read(io.StringIO(""), "csv"), VOCABULARY).errors


def test_a_files_name_says_its_format() -> None:
    assert [form_of(name) for name in ("a.CSV", "a.jsonl", "a.ndjson", "a.txt")] == ["csv", "jsonl", "jsonl", None]
