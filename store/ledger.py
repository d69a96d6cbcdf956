"""The ledger: whose hands an upload is in. Attempts with a lease are the truth; the broker is only transport.

The state of an upload: `queued` (a message is, or should be, under way), `running` (a live attempt holds its lease),
`done` and `quarantined` (its current document answers its latest request). The message that came last says what is
asked for: one that repeats what is answered, or being answered, changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from sqlalchemy import Connection, Row, func, insert, select, update

from store.engine import Database
from store.requests import note_request
from store.schema import Attempt, Upload

RESEND_S = 60.0
RESEND_MAX_S = 3600.0
"""Wait for the message that a sweeper sent, doubled each time: a long queue must not fill with copies, s."""
CLAIMED_AT_ONCE = 100

Ending = Literal["committed", "failed", "lost", "handed_back"]


@dataclass(frozen=True)
class Started:
    """The upload is yours while you renew the lease. `number`: of the attempts at this request, from 1; `lost`: how
    many of those before were lost with their node."""

    attempt_id: int
    number: int
    lost: int = 0


@dataclass(frozen=True)
class Done:
    """The latest document answers this very request: there is nothing to do."""


@dataclass(frozen=True)
class Busy:
    """A live attempt holds the upload; if it dies, the sweeper sends the upload again."""

    lease_until: datetime


@dataclass(frozen=True)
class Quarantined:
    """Attempts at this request ended without an answer too often; it stays so until asked."""

    reason: str


Admission = Started | Done | Busy | Quarantined


@dataclass(frozen=True)
class Due:
    """An upload that the sweeper must send again, or, if it is `exhausted`, quarantine."""

    upload_id: str
    request: dict[str, Any]
    request_hash: str
    queue: str
    priority: int
    attempts: int
    reason: str
    exhausted: bool


class Ledger:
    """Uploads and attempts."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def register(
        self, upload_id: str, request: Mapping[str, Any], request_hash: str, queue: str = "uploads", priority: int = 5
    ) -> bool:
        """Note an upload before its message is sent, so that a lost message is noticed.

        Optional: an upload that nobody registered is noted when its message arrives. Returns False if no message is
        needed: it is in work, or the answer is there.
        """
        with self._database.write() as connection:
            now = self._database.now(connection)
            row = note_request(connection, now, upload_id, request, request_hash, queue, priority)
            return bool(row.state == "queued")

    def admit(
        self,
        upload_id: str,
        request: Mapping[str, Any],
        request_hash: str,
        owner: str,
        lease_s: float,
        queue: str = "uploads",
        priority: int = 5,
        max_attempts: int | None = None,
    ) -> Admission:
        """Take the upload for an attempt, or say why not.

        Args:
            upload_id: whose message arrived.
            request: what it asks for, as plain JSON values. `country`, `language`, `account_id` and `uploaded_at` are
                kept for queries.
            request_hash: of what in it can change the answer.
            owner: who will work on it, for people to read.
            lease_s: how long it stays the owner's without a heartbeat, s.
            queue: where the message came from, and is sent to again.
            priority: as in the message.
            max_attempts: begin no attempt beyond these, but leave the upload to the sweeper, which will find it
                exhausted. None: the sweeper alone decides.
        """
        with self._database.write() as connection:
            now = self._database.now(connection)
            row = note_request(connection, now, upload_id, request, request_hash, queue, priority)
            if row.state == "done":
                return Done()
            if row.state == "quarantined":
                return Quarantined(row.reason or "")
            attempts = row.attempts
            if row.state == "running":
                if row.due_at > now:
                    return Busy(row.due_at)
                attempts = _attempts(row, _end(connection, now, row.attempt_id, "lost", "its lease ran out"))
            if max_attempts is not None and attempts >= max_attempts:
                waiting = {"state": "queued", "attempt_id": None, "due_at": now}
                connection.execute(update(Upload).where(Upload.upload_id == upload_id).values(waiting))
                return Quarantined(f"{attempts} attempts are enough")
            return _start(connection, now, row, attempts + 1, owner, lease_s)

    def heartbeat(self, attempt_id: int, lease_s: float) -> bool:
        """Renew the lease. False: it is lost, and nothing that the attempt makes will be taken."""
        with self._database.write() as connection:
            until = self._database.now(connection) + timedelta(seconds=lease_s)
            return connection.execute(update(Upload).where(*_live(attempt_id)).values(due_at=until)).rowcount == 1

    def hand_back(self, attempt_id: int, reason: str = "its node shut down", retry_in_s: float = 0.0) -> bool:
        """Give the upload back unfinished, through no fault of its own: a node that shuts down, or has no disk left.
        The attempt does not count against it. False: the attempt was not the live one."""
        return self._give_up(attempt_id, "handed_back", reason, retry_in_s)

    def fail(self, attempt_id: int, reason: str, retry_in_s: float = 0.0) -> bool:
        """End an attempt that could give no answer; the upload is due again later. False: it was not the live one."""
        return self._give_up(attempt_id, "failed", reason, retry_in_s)

    def _give_up(self, attempt_id: int, ending: Ending, reason: str, retry_in_s: float) -> bool:
        with self._database.write() as connection:
            now = self._database.now(connection)
            row = connection.execute(select(Upload.__table__).where(*_live(attempt_id)).with_for_update()).one_or_none()
            if row is None:
                return False
            answering = _end(connection, now, attempt_id, ending, reason)
            attempts = _attempts(row, answering)
            values = {
                "state": "queued",
                "attempt_id": None,
                "attempts": attempts - 1 if ending == "handed_back" and attempts else attempts,
                # A newer request that waited for this attempt's end has no reason to wait longer.
                "due_at": now + timedelta(seconds=retry_in_s if answering == row.request_hash else 0.0),
                "reason": reason,
                "updated_at": now,
            }
            connection.execute(update(Upload).where(Upload.upload_id == row.upload_id).values(values))
            return True

    def claim_due(self, max_attempts: int, limit: int = CLAIMED_AT_ONCE) -> list[Due]:
        """Claim what must be sent again: leases that ran out, retries that are due, messages that never arrived.

        Each upload goes to one caller; it comes again later, to anyone, if no attempt follows. One that is `exhausted`
        is not to be sent but closed with `quarantine`.
        """
        with self._database.write() as connection:
            now = self._database.now(connection)
            due = select(Upload.__table__).where(Upload.due_at <= now).order_by(Upload.due_at).limit(limit)
            rows = connection.execute(due.with_for_update(skip_locked=True)).all()
            return [_claim(connection, now, row, max_attempts) for row in rows]

    def requeue(self, upload_id: str, queue: str | None = None) -> bool:
        """Have an upload that is done or quarantined done anew, from its first attempt; the sweeper sends it at once.

        Returns False if there is no such upload, or it is queued or running already.
        """
        with self._database.write() as connection:
            now = self._database.now(connection)
            values: dict[str, Any] = {
                "state": "queued",
                "attempts": 0,
                "resends": 0,
                "due_at": now,
                "updated_at": now,
                "reason": "asked for anew",
            }
            if queue is not None:
                values["queue"] = queue
            settled = (Upload.upload_id == upload_id, Upload.state.in_(("done", "quarantined")))
            return connection.execute(update(Upload).where(*settled).values(values)).rowcount == 1


