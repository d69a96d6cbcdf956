"""From a data set to what a head is fitted on: padded uploads, targets, and how much each counts.

What nobody judged counts nothing. The one exception is named by whoever asks: a label with hardly a judged absence (a
new topic: people mark what it is, not what it is not) takes the uploads that were not judged for it as its background.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .dataset import DataSet, Item

LEAST_POSITIVES = 5
"""Judged present in the train split, below which a label is not trained."""
LEAST_GRADED = 10
"""Rated uploads in the train split, below which an amount is not trained."""
LEAST_ABSENT = 10
"""Judged absent, below which a label takes background."""
BACKGROUND_WEIGHT = 0.5
"""What an upload counts that is only taken to be without the label: less than one that a person judged."""
MOST_POSITIVE_WEIGHT = 20.0
"""A rare label's positives count at most so many times."""


class TrainingError(Exception):
    """The data cannot be trained on. The message says why and what to do."""


@dataclass(frozen=True)
class Targets:
    """One split, ready for a head."""

    items: tuple[Item, ...]
    rows: npt.NDArray[np.float32]
    """[uploads, frames, d], padded with 0."""
    mask: npt.NDArray[np.bool_]
    """[uploads, frames]."""
    values: npt.NDArray[np.float32]
    """[uploads, labels], in 0 to 1."""
    weights: npt.NDArray[np.float32]
    """[uploads, labels], 0 where nothing is known."""
    measures: int = 0
    """Columns at the end of a row that are measures."""
    graded: bool = False
    """Whether values are amounts: then none counts more than another."""


def background_labels(data: DataSet, labels: Sequence[str]) -> tuple[str, ...]:
    """The labels with too few judged absences to learn from."""
    if data.graded:
        return ()
    judged = [item.labels for item in data.of("train")]
    return tuple(label for label in labels if sum(found.get(label, 1.0) < 0.5 for found in judged) < LEAST_ABSENT)


def trainable(data: DataSet, only: Sequence[str] = ()) -> tuple[tuple[str, ...], dict[str, str]]:
    """The labels that can be trained, in the data set's order, and why each other one cannot.

    Raises:
        TrainingError: one that was asked for by name cannot, or none can.
    """
    if unknown := sorted(set(only) - set(data.labels)):
        raise TrainingError(f"the data set has no label {unknown[0]!r}; it has: {', '.join(data.labels) or 'none'}")
    chosen, refused = [], {}
    for label in data.labels:
        if only and label not in only:
            continue
        positives = [
            sum(_teaches(i, label, data.graded) and i.rows[0] < i.rows[1] for i in data.of(s))
            for s in ("train", "validation")
        ]  # type: ignore[arg-type]
        least = LEAST_GRADED if data.graded else LEAST_POSITIVES
        if positives[0] < least:
            refused[label] = f"{positives[0]} uploads of the train split have it, {least} are needed"
        elif positives[1] < 1:
            refused[label] = "no upload of the validation split has it: it could not be calibrated"
        else:
            chosen.append(label)
    if only and refused:
        label, why = next(iter(refused.items()))
        raise TrainingError(f"{label!r} cannot be trained: {why}; label more uploads and export again")
    if not chosen:
        raise TrainingError(
            f"no label has {LEAST_GRADED if data.graded else LEAST_POSITIVES} uploads in the train split and 1 in the "
            "validation split; label more"
        )
    return tuple(chosen), refused


def _teaches(item: Item, label: str, graded: bool) -> bool:
    return label in item.labels if graded else item.labels.get(label, 0.0) > 0


def targets(data: DataSet, items: Sequence[Item], labels: Sequence[str], background: Sequence[str] = ()) -> Targets:
    """Pad uploads and lay out what is known of them. Uploads without a row are left out."""
    kept = [item for item in items if item.rows[1] > item.rows[0]]
    longest = max((item.rows[1] - item.rows[0] for item in kept), default=1)
    rows = np.zeros((len(kept), longest, data.dimension), np.float32)
    mask = np.zeros((len(kept), longest), np.bool_)
    values = np.zeros((len(kept), len(labels)), np.float32)
    weights = np.zeros((len(kept), len(labels)), np.float32)
    for number, item in enumerate(kept):
        mine = data.rows(item)
        rows[number, : len(mine)], mask[number, : len(mine)] = mine, True
        for column, label in enumerate(labels):
            if label in item.labels:
                values[number, column], weights[number, column] = item.labels[label], 1.0
            elif label in background:
                weights[number, column] = BACKGROUND_WEIGHT
    return Targets(tuple(kept), rows, mask, values, weights, data.measures, data.graded)


def positive_weights(known: Targets) -> npt.NDArray[np.float32]:
    """[labels] what a positive counts against a negative, so that a rare label is not just denied."""
    if known.graded:
        return np.ones(known.values.shape[1], np.float32)
    positive = (known.values * known.weights).sum(axis=0)
    negative = ((1 - known.values) * known.weights).sum(axis=0)
    return np.clip(negative / np.maximum(positive, 1e-6), 1.0, MOST_POSITIVE_WEIGHT).astype(np.float32)
