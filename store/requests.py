"""What is asked for: the latest request of each upload."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, select, update

from store.engine import insert_new
from store.schema import Attempt, Document, Upload

FORGOTTEN_S = 600.0
"""After so long without an attempt, the message of a registered upload is taken for lost, s."""


def note_request(
    connection: Connection,
    now: datetime,
    upload_id: str,
    request: Mapping[str, Any],
    request_hash: str,
    queue: str,
    priority: int,
) -> Row[Any]:
    """Take in what is asked for, and return the upload's row, locked until the transaction ends."""
    asked = {
        "request": dict(request),
        "request_hash": request_hash,
        "queue": queue,
        "priority": priority,
        "country": request.get("country"),
        "language": request.get("language"),
        "account_id": request.get("account_id"),
        "updated_at": now,
    }
    fresh = {
        "state": "queued",
        "attempt_id": None,
        "due_at": now + timedelta(seconds=FORGOTTEN_S),
        "attempts": 0,
        "resends": 0,
        "reason": None,
    }
    unseen = {
        "upload_id": upload_id,
        "uploaded_at": _uploaded_at(request, now),
        "created_at": now,
        "revision": 0,
        "outcome": None,
    }
    connection.execute(insert_new(connection, Upload).values(asked | fresh | unseen))
    mine = Upload.upload_id == upload_id
    row = connection.execute(select(Upload.__table__).where(mine).with_for_update()).one()
    if row.request_hash == request_hash:
        return row
    if row.state == "running":
        running = select(Attempt.request_hash).where(Attempt.attempt_id == row.attempt_id)
        if connection.execute(running).scalar_one() == request_hash:
            return row  # the message of the attempt that runs, delivered again
        # Its turn comes when that attempt ends.
        connection.execute(update(Upload).where(mine).values(asked))
    elif _answered(connection, row, request_hash):
        connection.execute(update(Upload).where(mine).values(asked | fresh | {"state": "done", "due_at": None}))
    else:
        connection.execute(update(Upload).where(mine).values(asked | fresh))
    return connection.execute(select(Upload.__table__).where(mine)).one()


def _answered(connection: Connection, row: Row[Any], request_hash: str) -> bool:
    """Whether the current document is the answer to an earlier request that is now asked for again."""
    current = select(Document.request_hash).where(
        Document.upload_id == row.upload_id, Document.revision == row.revision
    )
    return row.outcome != "quarantined" and connection.execute(current).scalar_one_or_none() == request_hash


def _uploaded_at(request: Mapping[str, Any], now: datetime) -> datetime:
    try:
        claimed = datetime.fromisoformat(str(request.get("uploaded_at")))
        return min(claimed.astimezone(UTC), now) if claimed.tzinfo is not None else now
    except (ValueError, OverflowError):
        return now
