from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.training import dataset
from store.store import NewLabel
from tasks.export import export

PICTURE = "efficientnet-lite2@1"
MOMENT = datetime(2026, 1, 1, tzinfo=UTC)


def decide(shelf, upload_id: str, tag: str = "animals/cat", decision: Any = "confirm", **fields: Any) -> None:
    fields = {"by": "ada", "at": MOMENT, "taxonomy": "taxonomy@1", **fields}
    shelf.store.label(upload_id, [NewLabel(upload_id, "topics", tag, decision, **fields)])


def write(shelf, folder: Path, **options: Any):
    return export(shelf.store, shelf.artifacts, "topics", folder, **{"encoder_version": PICTURE, **options})


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_decisions_with_their_embeddings(shelf, tmp_path: Path) -> None:
    models = {"topics": "old@1", "layout": "seams@1"}
    single = {"layout": {"kind": "single"}}
    shelf.keep("u1", ("animals/cat", "food"), country="IT", language="it", document=single, models=models)
    shelf.keep("u2", ("food",), language="it\u2028x")
    shelf.keep("u3", ("food",))
    decide(shelf, "u1", "animals/cat", "confirm")
    decide(shelf, "u1", "travel", "add", at=MOMENT + timedelta(days=2))
    decide(shelf, "u2", "food", "reject")
    result = write(shelf, tmp_path / "set")
    assert (result.uploads, result.decisions, result.machine_labels, result.left_out) == (2, 3, 0, {})
    assert result.labels == {"animals/cat": [1, 0], "food": [0, 1], "travel": [1, 0]}
    read = dataset.read(tmp_path / "set")
    assert (read.tagger, read.taxonomy, read.encoder, read.dimension) == ("topics", "taxonomy@1", PICTURE, 1280)
    assert read.labels == ("animals/cat", "food", "travel")
    first, second = read.items
    # What nobody decided on is in no label, whatever the machine says.
    assert dict(first.labels) == {"animals/cat": 1.0, "travel": 1.0}
    assert dict(second.labels) == {"food": 0.0}
    assert first.slices == {"language": "it", "country": "IT", "duration_s": 3.0, "layout": "single"}
    assert second.slices["language"] is None
    assert (first.rows, second.rows) == ((0, 6), (6, 12))
    np.testing.assert_array_equal(read.rows(second), shelf.evidence("u2").encodings["picture"].embeddings)
    assert (tmp_path / "set" / str(first.keyframe)).read_bytes() == b"a picture of u1"
    assert read.created_at == "2026-01-03T00:00:00+00:00"
    assert read.hash == result.hash


def test_the_machines_word_is_taken_only_when_asked_for_by_name(shelf, tmp_path: Path) -> None:
    shelf.keep("u1", ("animals/cat", "food", "travel"))
    decide(shelf, "u1", "food", "reject")
    write(shelf, tmp_path / "people")
    assert dict(dataset.read(tmp_path / "people").items[0].labels) == {"food": 0.0}
    result = write(shelf, tmp_path / "all", machine_labels=True)
    assert dict(dataset.read(tmp_path / "all").items[0].labels) == {"animals/cat": 1.0, "food": 0.0, "travel": 1.0}
    assert result.machine_labels == 2


def test_the_same_store_gives_the_same_bytes(shelf, tmp_path: Path) -> None:
    for number in range(12):
        shelf.keep(f"u{number}", seed=f"s{number % 9}")
        decide(shelf, f"u{number}", "food", "reject" if number % 3 else "add")
    for name in ("one", "two"):
        write(shelf, tmp_path / name)
    assert content(tmp_path / "one") == content(tmp_path / "two")
    (tmp_path / "two" / "keyframes" / "old.jpg").write_bytes(b"of an upload that is not in it any more")
    write(shelf, tmp_path / "two")
    assert content(tmp_path / "one") == content(tmp_path / "two")


