"""Documents rewritten in place of an attempt: by a person's decision, or by heads that read what is kept.

Sounds, artifact, encodings and the request that is answered stay as they are. Many uploads in one transaction.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, and_, bindparam, delete, insert, select, tuple_, update

from store.columns import storable
from store.decisions import SECTIONS, decisions_of, machine_body, overlay, section_tags
from store.documents import news
from store.engine import count_up
from store.feed import Event
from store.schema import OUTBOX_COUNTER, Document, Outbox, Tag, TaggerState, Upload


@dataclass(frozen=True)
class Current:
    """An upload's current document in a transaction that holds the lock on its row."""

    upload_id: str
    revision: int
    at: datetime
    document: dict[str, Any]
    machine: dict[str, Any] | None
    request_hash: str
    artifact: str | None

    def said(self) -> dict[str, Any]:
        """The document as the machine said it."""
        return machine_body(self.document, self.machine)


def lock_uploads(connection: Connection, upload_ids: Sequence[str]) -> dict[str, Row[Any]]:
    """The rows of `uploads`, locked in one order by everyone: two that lock the same ones do not wait for ever."""
    mine = select(Upload.__table__).where(Upload.upload_id.in_(upload_ids)).order_by(Upload.upload_id)
    return {row.upload_id: row for row in connection.execute(mine.with_for_update())}


def current_documents(connection: Connection, uploads: Mapping[str, Row[Any]]) -> dict[str, Current]:
    """The current documents of locked uploads that have one."""
    wanted = [(row.upload_id, row.revision) for row in uploads.values() if row.revision > 0]
    columns = (
        Document.upload_id,
        Document.revision,
        Document.at,
        Document.document,
        Document.machine,
        Document.request_hash,
        Document.artifact,
    )
    rows = select(*columns).where(tuple_(Document.upload_id, Document.revision).in_(wanted))
    return {row.upload_id: Current(**row._mapping) for row in connection.execute(rows)}


def rewrite(
    connection: Connection,
    now: datetime,
    said: Sequence[tuple[Current, Mapping[str, Any]]],
    event: Event,
    spoke: Mapping[str, Mapping[str, str]] | None = None,
) -> set[str]:
    """Write documents anew, with people's decisions laid over them.

    Args:
        connection: of a transaction that holds the locks (`lock_uploads`).
        now: the time.
        said: each current document with what the machine says now, whole.
        event: of the feed, for those that say something new.
        spoke: by upload, the taggers that spoke just now, with their versions.

    Returns the uploads whose documents say something new.
    """
    decided = decisions_of(connection, [current.upload_id for current, _ in said])
    fresh: list[dict[str, Any]] = []
    same: list[dict[str, Any]] = []
    moved: list[dict[str, Any]] = []
    tags: list[dict[str, Any]] = []
    events: list[dict[str, Any]] = []
    changed: set[str] = set()
    for current, words in said:
        machine_said = storable(dict(words))
        body, machine = overlay(machine_said, decided.get(current.upload_id, {}))
        key = {"upload_id": current.upload_id}
        content = {"document": body, "machine": machine, "at": now}
        revision = current.revision
        if news(body) != news(current.document):
            revision += 1
            changed.add(current.upload_id)
            kept = {"request_hash": current.request_hash, "artifact": current.artifact}
            fresh.append({**key, "revision": revision, **kept, **content})
            events.append({**key, "revision": revision, "event": event, "at": now})
        else:
            same.append({"of": current.upload_id, "was": revision, **{f"new_{name}": v for name, v in content.items()}})
        moved.append({"of": current.upload_id, "new_revision": revision, "new_outcome": str(body["outcome"])})
        rows = section_tags(body, machine_said)
        tags += [{**key, "position": position, **row} for position, row in enumerate(rows)]
    _documents(connection, fresh, same)
    _tags(connection, [current.upload_id for current, _ in said], tags)
    _states(connection, now, spoke or {})
    if moved:
        values = {"revision": bindparam("new_revision"), "outcome": bindparam("new_outcome"), "updated_at": now}
        connection.execute(update(Upload).where(Upload.upload_id == bindparam("of")).values(values), moved)
    _events(connection, events)
    return changed


def _documents(connection: Connection, fresh: list[dict[str, Any]], same: list[dict[str, Any]]) -> None:
    if fresh:
        connection.execute(insert(Document), fresh)
    if same:
        mine = and_(Document.upload_id == bindparam("of"), Document.revision == bindparam("was"))
        values: dict[str, Any] = {name: bindparam(f"new_{name}") for name in ("document", "machine", "at")}
        connection.execute(update(Document).where(mine).values(values), same)


def _tags(connection: Connection, upload_ids: list[str], rows: list[dict[str, Any]]) -> None:
    """Replace the tags of the sections that people decide on; a position counts within its tagger."""
    connection.execute(delete(Tag).where(Tag.upload_id.in_(upload_ids), Tag.tagger.in_(SECTIONS)))
    if rows:
        connection.execute(insert(Tag), rows)


def _states(connection: Connection, now: datetime, spoke: Mapping[str, Mapping[str, str]]) -> None:
    for tagger in sorted({tagger for versions in spoke.values() for tagger in versions}):
        rows = [
            {"upload_id": upload_id, "tagger": tagger, "version": versions[tagger], "at": now}
            for upload_id, versions in spoke.items()
            if tagger in versions
        ]
        ids = [row["upload_id"] for row in rows]
        connection.execute(delete(TaggerState).where(TaggerState.upload_id.in_(ids), TaggerState.tagger == tagger))
        connection.execute(insert(TaggerState), rows)


def _events(connection: Connection, events: list[dict[str, Any]]) -> None:
    """Add the events, last of all: the feed waits from here until the transaction ends."""
    if not events:
        return
    last = count_up(connection, OUTBOX_COUNTER, len(events))
    first = last - len(events) + 1
    connection.execute(insert(Outbox), [{"cursor": first + place, **event} for place, event in enumerate(events)])
