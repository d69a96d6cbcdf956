"""The verdict and its figures, on scores that are known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pytest

from models.training.dataset import DataSet, Item
from models.training.evaluate import NOTHING, evaluate
from models.training.metrics import draws, expected_calibration_error, label_metrics, reliability
from models.training.statistics import Statistics, drift, stability_index, statistics


@dataclass(frozen=True)
class Oracle:
    """Knows the truth, but for some uploads by label, where it is wrong."""

    name: str
    wrong: Mapping[str, frozenset[int]]
    labels: tuple[str, ...] = ("a", "b")

    @property
    def thresholds(self) -> Mapping[str, float]:
        return dict.fromkeys(self.labels, 0.5)

    def scores(self, data: DataSet, item: Item) -> Mapping[str, float]:
        number = int(item.upload_id[1:])
        truth = {"a": number % 2 == 0, "b": number % 3 == 0, "c": number % 5 == 0}
        return {label: 0.9 if truth[label] != (number in self.wrong.get(label, ())) else 0.1 for label in self.labels}


def data(uploads: int = 60, judged: Mapping[str, range] | None = None, split: str = "test") -> DataSet:
    judged = judged or {"a": range(uploads), "b": range(uploads)}
    items = []
    for number in range(uploads):
        truth = {"a": float(number % 2 == 0), "b": float(number % 3 == 0), "c": float(number % 5 == 0)}
        labels = {label: value for label, value in truth.items() if number in judged.get(label, ())}
        slices = {"language": ("en", "it")[number % 2], "duration_s": float(number), "layout": None}
        items.append(Item(f"u{number}", f"g{number // 2}", split, (number, number + 1), labels, slices))  # type: ignore[arg-type]
    rows = np.zeros((uploads, 2), np.float16)
    return DataSet(
        "topics", "taxonomy@1", "net@1", ("a", "b", "c"), tuple(items), rows, np.zeros(uploads, np.float32), ""
    )


def test_one_that_loses_nothing_passes() -> None:
    found = evaluate(data(), Oracle("new", {}), Oracle("old", {"a": frozenset(range(8))}))
    assert found.passes
    assert [row.version.f1 for row in found.labels] == [1.0, 1.0]
    assert found.labels[0].f1_change is not None
    assert found.labels[0].f1_change > 0.1
    low, high = found.labels[0].f1_change_interval or (0, 0)
    assert low < found.labels[0].f1_change < high


def test_one_label_that_loses_too_much_stops_a_version_that_is_better_in_all() -> None:
    new, old = Oracle("new", {"b": frozenset({0})}), Oracle("old", {"a": frozenset(range(20))})
    found = evaluate(data(), new, old)
    assert not found.passes
    assert all(objection.startswith("b loses") for objection in found.objections)
    assert evaluate(data(), new, old, most_loss=0.2).passes


def test_a_label_with_few_uploads_takes_no_part_in_the_verdict() -> None:
    some = data(judged={"a": range(60), "b": range(10)})
    found = evaluate(some, Oracle("new", {"b": frozenset(range(10))}), Oracle("old", {}))
    assert [row.counts for row in found.labels] == [True, False]
    assert found.passes
    few = evaluate(data(uploads=6), Oracle("new", {}))
    assert "too little" in few.objections[0]


def test_labels_with_few_uploads_count_together() -> None:
    some = data(judged={"a": range(60), "b": range(10), "c": range(16)})
    new = Oracle("new", {"b": frozenset(range(4)), "c": frozenset({0, 5})}, ("a", "b", "c"))
    found = evaluate(some, new, Oracle("old", {}, new.labels))
    assert [row.counts for row in found.labels] == [True, False, False]
    (objection,) = found.objections
    assert "b, c" in objection
    assert evaluate(some, Oracle("new", {}, new.labels), new).passes


def test_what_nobody_judged_does_not_count() -> None:
    some = data(judged={"a": range(30), "b": range(60)})
    found = evaluate(some, Oracle("new", {"a": frozenset(range(30, 60))}))
    assert found.labels[0].version.f1 == 1.0
    assert found.labels[0].version.positives == 15


def test_a_new_label_is_no_loss_to_a_champion_that_does_not_know_it() -> None:
    found = evaluate(data(), Oracle("new", {}), Oracle("old", {}, labels=("b",)))
    assert found.passes
    assert found.labels[0].champion is not None
    assert found.labels[0].champion.f1 == 0.0


def test_slices_confusions_and_the_worst() -> None:
    found = evaluate(data(), Oracle("new", {"a": frozenset({2, 3}), "b": frozenset({2})}))
    slices = {(row.slice, row.value): row.uploads for row in found.slices}
    assert slices[("language", "it")] == 30
    assert slices[("duration", "under 5 s")] == 5
    assert slices[("duration", "15 to 60 s")] == 45
    assert slices[("layout", "unknown")] == 60
    assert ("a", "b", 1) in found.confusions, "upload 2 is a, and b was said"
    assert len(found.worst) == 50
    assert {(one.upload_id, one.label) for one in found.worst[:3]} == {("u2", "a"), ("u3", "a"), ("u2", "b")}
    lonely = evaluate(data(), Oracle("new", {"a": frozenset({2})}))
    assert ("a", NOTHING, 1) in lonely.confusions


def test_another_split_and_an_empty_one() -> None:
    assert evaluate(data(split="validation"), Oracle("new", {}), split="validation").uploads == 60
    with pytest.raises(ValueError, match="no upload of the test split"):
        evaluate(data(split="validation"), Oracle("new", {}))


def test_calibration_error_of_known_scores() -> None:
    scores, present = np.array([0.95, 0.95, 0.15, 0.15]), np.array([True, False, False, False])
    assert expected_calibration_error(scores, present) == pytest.approx((2 * 0.45 + 2 * 0.15) / 4)
    assert reliability(scores, present) == [(pytest.approx(0.15), 0.0, 2), (pytest.approx(0.95), 0.5, 2)]
    assert reliability(np.array([1.0]), np.array([True])) == [(1.0, 1.0, 1)]


def test_groups_are_drawn_whole() -> None:
    for rows in draws(["g1", "g1", "g2", "g2", "g3"], seed=0, resamples=20):
        counts = np.bincount(rows, minlength=5)
        assert counts[0] == counts[1]
        assert counts[2] == counts[3]


def test_no_interval_is_made_up_from_few_groups() -> None:
    scores, present = np.linspace(0, 1, 20), np.arange(20) >= 10
    apart = label_metrics("a", scores, present, [str(n) for n in range(20)], 0.5)
    assert apart.f1_interval is not None
    together = label_metrics("a", scores, present, ["one"] * 20, 0.5)
    assert together.f1_interval is None
    assert (apart.average_precision, together.f1) == (pytest.approx(1.0), 1.0)


def test_drift_of_frequencies_scores_and_unknown() -> None:
    sure, unsure = np.full((10, 1), 0.95), np.full((10, 1), 0.55)
    nothing = np.zeros((10, 1))
    threshold = np.array([0.5])
    training = statistics(["a"], np.concatenate([sure, nothing]), threshold)
    assert training == Statistics.of_json(training.to_json())
    unknown, label = drift(training, statistics(["a"], np.concatenate([unsure, unsure, unsure, nothing]), threshold))
    assert (unknown.training, unknown.live) == (0.5, 0.25)
    assert (label.training, label.live) == (0.5, 0.75)
    assert label.moved
    assert not drift(training, training)[1].moved
    assert stability_index([10, 0], [10, 0]) == 0.0
    assert stability_index([10, 0], [9, 0]) is stability_index([0, 0], [10, 0]) is None
