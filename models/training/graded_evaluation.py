"""A version against the champion on amounts that people gave (quality): figures, slices, the furthest off, a verdict.

A version may be promoted that ranks no worse than the champion and is no further from what people gave, each by more
than `most_loss`, on at least `LEAST_RATED` uploads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from .dataset import DataSet, Item, Split
from .evaluate import WORST
from .graded import GradedMetrics, graded_metrics
from .judges import Judge
from .metrics import mean
from .slices import SLICES, slice_of

LEAST_RATED = 20
"""An amount with fewer rated uploads is shown, and takes no part in the verdict."""
MOST_LOSS = 0.01


@dataclass(frozen=True)
class GradedRow:
    """One amount: the version, the champion, and whether it takes part in the verdict."""

    label: str
    version: GradedMetrics
    champion: GradedMetrics | None
    counts: bool


@dataclass(frozen=True)
class Rated:
    """One rated upload and amount."""

    upload_id: str
    label: str
    given: float
    score: float
    champion_score: float | None
    keyframe: str | None


@dataclass(frozen=True)
class GradedSlice:
    """The error on the uploads of one slice, over all amounts."""

    slice: str
    value: str
    uploads: int
    error: float | None
    champion_error: float | None


@dataclass(frozen=True)
class GradedEvaluation:
    """All of it."""

    version: str
    champion: str | None
    data_hash: str
    split: str
    uploads: int
    labels: Sequence[GradedRow]
    slices: Sequence[GradedSlice]
    rated: Sequence[Rated]
    """Every judgement."""
    worst: Sequence[Rated]
    most_loss: float
    objections: Sequence[str] = field(default=())

    @property
    def passes(self) -> bool:
        """The verdict."""
        return not self.objections

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {**asdict(self), "passes": self.passes}


def evaluate_graded(
    data: DataSet,
    version: Judge,
    champion: Judge | None = None,
    *,
    split: Split = "test",
    most_loss: float = MOST_LOSS,
    told: Callable[[int], object] = lambda done: None,
) -> GradedEvaluation:
    """Judge a version on amounts; as `models.training.evaluate.evaluate` does on labels.

    Raises:
        ValueError: no upload of the split was rated for an amount that the version gives.
    """
    items = [item for item in data.of(split) if item.rows[1] > item.rows[0] and item.labels]
    of = {item.upload_id: item for item in items}
    rated: list[Rated] = []
    for number, item in enumerate(items):
        mine = version.scores(data, item)
        theirs = champion.scores(data, item) if champion is not None else {}
        for label, given in sorted(item.labels.items()):
            if label in version.thresholds:
                rated.append(Rated(item.upload_id, label, given, mine[label], theirs.get(label), item.keyframe))
        told(number + 1)
    if not rated:
        raise ValueError(f"no upload of the {split} split was rated for an amount that {version.name} gives")
    rows = [_row(label, rated, of, champion) for label in sorted({one.label for one in rated})]
    return GradedEvaluation(
        version=version.name,
        champion=champion.name if champion is not None else None,
        data_hash=data.hash,
        split=split,
        uploads=len(items),
        labels=rows,
        slices=list(_slices(rated, of)),
        rated=rated,
        worst=sorted(rated, key=lambda one: (-abs(one.score - one.given), one.upload_id, one.label))[:WORST],
        most_loss=most_loss,
        objections=list(_objections(rows, most_loss)),
    )


def _row(label: str, rated: Sequence[Rated], of: Mapping[str, Item], champion: Judge | None) -> GradedRow:
    mine = [one for one in rated if one.label == label]
    given, scores = (np.array([getattr(one, name) for one in mine], np.float64) for name in ("given", "score"))
    groups = [of[one.upload_id].group for one in mine]
    theirs = None
    if champion is not None and all(one.champion_score is not None for one in mine):
        old = np.array([one.champion_score for one in mine], np.float64)
        theirs = graded_metrics(label, old, given, groups, intervals=False)
    return GradedRow(label, graded_metrics(label, scores, given, groups), theirs, len(mine) >= LEAST_RATED)


def _objections(rows: Sequence[GradedRow], most_loss: float) -> Iterator[str]:
    counting = [row for row in rows if row.counts]
    if not counting:
        yield f"no amount has {LEAST_RATED} rated uploads: there is too little to judge by"
    for row in counting:
        mine, theirs = row.version, row.champion
        if theirs is None or mine.mean_absolute_error is None or theirs.mean_absolute_error is None:
            continue
        if mine.mean_absolute_error > theirs.mean_absolute_error + most_loss:
            yield (
                f"{row.label} is {mine.mean_absolute_error:.3f} from what people gave, the champion "
                f"{theirs.mean_absolute_error:.3f}: more than {most_loss} worse"
            )
        if theirs.rank_correlation is not None:
            rho = mine.rank_correlation or 0.0
            if rho < theirs.rank_correlation - most_loss:
                yield f"{row.label} ranks worse: {rho:.3f}, the champion {theirs.rank_correlation:.3f}"


def _slices(rated: Sequence[Rated], of: Mapping[str, Item]) -> Iterator[GradedSlice]:
    for name in SLICES:
        groups: dict[str, list[Rated]] = {}
        for one in rated:
            groups.setdefault(slice_of(of[one.upload_id], name), []).append(one)
        for value, mine in sorted(groups.items()):
            theirs = [abs(one.champion_score - one.given) for one in mine if one.champion_score is not None]
            ours = [abs(one.score - one.given) for one in mine]
            yield GradedSlice(name, value, len({one.upload_id for one in mine}), mean(ours), mean(theirs))
