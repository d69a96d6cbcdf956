"""Re-tagging: which uploads a run takes, and how far it is with each. A killed run goes on where it was.

A run is planned in one transaction: its items are the uploads that its selection finds then, each with the way that it
goes - `embeddings` (heads read what is kept, here and now) or `full` (the farm decodes the file again).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from sqlalchemy import ColumnElement, Connection, delete, func, insert, literal, not_, select, true, update

from store.columns import dumps, plain_json
from store.engine import Database
from store.schema import Upload
from store.schema_labels import EncodingKept
from store.schema_retag import RetagItem, RetagRun
from store.selection import Selection, Target, chosen, kept, other_version, stale

Way = Literal["embeddings", "full"]
RunState = Literal["running", "paused", "done", "cancelled"]
KEPT_DAYS = 30
"""How long the items of a run that has ended are kept."""


@dataclass(frozen=True)
class Counts:
    """Selected uploads: whose kept embeddings serve all targets, whose are of another encoder's version, and the rest.

    `encoders`: the stale ones by `name: version`.
    """

    selected: int
    kept: int
    stale: int
    without: int
    encoders: Mapping[str, int]


@dataclass(frozen=True)
class Run:
    """A run and how far it is: items by state."""

    run_id: int
    selection: dict[str, Any]
    targets: dict[str, str]
    state: RunState
    items: Mapping[str, int]

    @property
    def total(self) -> int:
        """All its items."""
        return sum(self.items.values())

    @property
    def left(self) -> int:
        """Items that are not settled yet."""
        return self.items.get("waiting", 0) + self.items.get("sent", 0)


class Retags:
    """Runs and their items."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def retag_counts(self, selection: Selection, targets: Sequence[Target]) -> Counts:
        """What a selection finds. Raises `store.where.BadCondition`."""
        mine, ready_ones = chosen(selection, targets), kept(targets)
        with self._database.read() as connection:

            def count(*conditions: ColumnElement[bool]) -> int:
                return connection.execute(
                    select(func.count()).select_from(Upload).where(mine, *conditions)
                ).scalar_one()

            selected, ready, old = count(), count(ready_ones), count(not_(ready_ones), stale(targets))
            versions = (
                select(EncodingKept.encoder, EncodingKept.version, func.count())
                .join(Upload, Upload.upload_id == EncodingKept.upload_id)
                .where(mine, not_(ready_ones), other_version(targets))
                .group_by(EncodingKept.encoder, EncodingKept.version)
                .order_by(EncodingKept.encoder, EncodingKept.version)
            )
            encoders = {f"{row[0]}: {row[1]}": row[2] for row in connection.execute(versions)} if old else {}
        return Counts(selected, ready, old, selected - ready - old, encoders)

    def open_retag(
        self, selection: Selection, targets: Sequence[Target], ways: Sequence[Way], full: bool = False
    ) -> tuple[Run, bool]:
        """The unfinished run of just this, or a new one. Returns it, and whether it was there before.

        Args:
            selection: which uploads.
            targets: what shall speak.
            ways: those that items may go; of an upload that can go neither, the run has no item.
            full: send all of them the full way, also those whose embeddings would do.
        """
        asked = plain_json({**asdict(selection), "ways": ways, "full": full})
        versions = {target.tagger: target.version for target in targets}
        encoders = sorted({f"{n}={v}" for target in targets for n, v in target.encoders.items()})
        name = hashlib.sha256(dumps([asked, sorted(versions.items()), encoders]).encode()).hexdigest()
        with self._database.write() as connection:
            now = self._database.now(connection)
            same = (RetagRun.fingerprint == name, RetagRun.state.in_(("running", "paused")))
            first = select(RetagRun.run_id).where(*same).order_by(RetagRun.run_id).limit(1)
            known = connection.execute(first.with_for_update()).scalar_one_or_none()
            if known is not None:
                return _run(connection, known), True
            _tidy(connection, now, asked)
            values = {
                "fingerprint": name,
                "selection": asked,
                "targets": versions,
                "state": "running",
                "created_at": now,
                "updated_at": now,
            }
            run_id = connection.execute(insert(RetagRun).values(values).returning(RetagRun.run_id)).scalar_one()
            ready = kept(targets) if not full else not_(true())
            conditions = {"embeddings": ready, "full": not_(ready)}
            for way in ways:
                found = select(
                    literal(run_id),
                    Upload.upload_id,
                    literal(way),
                    literal("waiting"),
                    literal(0),
                    literal(now, RetagItem.at.type),
                ).where(chosen(selection, targets), conditions[way])
                columns = ["run_id", "upload_id", "way", "state", "attempts", "at"]
                connection.execute(insert(RetagItem).from_select(columns, found))
            return _run(connection, run_id), False

    def retag_run(self, run_id: int) -> Run | None:
        """A run, now."""
        with self._database.read() as connection:
            known = connection.execute(select(RetagRun.run_id).where(RetagRun.run_id == run_id)).scalar_one_or_none()
            return None if known is None else _run(connection, run_id)

    def retag_state(self, run_id: int) -> str | None:
        """Whether a run runs; None: there is none."""
        with self._database.read() as connection:
            return connection.execute(select(RetagRun.state).where(RetagRun.run_id == run_id)).scalar_one_or_none()

    def retag_runs(self, limit: int = 20) -> list[Run]:
        """The latest runs first."""
        with self._database.read() as connection:
            newest = select(RetagRun.run_id).order_by(RetagRun.run_id.desc()).limit(limit)
            return [_run(connection, run_id) for run_id in connection.execute(newest).scalars()]

    def set_retag_state(self, run_id: int, state: RunState) -> bool:
        """Pause, go on, cancel, or end a run. False: there is none, or it has ended."""
        with self._database.write() as connection:
            live = (RetagRun.run_id == run_id, RetagRun.state.in_(("running", "paused")))
            values = {"state": state, "updated_at": self._database.now(connection)}
            return connection.execute(update(RetagRun).where(*live).values(values)).rowcount == 1


def _run(connection: Connection, run_id: int) -> Run:
    row = connection.execute(select(RetagRun.__table__).where(RetagRun.run_id == run_id)).one()
    counted = (
        select(RetagItem.state, func.count())
        .where(RetagItem.run_id == run_id)
        .group_by(RetagItem.state)
        .order_by(RetagItem.state)
    )
    items = {row[0]: row[1] for row in connection.execute(counted)}
    return Run(row.run_id, row.selection, row.targets, row.state, items)


def _tidy(connection: Connection, now: datetime, asked: Mapping[str, Any]) -> None:
    """End runs of the same words for versions that are no longer wanted, and forget the items of old ones."""
    live = select(RetagRun.run_id, RetagRun.selection).where(RetagRun.state.in_(("running", "paused")))
    former = [row.run_id for row in connection.execute(live) if row.selection == asked]
    if former:
        ended = {"state": "cancelled", "updated_at": now}
        connection.execute(update(RetagRun).where(RetagRun.run_id.in_(former)).values(ended))
    old = select(RetagRun.run_id).where(
        RetagRun.state.in_(("done", "cancelled")), RetagRun.updated_at < now - timedelta(days=KEPT_DAYS)
    )
    connection.execute(delete(RetagItem).where(RetagItem.run_id.in_(old)))