def test_near_duplicates_are_never_on_both_sides(shelf, tmp_path: Path) -> None:
    sound = shelf.original("a melody")
    for number in range(40):
        shelf.keep(f"a{number}")
        shelf.keep(f"b{number}", sha256=f"sha-a{number}")  # the same file
        shelf.keep(f"c{number}", seed=f"a{number}")  # the same picture
        shelf.keep(f"d{number}", parent_upload_id=f"a{number}")  # a duet with it
        shelf.keep(f"s{number}", sounds=(sound,))
    for name in ("a", "b", "c", "d", "s"):
        for number in range(40):
            decide(shelf, f"{name}{number}")
    result = write(shelf, tmp_path / "set")
    items = {item.upload_id: item for item in dataset.read(tmp_path / "set").items}
    for number in range(40):
        assert len({items[f"{name}{number}"].group for name in "abcd"}) == 1
    assert len({items[f"s{number}"].group for number in range(40)}) == 1
    assert result.groups == 41
    assert all(0 < result.splits[split] < 200 for split in ("train", "validation", "test"))


def test_a_split_stays_when_the_store_grows(shelf, tmp_path: Path) -> None:
    sounds = [shelf.original(f"melody {number}") for number in range(4)]
    for number in range(30):
        shelf.keep(f"m{number}", sounds=(sounds[number % 4],) if number % 5 == 0 else ())
    late = [f"m{number}" for number in range(0, 30, 7)]  # known from the start, but labelled last
    for number in range(30):
        if f"m{number}" not in late:
            decide(shelf, f"m{number}")
    write(shelf, tmp_path / "before")
    before = {item.upload_id: (item.group, item.split) for item in dataset.read(tmp_path / "before").items}
    for number in range(30):
        shelf.keep(f"a{number}", sounds=(sounds[number % 4],) if number % 3 == 0 else ())
        shelf.keep(f"z{number}", sha256=f"sha-m{number}")
        decide(shelf, f"a{number}")
        decide(shelf, f"z{number}")
    for upload_id in late:
        decide(shelf, upload_id)
    write(shelf, tmp_path / "after")
    after = {item.upload_id: (item.group, item.split) for item in dataset.read(tmp_path / "after").items}
    assert len(after) == 90
    assert {upload_id: after[upload_id] for upload_id in before} == before


def test_what_cannot_be_taken_is_counted(shelf, tmp_path: Path) -> None:
    shelf.keep("u1")
    shelf.keep("u2", evidence=shelf.evidence("u2", encoder="efficientnet-lite2@0"))
    shelf.keep("u3", evidence=shelf.evidence("u3", rows=0))
    shelf.keep("u4")
    shelf.keep("u5")
    shelf.store.admit("u6", {"upload_id": "u6"}, "h", owner="n", lease_s=60)
    for number in range(1, 7):
        decide(shelf, f"u{number}")
    decide(shelf, "u5", decision="withdraw", at=MOMENT + timedelta(days=1))
    shelf.artifacts.delete(shelf.store.kept("u4").artifact)
    result = write(shelf, tmp_path / "set")
    assert result.uploads == 1
    assert sorted(result.left_out.values()) == [1, 1, 1, 1]
    assert any("efficientnet-lite2@0" in why and "retag --full" in why for why in result.left_out)


def test_nothing_to_export_is_an_empty_set(shelf, tmp_path: Path) -> None:
    assert write(shelf, tmp_path / "set").uploads == 0
    assert dataset.read(tmp_path / "set").items == ()


def test_a_topic_that_is_not_there_yet(shelf, tmp_path: Path) -> None:
    shelf.keep("u1")
    decide(shelf, "u1", "crafts/origami", "add")
    write(shelf, tmp_path / "set")
    assert dataset.read(tmp_path / "set").labels == ("crafts/origami",)


@pytest.mark.parametrize("keyframes", [True, False])
def test_pictures_are_left_out_on_request(shelf, tmp_path: Path, keyframes: bool) -> None:
    shelf.keep("u1")
    decide(shelf, "u1")
    write(shelf, tmp_path / "set", keyframes=keyframes)
    assert (tmp_path / "set" / "keyframes").is_dir() is keyframes
    assert (dataset.read(tmp_path / "set").items[0].keyframe is not None) is keyframes