def _live(attempt_id: int) -> tuple[Any, Any]:
    return Upload.attempt_id == attempt_id, Upload.state == "running"


def _end(connection: Connection, now: datetime, attempt_id: int, ending: Ending, reason: str | None) -> str:
    """Write down how an attempt ended. Returns the hash of the request that it worked on."""
    values = {"ended_at": now, "ending": ending, "reason": reason}
    ended = update(Attempt).where(Attempt.attempt_id == attempt_id).values(values).returning(Attempt.request_hash)
    return connection.execute(ended).scalar_one()


def _attempts(row: Row[Any], answering: str) -> int:
    """Attempts that count against the upload's latest request, when one at the request `answering` has ended."""
    return int(row.attempts) if answering == row.request_hash else 0


def _start(connection: Connection, now: datetime, row: Row[Any], number: int, owner: str, lease_s: float) -> Started:
    values = {
        "upload_id": row.upload_id,
        "request_hash": row.request_hash,
        "number": number,
        "owner": owner,
        "started_at": now,
    }
    attempt_id = connection.execute(insert(Attempt).values(values).returning(Attempt.attempt_id)).scalar_one()
    running = {
        "state": "running",
        "attempt_id": attempt_id,
        "attempts": number,
        "due_at": now + timedelta(seconds=lease_s),
        "resends": 0,
        "updated_at": now,
    }
    connection.execute(update(Upload).where(Upload.upload_id == row.upload_id).values(running))
    earlier = (
        Attempt.upload_id == row.upload_id,
        Attempt.request_hash == row.request_hash,
        Attempt.ending == "lost",
        Attempt.attempt_id < attempt_id,
    )
    lost = connection.execute(select(func.count()).select_from(Attempt).where(*earlier)).scalar_one()
    return Started(attempt_id, number, min(lost, number - 1))


def _claim(connection: Connection, now: datetime, row: Row[Any], max_attempts: int) -> Due:
    reason = row.reason or "its message never arrived"
    attempts = row.attempts
    if row.state == "running":
        owner = connection.execute(select(Attempt.owner).where(Attempt.attempt_id == row.attempt_id)).scalar_one()
        reason = f"{owner} fell silent"
        attempts = _attempts(row, _end(connection, now, row.attempt_id, "lost", reason))
    wait = min(RESEND_S * 2 ** min(row.resends, 10), RESEND_MAX_S)
    values = {
        "state": "queued",
        "attempt_id": None,
        "attempts": attempts,
        "due_at": now + timedelta(seconds=wait),
        "resends": row.resends + 1,
        "reason": reason,
        "updated_at": now,
    }
    connection.execute(update(Upload).where(Upload.upload_id == row.upload_id).values(values))
    return Due(
        upload_id=row.upload_id,
        request=row.request,
        request_hash=row.request_hash,
        queue=row.queue,
        priority=row.priority,
        attempts=attempts,
        reason=reason,
        exhausted=attempts >= max_attempts,
    )
