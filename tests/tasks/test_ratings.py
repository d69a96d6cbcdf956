"""What people give of quality: opinions in, a mean out, and the document left as the machine said it."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest

from models.quality.features import MEASURES, measure_row
from models.quality.tagger import PICTURE, SOUND
from models.training import dataset
from tasks.export import export
from tasks.kept import evidence_arrays, evidence_of
from tasks.labels import LabelFault, Vocabulary, load, parse, read, write

ENCODER = "efficientnet-lite2@1"
SEEN = {
    PICTURE: {"frames": 6, "brightness": 110.0, "contrast": 120.0, "blur_px": 1.2, "width": 640, "height": 360,
              "blockiness": 0.2, "noise": 2.0, "jitter": 0.01, "freeze_share": 0.1, "flicker": 1.0},
    SOUND: {"seconds": 3.0, "loudness_lufs": -20.0, "clipping_share": 0.0, "true_peak_dbtp": -2.0,
            "bandwidth_hz": 9000.0},
    "stillness": {"share": 0.1},
}  # fmt: skip


def rating(value: object, **fields: object) -> dict[str, object]:
    record = {"upload_id": "u1", "tagger": "quality", "tag": "picture", "decision": "rate", "by": "ada"}
    return {**record, "value": value, **fields}


@pytest.mark.parametrize(
    ("given", "value"),
    [(0.25, 0.25), ("0.25", 0.25), (0, 0.0), (1, 1.0), ("4/5", 0.75), ("1/5", 0.0), (" 3.5/5 ", 0.625)],
)
def test_amounts_and_stars(given: object, value: float) -> None:
    assert parse(rating(given), Vocabulary()).value == pytest.approx(value)


@pytest.mark.parametrize(
    ("fields", "fault"),
    [
        ({"value": None}, "missing"),
        ({"value": ""}, "missing"),
        *[
            ({"value": bad}, "bad_value")
            for bad in (1.01, -0.1, "nan", "inf", "6/5", "0/5", "4/5/5", "٤/5", True, [1], "four")
        ],
        ({"at": "0001-01-01T00:00:00+14:00"}, "bad_value"),
        ({"value": 0.5, "decision": "confirm"}, "bad_value"),
        ({"value": 0.5, "decision": "withdraw"}, "bad_value"),
        ({"value": 0.5, "tag": "blur"}, "unknown_tag"),
        ({"value": 0.5, "tagger": "topics", "tag": "animals/cat"}, "bad_value"),
        ({"value": 0.5, "tagger": "topics", "tag": "animals/cat", "decision": "add"}, "bad_value"),
    ],
)
def test_what_is_no_rating_is_told(fields: dict[str, object], fault: str) -> None:
    with pytest.raises(LabelFault) as told:
        parse(rating(**{"value": 0.5, **fields}), Vocabulary())
    assert told.value.fault == fault


@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_a_round_trip_changes_nothing(shelf, form) -> None:
    shelf.keep("u1")
    records = [(1, rating(0.123456789, note='odd "note"\nof two lines, ünïcode')), (2, rating("2/5", by="bob"))]
    assert load(shelf.store, records, Vocabulary()).written == 2
    out = io.StringIO(newline="")
    assert write(shelf.store.labels(history=True), out, form) == 2
    again = load(shelf.store, read(io.StringIO(out.getvalue(), newline=""), form), Vocabulary())
    assert (again.written, again.known, again.errors) == (0, 2, [])


def test_each_persons_latest_counts_and_the_document_stays(shelf, tmp_path: Path) -> None:
    seen = shelf.evidence("u1", observations=SEEN, has_audio=True)
    shelf.keep("u1", evidence=seen)
    before, head = shelf.store.document("u1"), shelf.store.feed_head()
    given = [
        rating(0.2),
        rating("5/5", by="bob"),
        rating(0.4),
        rating(0.9, by="eve"),
        rating(None, by="eve", decision="withdraw"),
    ]
    for record in given:
        load(shelf.store, [(1, record)], Vocabulary())
    assert shelf.store.document("u1") == before
    assert shelf.store.feed_head() == head
    holding = {row.by: row.value for row in shelf.store.labels(tagger="quality") if row.decision == "rate"}
    assert holding == {"ada": 0.4, "bob": 1.0}
    export(shelf.store, shelf.artifacts, "quality", tmp_path / "set", ENCODER)
    data = dataset.read(tmp_path / "set")
    assert (data.graded, data.measures, data.dimension) == (True, len(MEASURES), 1280 + len(MEASURES))
    (item,) = data.items
    assert dict(item.labels) == {"picture": pytest.approx(0.7)}
    np.testing.assert_array_equal(data.rows(item)[:, :1280], seen.encodings["picture"].embeddings)
    np.testing.assert_allclose(data.rows(item)[0, 1280:], measure_row(seen), atol=1e-3)


def test_measures_are_the_same_of_what_is_kept(shelf) -> None:
    seen = shelf.evidence("u1", observations=SEEN, has_audio=True)
    again = evidence_of(evidence_arrays(seen, False), {}).evidence
    np.testing.assert_array_equal(measure_row(again), measure_row(seen))
    assert measure_row(seen)[-1] == 1.0
    assert 0 < measure_row(seen)[0] < 1
