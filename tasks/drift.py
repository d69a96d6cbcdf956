"""Live traffic against the data that a version was trained on, day by day: what is said how often, how surely."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import date, datetime, timedelta
from typing import Any

from models.training.statistics import SCORE_BINS, Drift, Statistics, bin_of, drift
from store.store import Spoken, Store

PEOPLES_SCORE = 1.0
"""What a person confirmed or added has."""


@dataclass(frozen=True)
class Day:
    """One day (UTC), or all of them together."""

    day: date | None
    """None: all days."""
    uploads: int
    rows: Sequence[Drift]

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        rows = [{**asdict(row), "moved": row.moved} for row in self.rows]
        return {"day": self.day.isoformat() if self.day else None, "uploads": self.uploads, "rows": rows}


def by_day(store: Store, tagger: str, version: str, training: Statistics, now: datetime, days: int) -> list[Day]:
    """All days together first, then each day on which the version spoke, the newest first.

    Args:
        store: what was said.
        tagger: whose.
        version: as documents name it.
        training: the manifest's: only labels that it has are compared.
        now: the end.
        days: how far back.
    """
    said = store.spoken(tagger, version, now - timedelta(days=days))
    groups: dict[date, list[Spoken]] = {}
    for one in said:
        groups.setdefault(one.at.date(), []).append(one)
    whole = Day(None, len(said), drift(training, live(said, training)))
    return [whole, *(Day(day, len(one), drift(training, live(one, training))) for day, one in groups.items())]


def live(said: Sequence[Spoken], training: Statistics) -> Statistics:
    """What was said of these uploads, in the training data's own terms. People's word has no score of the head's."""
    numbers = dict.fromkeys(training.scores, 0)
    counts = {label: [0] * SCORE_BINS for label in training.scores}
    unknown = 0
    for one in said:
        known = [(label, score) for label, score in one.tags if label in counts]
        unknown += not known
        for label, score in known:
            numbers[label] += 1
            if score < PEOPLES_SCORE:
                counts[label][bin_of(score)] += 1
    return Statistics(len(said), numbers, counts, unknown)
