"""What a version said of the data it was trained on: what live traffic is held against (drift)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

SCORE_BINS = 10
"""Equal widths in 0 to 1, of the scores of what is said."""
MOVED = 0.2
"""Population stability index from which a distribution has moved (the usual reading: 0.1 a little, 0.2 clearly)."""
SMALLEST_SHARE = 1e-4
LEAST_SCORES = 10
"""Fewer on either side tell nothing of a distribution: chance alone would move it."""


@dataclass(frozen=True)
class Statistics:
    """Of many uploads: how often each label is said, with which scores, and how often nothing is."""

    uploads: int
    said: Mapping[str, int]
    """Uploads that a label was said of."""
    scores: Mapping[str, Sequence[int]]
    """Histogram of a label's scores where it was said, `SCORE_BINS` counts."""
    unknown: int
    """Uploads of which none of the labels was said."""

    def to_json(self) -> dict[str, Any]:
        """As the manifest keeps it."""
        scores = {label: list(counts) for label, counts in self.scores.items()}
        return {"uploads": self.uploads, "said": dict(self.said), "scores": scores, "unknown": self.unknown}

    @classmethod
    def of_json(cls, fields: Mapping[str, Any]) -> Statistics:
        """As `to_json` wrote it."""
        return cls(int(fields["uploads"]), fields["said"], fields["scores"], int(fields["unknown"]))


@dataclass(frozen=True)
class Drift:
    """Live traffic against training data."""

    label: str | None
    """None: the share of uploads of which nothing is said."""
    training: float
    """Share of uploads."""
    live: float
    score_shift: float | None
    """Population stability index of the scores; None: too few to compare."""

    @property
    def moved(self) -> bool:
        """Whether the scores are clearly distributed otherwise."""
        return self.score_shift is not None and self.score_shift >= MOVED


def bin_of(score: float) -> int:
    """The bin that a score falls into."""
    return min(int(score * SCORE_BINS), SCORE_BINS - 1)


def statistics(
    labels: Sequence[str], scores: npt.NDArray[np.float64], thresholds: npt.NDArray[np.float64]
) -> Statistics:
    """From scores [uploads, labels]."""
    said = scores >= thresholds
    counts = {}
    for column, label in enumerate(labels):
        bins = [bin_of(float(score)) for score in scores[said[:, column], column]]
        counts[label] = np.bincount(bins, minlength=SCORE_BINS).tolist() if bins else [0] * SCORE_BINS
    numbers = {label: int(said[:, column].sum()) for column, label in enumerate(labels)}
    return Statistics(len(scores), numbers, counts, int((~said.any(axis=1)).sum()))


def stability_index(expected: Sequence[int], found: Sequence[int]) -> float | None:
    """Population stability index of two histograms; None when one has too few."""
    if min(sum(expected), sum(found)) < LEAST_SCORES:
        return None
    first = np.maximum(np.asarray(expected, np.float64) / sum(expected), SMALLEST_SHARE)
    second = np.maximum(np.asarray(found, np.float64) / sum(found), SMALLEST_SHARE)
    return float(((second - first) * np.log(second / first)).sum())


def drift(training: Statistics, live: Statistics) -> list[Drift]:
    """The unknown rate first, then every label of the training data."""
    rows = [Drift(None, _share(training.unknown, training.uploads), _share(live.unknown, live.uploads), None)]
    for label, expected in training.scores.items():
        shift = stability_index(expected, live.scores.get(label, ()))
        was, now = training.said.get(label, 0), live.said.get(label, 0)
        rows.append(Drift(label, _share(was, training.uploads), _share(now, live.uploads), shift))
    return rows


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 0.0
