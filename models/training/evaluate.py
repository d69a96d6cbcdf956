"""A version against the champion on uploads that people judged: figures, slices, mistakes, and a verdict by rule."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from .dataset import DataSet, Item, Split
from .judges import Judge
from .metrics import Interval, LabelMetrics, draws, f1, interval, label_metrics, mean, reliability

LEAST_JUDGED = 5
"""A label with fewer uploads that have it, or that have it not, is shown, and takes no part in the verdict."""
MOST_LOSS = 0.01
"""Of F1 or average precision: a label that loses more stops a version."""
WORST = 50
CONFUSIONS = 20
SLICES = ("language", "country", "duration", "layout")
DURATIONS = ((5.0, "under 5 s"), (15.0, "5 to 15 s"), (60.0, "15 to 60 s"), (float("inf"), "over 60 s"))
NOTHING = "(nothing)"

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class LabelRow:
    """One label: the version, the champion, and the difference."""

    label: str
    version: LabelMetrics
    champion: LabelMetrics | None
    """None: there is none to compare with."""
    f1_change: float | None = None
    f1_change_interval: Interval | None = None
    """By paired bootstrap: both are judged on the same resamples."""
    ap_change: float | None = None
    counts: bool = True
    """Whether it takes part in the verdict."""


@dataclass(frozen=True)
class SliceRow:
    """F1 over all labels of the uploads of one slice."""

    slice: str
    value: str
    uploads: int
    f1: float | None
    champion_f1: float | None


@dataclass(frozen=True)
class Mistake:
    """A judged upload and label on which the version is furthest from what people said."""

    upload_id: str
    label: str
    score: float
    champion_score: float | None
    present: bool
    keyframe: str | None


@dataclass(frozen=True)
class Evaluation:
    """All of it."""

    version: str
    champion: str | None
    data_hash: str
    split: str
    uploads: int
    labels: Sequence[LabelRow]
    slices: Sequence[SliceRow]
    confusions: Sequence[tuple[str, str, int]]
    """(what people said, what was said instead, uploads)."""
    reliability: Sequence[tuple[float, float, int]]
    champion_reliability: Sequence[tuple[float, float, int]]
    worst: Sequence[Mistake]
    most_loss: float
    objections: Sequence[str] = field(default=())
    """Why it should not be promoted; none: it may be."""

    @property
    def passes(self) -> bool:
        """The verdict."""
        return not self.objections

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {**asdict(self), "passes": self.passes}


@dataclass(frozen=True)
class _Table:
    """Every upload against every label."""

    items: Sequence[Item]
    labels: Sequence[str]
    known: Bools
    present: Bools
    scores: Floats
    said: Bools
    old_scores: Floats | None
    old_said: Bools | None


def evaluate(
    data: DataSet,
    version: Judge,
    champion: Judge | None = None,
    *,
    split: Split = "test",
    background: Sequence[str] = (),
    most_loss: float = MOST_LOSS,
    told: Callable[[int], object] = lambda done: None,
) -> Evaluation:
    """Judge a version.

    Args:
        data: judged uploads.
        version: whom it is about.
        champion: whom it is held against, if anyone.
        split: `test`, unless for a look at another.
        background: labels for which uploads that nobody judged count as absent, as when the version was trained.
        most_loss: of F1 and average precision, that a label may lose.
        told: called with the number of uploads done.

    Raises:
        ValueError: no upload of the split was judged for a label that the version can say.
    """
    table = _table(data, version, champion, split, background, told)
    rows = [row for row in (_row(table, column, version, champion) for column in range(len(table.labels))) if row]
    if not rows:
        raise ValueError(f"no upload of the {split} split was judged for a label that {version.name} can say")
    return Evaluation(
        version=version.name,
        champion=champion.name if champion is not None else None,
        data_hash=data.hash,
        split=split,
        uploads=len(table.items),
        labels=rows,
        slices=list(_slices(table)),
        confusions=_confusions(table),
        reliability=reliability(table.scores[table.known], table.present[table.known]),
        champion_reliability=(
            reliability(table.old_scores[table.known], table.present[table.known])
            if table.old_scores is not None
            else []
        ),
        worst=_worst(table),
        most_loss=most_loss,
        objections=list(_objections(rows, most_loss)),
    )


def _table(
    data: DataSet,
    version: Judge,
    champion: Judge | None,
    split: Split,
    background: Sequence[str],
    told: Callable[[int], object],
) -> _Table:
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
    return _Table(
        items,
        labels,
        known,
        present,
        scores,
        scores >= limits,
        old if champion is not None else None,
        old >= old_limits if champion is not None else None,
    )


def _row(table: _Table, column: int, version: Judge, champion: Judge | None) -> LabelRow | None:
    here = table.known[:, column]
    label, present = table.labels[column], table.present[here, column]
    if not here.any():
        return None
    groups = [item.group for item, judged in zip(table.items, here, strict=True) if judged]
    mine = label_metrics(label, table.scores[here, column], present, groups, version.thresholds[label])
    counts = min(mine.positives, mine.negatives) >= LEAST_JUDGED
    if champion is None or table.old_scores is None or table.old_said is None:
        return LabelRow(label, mine, None, counts=counts)
    threshold = champion.thresholds.get(label, 2.0)
    theirs = label_metrics(label, table.old_scores[here, column], present, groups, threshold, intervals=False)
    said, old_said = table.said[here, column], table.old_said[here, column]
    change = None if mine.f1 is None or theirs.f1 is None else mine.f1 - theirs.f1
    changes: list[float | None] = []
    if mine.f1_interval is not None:
        for rows in draws(groups, seed=0):
            first, second = f1(said[rows], present[rows]), f1(old_said[rows], present[rows])
            changes.append(None if first is None or second is None else first - second)
    precisions = (mine.average_precision, theirs.average_precision)
    return LabelRow(
        label,
        mine,
        theirs,
        change,
        interval(changes),
        None if precisions[0] is None or precisions[1] is None else precisions[0] - precisions[1],
        counts,
    )


def _objections(rows: Sequence[LabelRow], most_loss: float) -> Iterator[str]:
    counting = [row for row in rows if row.counts]
    if not counting:
        yield f"no label has {LEAST_JUDGED} uploads with it and as many without: there is too little to judge by"
    for row in counting:
        for name, change in (("F1", row.f1_change), ("average precision", row.ap_change)):
            if change is not None and change < -most_loss:
                yield f"{row.label} loses {-change:.3f} of {name}, more than {most_loss}"
    first = mean([row.version.f1 for row in counting])
    second = mean([row.champion.f1 for row in counting if row.champion is not None])
    if first is not None and second is not None and first < second:
        yield f"the mean F1 falls from {second:.3f} to {first:.3f}"


def _slices(table: _Table) -> Iterator[SliceRow]:
    for name in SLICES:
        values = [slice_of(item, name) for item in table.items]
        for value in sorted(set(values)):
            here = np.array([found == value for found in values])
            known, present = table.known[here], table.present[here]
            old = None if table.old_said is None else f1(table.old_said[here][known], present[known])
            yield SliceRow(name, value, int(here.sum()), f1(table.said[here][known], present[known]), old)


def slice_of(item: Item, name: str) -> str:
    """The value of a slice that an upload falls into."""
    if name != "duration":
        return str(item.slices.get(name) or "unknown")
    duration_s = item.slices.get("duration_s")
    if duration_s is None:
        return "unknown"
    return next(told for limit, told in DURATIONS if float(duration_s) < limit)


def _confusions(table: _Table) -> list[tuple[str, str, int]]:
    found: Counter[tuple[str, str]] = Counter()
    for number in range(len(table.items)):
        wrong = [
            label
            for column, label in enumerate(table.labels)
            if table.known[number, column] and table.said[number, column] and not table.present[number, column]
        ]
        for column, label in enumerate(table.labels):
            if table.present[number, column] and not table.said[number, column]:
                found.update((label, other) for other in wrong or [NOTHING])
        if wrong and not table.present[number].any():
            found.update((NOTHING, other) for other in wrong)
    return [(truth, said, count) for (truth, said), count in sorted(found.items(), key=lambda p: (-p[1], p[0]))][
        :CONFUSIONS
    ]


def _worst(table: _Table) -> list[Mistake]:
    distance = np.where(table.known, np.abs(table.scores - table.present), -1.0)
    order = np.argsort(-distance, axis=None, kind="stable")[:WORST]
    mistakes = []
    for flat in order:
        number, column = divmod(int(flat), len(table.labels))
        if not table.known[number, column]:
            break
        item, old = table.items[number], table.old_scores
        mistakes.append(
            Mistake(
                item.upload_id,
                table.labels[column],
                float(table.scores[number, column]),
                None if old is None else float(old[number, column]),
                bool(table.present[number, column]),
                item.keyframe,
            )
        )
    return mistakes
