"""Every judged upload against every label: what people said, and what a version and its champion say."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .dataset import DataSet, Item, Split
from .judges import Judge

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Table:
    """Every upload against every label."""

    items: Sequence[Item]
    labels: Sequence[str]
    known: Bools
    present: Bools
    scores: Floats
    said: Bools
    old_scores: Floats | None
    old_said: Bools | None


def tabulated(
    data: DataSet,
    version: Judge,
    champion: Judge | None,
    split: Split,
    background: Sequence[str],
    told: Callable[[int], object],
) -> Table:
    """The table of a split; arguments as in `evaluate.evaluate`."""
    items = [item for item in data.of(split) if item.rows[1] > item.rows[0]]
    labels = [label for label in data.labels if label in version.thresholds]
    shape = (len(items), len(labels))
    known, present = np.zeros(shape, np.bool_), np.zeros(shape, np.bool_)
    scores, old = np.zeros(shape), np.zeros(shape)
    for number, item in enumerate(items):
        mine = version.scores(data, item)
        theirs = champion.scores(data, item) if champion is not None else {}
        for column, label in enumerate(labels):
            known[number, column] = label in item.labels or label in background
            present[number, column] = item.labels.get(label, 0.0) >= 0.5
            scores[number, column], old[number, column] = mine[label], theirs.get(label, 0.0)
        told(number + 1)
    limits = np.array([version.thresholds[label] for label in labels])
    # A label that the champion does not know is never said by it.
    old_limits = np.array([champion.thresholds.get(label, 2.0) if champion else 2.0 for label in labels])
    return Table(
        items,
        labels,
        known,
        present,
        scores,
        scores >= limits,
        old if champion is not None else None,
        old >= old_limits if champion is not None else None,
    )
