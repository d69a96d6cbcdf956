"""How far the farm is: states, counts, and messages that were refused."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from sqlalchemy import delete, func, insert, select

from store.engine import Database
from store.schema import Refusal, Upload

REFUSALS_KEPT = 10_000

State = Literal["queued", "running", "done", "quarantined"]


@dataclass(frozen=True)
class UploadStatus:
    """How far an upload is. `attempts`: at its latest request; `revision` 0: it has no document yet."""

    upload_id: str
    state: State
    attempts: int
    reason: str | None
    queue: str
    revision: int
    outcome: str | None
    updated_at: datetime


_STATUS = (
    Upload.upload_id,
    Upload.state,
    Upload.attempts,
    Upload.reason,
    Upload.queue,
    Upload.revision,
    Upload.outcome,
    Upload.updated_at,
)


@dataclass(frozen=True)
class QueueAge:
    """What waits in one queue, as far as the ledger knows: uploads that are registered and not begun."""

    queue: str
    waiting: int
    oldest_s: float


class Overview:
    """What people and live displays ask."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def refuse(self, message: str, problems: str) -> None:
        """Keep a message that was no upload, for people to look at: the last `REFUSALS_KEPT` are kept."""
        with self._database.write() as connection:
            values = {"at": self._database.now(connection), "message": message, "problems": problems}
            made = connection.execute(insert(Refusal).values(values).returning(Refusal.refusal_id)).scalar_one()
            connection.execute(delete(Refusal).where(Refusal.refusal_id <= made - REFUSALS_KEPT))

    def refusals(self, limit: int = 100) -> list[tuple[datetime, str, str]]:
        """The latest refused messages first: when, message, problems."""
        newest = select(Refusal.at, Refusal.message, Refusal.problems).order_by(Refusal.refusal_id.desc()).limit(limit)
        with self._database.read() as connection:
            return [(row.at, row.message, row.problems) for row in connection.execute(newest)]

    def status(self, upload_id: str) -> UploadStatus | None:
        """How far an upload is; None: never heard of."""
        with self._database.read() as connection:
            row = connection.execute(select(*_STATUS).where(Upload.upload_id == upload_id)).one_or_none()
        return UploadStatus(**row._mapping) if row is not None else None

    def in_state(self, state: State, limit: int = 1000) -> list[UploadStatus]:
        """Uploads in this state, the latest change first."""
        rows = select(*_STATUS).where(Upload.state == state).order_by(Upload.updated_at.desc()).limit(limit)
        with self._database.read() as connection:
            return [UploadStatus(**row._mapping) for row in connection.execute(rows)]

    def queue_ages(self) -> list[QueueAge]:
        """How many uploads wait, and the oldest of them for how long, by queue."""
        waiting = (
            select(Upload.queue, func.count().label("waiting"), func.min(Upload.updated_at).label("oldest"))
            .where(Upload.state == "queued")
            .group_by(Upload.queue)
        )
        with self._database.read() as connection:
            now = self._database.now(connection)
            return [
                QueueAge(row.queue, row.waiting, max(0.0, (now - row.oldest).total_seconds()))
                for row in connection.execute(waiting)
            ]

    def counts(self) -> dict[str, int]:
        """Uploads by state (all four, always), then done ones by outcome (those that there are)."""
        states: dict[str, int] = {"queued": 0, "running": 0, "done": 0, "quarantined": 0}
        outcomes: dict[str, int] = {}
        grouped = select(Upload.state, Upload.outcome, func.count()).group_by(Upload.state, Upload.outcome)
        with self._database.read() as connection:
            for state, outcome, count in connection.execute(grouped.order_by(Upload.outcome)):
                states[state] += count
                if state == "done" and outcome is not None:
                    outcomes[outcome] = outcomes.get(outcome, 0) + count
        return states | outcomes
