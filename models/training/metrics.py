"""How good scores are: average precision, F1, calibration, and how sure that is, by bootstrap over groups."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

BINS = 10
"""Of the reliability diagram, equal width (Naeini et al. 2015)."""
RESAMPLES = 200
"""Of the bootstrap."""
INTERVAL = (2.5, 97.5)
"""Percentiles: 95 %."""
LEAST_GROUPS = 5
"""Below so many groups with, or without, the label no interval is given: it would be made up."""

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Interval = tuple[float, float]


@dataclass(frozen=True)
class LabelMetrics:
    """One label on judged uploads. None: cannot be said from these."""

    label: str
    positives: int
    negatives: int
    average_precision: float | None
    average_precision_interval: Interval | None
    f1: float | None
    f1_interval: Interval | None
    precision: float | None
    recall: float | None
    ece: float | None
    """Expected calibration error: mean distance of score and share present, over the bins."""
    threshold: float

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)


def label_metrics(
    label: str,
    scores: Floats,
    present: Bools,
    groups: Sequence[str],
    threshold: float,
    seed: int = 0,
    intervals: bool = True,
) -> LabelMetrics:
    """One label's figures.

    Args:
        label: its name.
        scores: [n], one an upload that was judged.
        present: [n] what people said.
        groups: [n] near-duplicates share one: they are resampled together (Efron and Tibshirani 1993).
        threshold: at which it is said.
        seed: of the resampling.
        intervals: False: none are wanted.
    """
    positives, negatives = int(present.sum()), int((~present).sum())
    said = scores >= threshold
    hits, spoken = int((said & present).sum()), int(said.sum())
    ap_interval = f1_interval = None
    enough = min(_groups(groups, present), _groups(groups, ~present)) >= LEAST_GROUPS
    if intervals and enough:
        ap_interval, f1_interval = _intervals(scores, present, groups, threshold, seed)
    return LabelMetrics(
        label=label,
        positives=positives,
        negatives=negatives,
        average_precision=average_precision(scores, present),
        average_precision_interval=ap_interval,
        f1=f1(said, present),
        f1_interval=f1_interval,
        precision=hits / spoken if spoken else None,
        recall=hits / positives if positives else None,
        ece=expected_calibration_error(scores, present) if len(scores) else None,
        threshold=threshold,
    )


def average_precision(scores: Floats, present: Bools) -> float | None:
    """Area under precision and recall, as scikit-learn has it; None without a positive, or without a negative."""
    from sklearn.metrics import average_precision_score

    return float(average_precision_score(present, scores)) if present.any() and not present.all() else None


def f1(said: Bools, present: Bools) -> float | None:
    """Harmonic mean of precision and recall; None without a positive."""
    if not present.any():
        return None
    hits = float((said & present).sum())
    return 2 * hits / float(said.sum() + present.sum())


def reliability(scores: Floats, present: Bools) -> list[tuple[float, float, int]]:
    """(mean score, share present, count) of each bin that is not empty."""
    number = np.minimum((scores * BINS).astype(int), BINS - 1)
    bins = []
    for current in range(BINS):
        inside = number == current
        if inside.any():
            bins.append((float(scores[inside].mean()), float(present[inside].mean()), int(inside.sum())))
    return bins


def expected_calibration_error(scores: Floats, present: Bools) -> float:
    """Mean distance of score and share present over the bins, weighted by count."""
    return sum(abs(score - share) * count for score, share, count in reliability(scores, present)) / len(scores)


def mean(values: Sequence[float | None]) -> float | None:
    """Mean of what is known."""
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def draws(groups: Sequence[str], seed: int, resamples: int = RESAMPLES) -> list[npt.NDArray[np.intp]]:
    """Row numbers of each resample: groups drawn with replacement, each with all its rows."""
    _, inverse = np.unique(np.asarray(groups, dtype=np.str_), return_inverse=True)
    members = [np.flatnonzero(inverse == number) for number in range(int(inverse.max(initial=-1)) + 1)]
    random = np.random.default_rng(seed)
    return [
        np.concatenate([members[drawn] for drawn in random.integers(0, len(members), len(members))])
        for _ in range(resamples if members else 0)
    ]


def interval(values: Sequence[float | None]) -> Interval | None:
    """The middle 95 % of what the resamples gave."""
    known = [value for value in values if value is not None]
    if not known:
        return None
    low, high = np.percentile(known, INTERVAL)
    return float(low), float(high)


def _groups(groups: Sequence[str], chosen: Bools) -> int:
    return len({group for group, here in zip(groups, chosen, strict=True) if here})


def _intervals(
    scores: Floats, present: Bools, groups: Sequence[str], threshold: float, seed: int
) -> tuple[Interval | None, Interval | None]:
    precisions, f1s = [], []
    for rows in draws(groups, seed):
        precisions.append(average_precision(scores[rows], present[rows]))
        f1s.append(f1(scores[rows] >= threshold, present[rows]))
    return interval(precisions), interval(f1s)
