"""The items of a run of re-tagging: what waits, what heads said of it, what the farm does.

An item is settled in the transaction that writes its document, so that nothing is done twice and nothing left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, func, select, update

from store.engine import Database
from store.rewrite import Current, current_documents, lock_uploads, rewrite
from store.schema import Upload
from store.schema_retag import RetagItem

MAX_ATTEMPTS = 3
"""Tries at an item whose document changes under the run's hands, before it is left as failed."""


@dataclass(frozen=True)
class Retagged:
    """What heads say of one upload now: the whole document as the machine says it, from the state that `base` was."""

    base: Current
    document: Mapping[str, Any]
    spoke: Mapping[str, str]
    """The taggers that spoke, with their versions."""


class RetagItems:
    """The items of all runs."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def retag_items(self, run_id: int, limit: int) -> list[tuple[Current, dict[str, Any]]]:
        """Items that wait to be run from what is kept, in the order of their ids: current documents and requests."""
        waiting = (
            select(Upload.__table__)
            .join(RetagItem, RetagItem.upload_id == Upload.upload_id)
            .where(RetagItem.run_id == run_id, RetagItem.state == "waiting", RetagItem.way == "embeddings")
            .order_by(RetagItem.upload_id)
            .limit(limit)
        )
        with self._database.read() as connection:
            uploads = {row.upload_id: row for row in connection.execute(waiting)}
            current = current_documents(connection, uploads)
            return [(current[upload_id], row.request) for upload_id, row in uploads.items()]

    def settle_retagged(
        self,
        run_id: int,
        done: Sequence[Retagged],
        refused: Mapping[str, str],
        full_instead: bool = False,
    ) -> dict[str, str]:
        """Write what heads said, and settle the items, all in one transaction.

        An upload whose document changed since it was read stays waiting; it is read again.

        Args:
            run_id: the run.
            done: what was said.
            refused: uploads that could not be run from what is kept, and why.
            full_instead: send those to the farm; False: they have failed.

        Returns the new states, by upload, of those that have one.
        """
        ids = sorted({one.base.upload_id for one in done} | set(refused))
        with self._database.write() as connection:
            now = self._database.now(connection)
            mine = (RetagItem.run_id == run_id, RetagItem.upload_id.in_(ids), RetagItem.state == "waiting")
            items = select(RetagItem.upload_id, RetagItem.attempts).where(*mine).order_by(RetagItem.upload_id)
            waiting = {row.upload_id: row.attempts for row in connection.execute(items.with_for_update())}
            uploads = lock_uploads(connection, [one for one in ids if one in waiting])
            current = current_documents(connection, uploads)
            fresh: list[Retagged] = []
            moved: list[Retagged] = []
            for one in done:
                now_is = current.get(one.base.upload_id)
                if now_is is None:
                    continue
                same = (now_is.revision, now_is.at) == (one.base.revision, one.base.at)
                (fresh if same else moved).append(one)
            changed = rewrite(
                connection,
                now,
                [(one.base, one.document) for one in fresh],
                "retagged",
                {one.base.upload_id: one.spoke for one in fresh},
            )
            states: dict[str, tuple[str, str | None]] = {}
            for one in fresh:
                upload_id = one.base.upload_id
                states[upload_id] = ("changed" if upload_id in changed else "unchanged", None)
            for upload_id in (one for one in refused if one in waiting):
                states[upload_id] = ("full" if full_instead else "failed", refused[upload_id])
            for one in moved:
                tries = waiting[one.base.upload_id] + 1
                if tries >= MAX_ATTEMPTS:
                    states[one.base.upload_id] = ("failed", "it changes all the time")
                else:
                    _set(connection, run_id, [one.base.upload_id], {"attempts": tries})
            _settle(connection, run_id, states, now)
        return {upload_id: state for upload_id, (state, _) in states.items()}

    def send_retagged(self, run_id: int, in_flight: int) -> int:
        """Hand uploads to the farm, as long as no more than `in_flight` are with it. Returns how many.

        They become due on the queue `backfill`, after fresh uploads, and a node's sweeper sends them.
        """
        with self._database.write() as connection:
            now = self._database.now(connection)
            of_run = RetagItem.run_id == run_id
            with_it = select(func.count()).select_from(RetagItem).where(of_run, RetagItem.state == "sent")
            room = max(0, in_flight - connection.execute(with_it).scalar_one())
            waiting = (
                select(RetagItem.upload_id)
                .where(of_run, RetagItem.state == "waiting", RetagItem.way == "full")
                .order_by(RetagItem.upload_id)
                .limit(room)
            )
            ids = list(connection.execute(waiting.with_for_update()).scalars())
            lock_uploads(connection, ids)
            due = {
                "state": "queued",
                "queue": "backfill",
                "attempts": 0,
                "resends": 0,
                "due_at": now,
                "updated_at": now,
                "reason": "asked for anew",
            }
            # One that is in work, or waits already, is tagged by what runs now: that will do.
            settled = (Upload.upload_id.in_(ids), Upload.state.in_(("done", "quarantined")))
            connection.execute(update(Upload).where(*settled).values(due))
            _set(connection, run_id, ids, {"state": "sent", "at": now})
            return len(ids)

    def collect_retagged(self, run_id: int) -> int:
        """Settle what the farm has done. Returns how many."""
        with self._database.write() as connection:
            now = self._database.now(connection)
            ended = (
                select(RetagItem.upload_id)
                .join(Upload, Upload.upload_id == RetagItem.upload_id)
                .where(RetagItem.run_id == run_id, RetagItem.state == "sent", Upload.state.in_(("done", "quarantined")))
                .order_by(RetagItem.upload_id)
            )
            ids = list(connection.execute(ended).scalars())
            _set(connection, run_id, ids, {"state": "done", "at": now})
            return len(ids)


def _set(connection: Connection, run_id: int, upload_ids: Sequence[str], values: Mapping[str, Any]) -> None:
    if upload_ids:
        mine = (RetagItem.run_id == run_id, RetagItem.upload_id.in_(upload_ids))
        connection.execute(update(RetagItem).where(*mine).values(dict(values)))


def _settle(connection: Connection, run_id: int, states: Mapping[str, tuple[str, str | None]], now: Any) -> None:
    groups: dict[tuple[str, str | None], list[str]] = {}
    for upload_id, outcome in states.items():
        groups.setdefault(outcome, []).append(upload_id)
    for (state, reason), upload_ids in groups.items():
        values: dict[str, Any] = {"state": state, "reason": reason, "at": now}
        if state == "full":
            values |= {"state": "waiting", "way": "full"}
        _set(connection, run_id, upload_ids, values)
