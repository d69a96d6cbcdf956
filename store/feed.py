"""The change feed: one event for each document that says something new, in the order of commits.

A reader keeps the cursor of the last event that it handled and asks for what comes after; see `schema.Counter` for why
it can miss none. What it reads twice, after a crash, has the same cursor.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import Connection, and_, func, insert, select, update

from store.engine import Database, count_up, insert_new
from store.schema import OUTBOX_COUNTER, Cursor, Document, Outbox

Event = Literal["tagged", "retagged", "labelled"]
"""A first document; another one; one that a person's decision changed."""


@dataclass(frozen=True)
class FeedEvent:
    """One change. `document`: as it was committed then, whatever was said since."""

    cursor: int
    event: Event
    upload_id: str
    at: datetime
    document: dict[str, Any]


class Feed:
    """Reading the feed, and how far its consumers are."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def feed(self, after: int, limit: int = 100) -> list[FeedEvent]:
        """Events whose cursor is greater than `after`, ascending."""
        document = and_(Document.upload_id == Outbox.upload_id, Document.revision == Outbox.revision)
        events = (
            select(Outbox.cursor, Outbox.event, Outbox.upload_id, Outbox.at, Document.document)
            .join(Document, document)
            .where(Outbox.cursor > after)
            .order_by(Outbox.cursor)
            .limit(limit)
        )
        with self._database.read() as connection:
            return [FeedEvent(**row._mapping) for row in connection.execute(events)]

    def feed_head(self) -> int:
        """The latest event's cursor; 0: there is none."""
        with self._database.read() as connection:
            return connection.execute(select(func.coalesce(func.max(Outbox.cursor), 0))).scalar_one()

    def position(self, consumer: str) -> int:
        """The cursor that a consumer said it has reached; 0: none."""
        with self._database.read() as connection:
            kept = select(Cursor.position).where(Cursor.consumer == consumer)
            return connection.execute(kept).scalar_one_or_none() or 0

    def advance(self, consumer: str, position: int) -> None:
        """Keep how far a consumer has come. It never goes back."""
        with self._database.write() as connection:
            moved = {"position": position, "updated_at": self._database.now(connection)}
            connection.execute(insert_new(connection, Cursor).values(consumer=consumer, **moved))
            behind = (Cursor.consumer == consumer, Cursor.position < position)
            connection.execute(update(Cursor).where(*behind).values(moved))


def append_event(connection: Connection, now: datetime, event: Event, upload_id: str, revision: int) -> int:
    """Add an event and return its cursor. To be called last: the feed waits until the transaction ends."""
    cursor = count_up(connection, OUTBOX_COUNTER)
    values = {"cursor": cursor, "event": event, "upload_id": upload_id, "revision": revision, "at": now}
    connection.execute(insert(Outbox).values(values))
    return cursor
