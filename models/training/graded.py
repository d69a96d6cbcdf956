"""Amounts that people gave (quality), and a head's: do they rank uploads alike, and how far are they apart?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..serving.head import Head
from .dataset import DataSet
from .metrics import Interval, draws, interval, mean

LEAST_RANKED = 3
"""Uploads below which nothing can be said of their order."""
LEAST_GROUPS = 10
"""Groups below which no interval is given: it would be made up."""

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class GradedMetrics:
    """One amount on rated uploads. None: cannot be said from these."""

    label: str
    uploads: int
    rank_correlation: float | None
    """Spearman's rho (1904), ties by their mean rank."""
    rank_correlation_interval: Interval | None
    mean_absolute_error: float | None
    mean_absolute_error_interval: Interval | None
    bias: float | None
    """Mean of what the head says above what people gave."""
    error_of_the_mean: float | None
    """The mean absolute error of somebody who always says these uploads' mean."""

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)


def graded_metrics(
    label: str, scores: Floats, given: Floats, groups: Sequence[str], seed: int = 0, intervals: bool = True
) -> GradedMetrics:
    """One amount's figures.

    Args:
        label: its name.
        scores: [n] what the head says, in 0 to 1.
        given: [n] what people gave on average, in 0 to 1.
        groups: [n] near-duplicates share one: they are resampled together.
        seed: of the resampling.
        intervals: False: none are wanted.
    """
    rho_interval = error_interval = None
    if intervals and len(set(groups)) >= LEAST_GROUPS:
        rows = draws(groups, seed)
        rho_interval = interval([rank_correlation(scores[mine], given[mine]) for mine in rows])
        error_interval = interval([mean_absolute_error(scores[mine], given[mine]) for mine in rows])
    known = len(scores) > 0
    return GradedMetrics(
        label=label,
        uploads=len(scores),
        rank_correlation=rank_correlation(scores, given),
        rank_correlation_interval=rho_interval,
        mean_absolute_error=mean_absolute_error(scores, given),
        mean_absolute_error_interval=error_interval,
        bias=float((scores - given).mean()) if known else None,
        error_of_the_mean=float(np.abs(given - given.mean()).mean()) if known else None,
    )


def rank_correlation(scores: Floats, given: Floats) -> float | None:
    """Spearman's rho; None where there are too few, or all are the same."""
    from scipy.stats import rankdata

    if len(scores) < LEAST_RANKED:
        return None
    first, second = rankdata(scores), rankdata(given)
    if first.std() == 0 or second.std() == 0:
        return None
    return float(np.corrcoef(first, second)[0, 1])


def mean_absolute_error(scores: Floats, given: Floats) -> float | None:
    """None without an upload."""
    return float(np.abs(scores - given).mean()) if len(scores) else None


def graded_metrics_of(data: DataSet, head: Head) -> dict[str, Any]:
    """Of a head, on the test split; where that has no rated upload, on the validation split, and it says so."""
    rows: dict[str, Any] = {}
    for column, label in enumerate(head.labels):
        for split in ("test", "validation"):
            rated = [i for i in data.of(split) if label in i.labels and i.rows[0] < i.rows[1]]  # type: ignore[arg-type]
            if rated:
                break
        scores = np.array([head.scores(data.rows(item))[column] for item in rated], np.float64)
        given = np.array([item.labels[label] for item in rated], np.float64)
        found = graded_metrics(label, scores, given, [item.group for item in rated]).to_json()
        rows[label] = {"split": split, **{key: value for key, value in found.items() if key != "label"}}
    return {
        "labels": rows,
        "graded": True,
        "mean_average_precision": None,
        "mean_f1": None,
        "mean_rank_correlation": mean([row["rank_correlation"] for row in rows.values()]),
        "mean_absolute_error": mean([row["mean_absolute_error"] for row in rows.values()]),
    }
