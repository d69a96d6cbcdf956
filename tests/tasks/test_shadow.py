"""What a shadow disagrees on, and drift by day, from what a store has kept."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from models.training.statistics import Statistics
from store.store import ShadowRow, Started, Store, TagRow
from tasks.drift import by_day
from tasks.shadow import labels, report


@pytest.fixture
def clock() -> list[datetime]:
    return [datetime(2026, 1, 1, 12, tzinfo=UTC)]


@pytest.fixture
def store(tmp_path: Path, clock: list[datetime]):
    opened = Store.open(f"sqlite:///{tmp_path / 'store.db'}", clock=lambda: clock[0])
    yield opened
    opened.close()


def say(store: Store, upload_id: str, published: dict[str, float], shadow: dict[str, float] | None = None) -> None:
    admission = store.admit(upload_id, {"media": "x"}, "h", owner="t", lease_s=60)
    assert isinstance(admission, Started)
    theirs, mine = ([{"topic": t, "score": s} for t, s in said.items()] for said in (published, shadow or {}))
    with store.commit(admission.attempt_id) as transaction:
        if shadow is not None:
            transaction.keep_shadows([ShadowRow("topics", "v@2", "v@1", mine, theirs)])
        tags = [TagRow("topics", "v@1", topic, score, []) for topic, score in published.items()]
        transaction.finish({"outcome": "ok", "reason": None, "models": {"topics": "v@1"}, "topics": theirs}, tags)


def test_disagreements_are_counted_by_label_and_shown(store: Store) -> None:
    say(store, "u1", {"a": 0.9}, {"a": 0.8})
    say(store, "u2", {"a": 0.9}, {"b": 0.7})
    say(store, "u3", {}, {"b": 0.95})
    say(store, "u4", {"a": 0.6}, {})
    say(store, "u5", {"a": 0.6})
    (found,) = report(store, "topics")
    assert (found.version, found.uploads, found.agreed) == ("v@2", 4, 1)
    assert (found.both, found.added, found.lost) == ({"a": 1}, {"b": 2}, {"a": 2})
    assert (found.unknown, found.published_unknown) == (1, 1)
    assert [example.upload_id for example in found.examples] == ["u3", "u2", "u4"]
    assert found.published_versions == {"v@1": 4}
    assert len(report(store, "topics", examples=1)[0].examples) == 1
    assert report(store, "events") == report(store, "topics", "v@9") == []


def test_labels_of_quality_are_its_scores() -> None:
    assert labels("quality", {"score": 0.5, "picture": {"score": 0.4}, "sound": None}) == {"score": 0.5, "picture": 0.4}
    assert labels("quality", None) == labels("topics", []) == {}


def test_drift_day_by_day(store: Store, clock: list[datetime]) -> None:
    training = Statistics(40, {"a": 20}, {"a": [0] * 9 + [20]}, 20)
    for number in range(10):
        say(store, f"seen{number}", {"a": 0.95})
        say(store, f"unknown{number}", {"other": 0.9})
    clock[0] += timedelta(days=1)
    for number in range(10):
        say(store, f"unsure{number}", {"a": 0.55})
    whole, second, first = by_day(store, "topics", "v@1", training, clock[0], days=7)
    assert (whole.uploads, second.uploads, first.uploads) == (30, 10, 20)
    assert (first.rows[0].live, first.rows[1].live) == (0.5, 0.5)
    assert (first.rows[1].score_shift, first.rows[1].moved) == (0.0, False)
    assert second.rows[1].moved
    say(store, "u4", {"a": 1.0})
    confirmed = by_day(store, "topics", "v@1", training, clock[0], days=7)[1]
    assert (confirmed.rows[1].live, confirmed.rows[1].score_shift) == (1.0, second.rows[1].score_shift)
    clock[0] += timedelta(days=1)
    assert by_day(store, "topics", "v@1", training, clock[0] + timedelta(days=30), days=7)[0].uploads == 0
    assert by_day(store, "topics", "v@9", training, clock[0], days=7)[0].uploads == 0
