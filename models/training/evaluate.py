"""A version against the champion on uploads that people judged: figures, slices, mistakes, and a verdict by rule."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from .dataset import DataSet, Split
from .judges import Judge
from .metrics import Interval, LabelMetrics, draws, f1, interval, label_metrics, mean, reliability
from .slices import SLICES, slice_of
from .table import Table, tabulated

LEAST_JUDGED = 5
"""A label with fewer uploads that have it, or that have it not, is shown; in the verdict all such count as one."""
MOST_LOSS = 0.01
"""Of F1 or average precision: a label that loses more stops a version."""
WORST = 50
NAMED = 5
"""Labels that one objection names."""
CONFUSIONS = 20
NOTHING = "(nothing)"


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
    table = tabulated(data, version, champion, split, background, told)
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
        objections=[*_objections(rows, most_loss), *_lost_together(table, rows, most_loss)],
    )


def _row(table: Table, column: int, version: Judge, champion: Judge | None) -> LabelRow | None:
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


def _lost_together(table: Table, rows: Sequence[LabelRow], most_loss: float) -> Iterator[str]:
    """What labels lose that have too few uploads each: nobody may promote a version that spoils many of them."""
    few = [row.label for row in rows if not row.counts]
    columns = [table.labels.index(label) for label in few]
    known, present = table.known[:, columns], table.present[:, columns]
    if table.old_said is None or present[known].sum() < LEAST_JUDGED:
        return
    first, second = (f1(said[:, columns][known], present[known]) for said in (table.said, table.old_said))
    if first is not None and second is not None and first < second - most_loss:
        told = ", ".join(few[:NAMED]) + (f" and {len(few) - NAMED} more" if len(few) > NAMED else "")
        yield f"labels with too few uploads each fall together from {second:.3f} to {first:.3f} of F1: {told}"


def _slices(table: Table) -> Iterator[SliceRow]:
    for name in SLICES:
        values = [slice_of(item, name) for item in table.items]
        for value in sorted(set(values)):
            here = np.array([found == value for found in values])
            known, present = table.known[here], table.present[here]
            old = None if table.old_said is None else f1(table.old_said[here][known], present[known])
            yield SliceRow(name, value, int(here.sum()), f1(table.said[here][known], present[known]), old)


def _confusions(table: Table) -> list[tuple[str, str, int]]:
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


def _worst(table: Table) -> list[Mistake]:
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
