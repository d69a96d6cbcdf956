"""Labels: people's decisions on tags. Each is kept for good, and the upload's document follows at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, Select, insert, select

from store.columns import plain_text
from store.decisions import RATED, Decision
from store.engine import Database
from store.rewrite import current_documents, lock_uploads, rewrite
from store.schema import Upload
from store.schema_labels import Label

PAGE = 500
"""Uploads whose labels are read at a time."""


@dataclass(frozen=True)
class NewLabel:
    """A decision as it arrives. `at` None: now."""

    upload_id: str
    tagger: str
    tag: str
    decision: Decision
    by: str
    at: datetime | None = None
    taxonomy: str | None = None
    note: str | None = None
    value: float | None = None


@dataclass(frozen=True)
class LabelRow:
    """A decision as it is kept. `holds`: no later one on the same tag takes its place; of an amount, no later one of
    the same person."""

    label_id: int
    upload_id: str
    tagger: str
    tag: str
    decision: str
    by: str
    at: datetime
    taxonomy: str | None
    note: str | None
    value: float | None
    holds: bool


@dataclass(frozen=True)
class Labelled:
    """What a call did. `written`: which of the labels were new, in their order; `changed`: the document says something
    new now, and the feed has an event of it."""

    written: tuple[bool, ...]
    changed: bool


@dataclass(frozen=True)
class UnknownUpload:
    """Nothing was written: no upload of this id was ever here."""


class _Undo(Exception):
    pass


class Labels:
    """People's decisions."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def label(self, upload_id: str, labels: Sequence[NewLabel], dry_run: bool = False) -> Labelled | UnknownUpload:
        """Keep decisions on one upload, and bring its document up to them, in one transaction.

        A decision that is there already is not kept again: the very same one, or, for one without a time, what the
        same person decided last of that tag while it still holds.

        Args:
            upload_id: whose tags.
            labels: of this upload.
            dry_run: say what would be done, and do nothing.
        """
        result: Labelled | UnknownUpload = UnknownUpload()
        with suppress(_Undo), self._database.write() as connection:
            result = self._label(connection, upload_id, labels)
            if dry_run:
                raise _Undo
        return result

    def _label(self, connection: Connection, upload_id: str, labels: Sequence[NewLabel]) -> Labelled | UnknownUpload:
        uploads = lock_uploads(connection, [upload_id])
        if not uploads:
            return UnknownUpload()
        now = self._database.now(connection)
        kept = list(connection.execute(_history().where(Label.upload_id == upload_id)))
        known = {(row.tagger, row.tag, row.decision, row.value, row.by, row.at) for row in kept}
        holding = {_subject(row): (row.decision, row.value, row.by) for row in kept}
        written = []
        for label in labels:
            tag, by, at = plain_text(label.tag), plain_text(label.by), label.at or now
            key = (upload_id, label.tagger, tag, by if label.tagger in RATED else None)
            word = (label.decision, label.value, by)
            repeated = label.at is None and holding.get(key) == word
            fact = (label.tagger, tag, label.decision, label.value, by, at)
            new = not repeated and fact not in known
            written.append(new)
            if new:
                known.add(fact)
                holding[key] = word
                values = {"decision": label.decision, "by": by, "at": at, "written_at": now}
                values |= {"upload_id": upload_id, "tagger": label.tagger, "tag": tag}
                values |= {"taxonomy": label.taxonomy, "note": label.note, "value": label.value}
                connection.execute(insert(Label).values(values))
        changed = False
        said = any(new and label.tagger not in RATED for new, label in zip(written, labels, strict=True))
        if said and (current := current_documents(connection, uploads)):
            document = current[upload_id]
            changed = bool(rewrite(connection, now, [(document, document.said())], "labelled"))
        return Labelled(tuple(written), changed)

    def labels(
        self,
        upload_id: str | None = None,
        tagger: str | None = None,
        tag: str | None = None,
        decision: str | None = None,
        by: str | None = None,
        history: bool = False,
    ) -> Iterator[LabelRow]:
        """Labels in the order of upload, tagger, tag and time, page by page.

        Args:
            upload_id, tagger, tag, decision, by: only these.
            history: also those that a later one took the place of.
        """
        query = _history()
        for column, value in ((Label.upload_id, upload_id), (Label.tagger, tagger), (Label.tag, tag)):
            if value is not None:
                query = query.where(column == value)
        for row in self._with_holds(query):
            wanted = (decision is None or row.decision == decision) and (by is None or row.by == by)
            if wanted and (history or row.holds):
                yield row

    def unknown_uploads(self, upload_ids: Sequence[str]) -> set[str]:
        """Which of these the store never heard of."""
        with self._database.read() as connection:
            known = connection.execute(select(Upload.upload_id).where(Upload.upload_id.in_(upload_ids))).scalars()
            return set(upload_ids) - set(known)

    def _with_holds(self, query: Select[Any]) -> Iterator[LabelRow]:
        """Rows, a page of uploads at a time: a transaction is never held open while the caller is at work."""
        after = ""
        while True:
            with self._database.read() as connection:
                mine = query.with_only_columns(Label.upload_id).order_by(None).distinct()
                page = mine.where(Label.upload_id > after).order_by(Label.upload_id).limit(PAGE)
                ids = list(connection.execute(page).scalars())
                rows = list(connection.execute(query.where(Label.upload_id.in_(ids))))
            latest = {_subject(row): row.label_id for row in rows}
            for row in rows:
                yield LabelRow(**row._mapping, holds=latest[_subject(row)] == row.label_id)
            if not ids:
                return
            after = ids[-1]


def _subject(row: Row[Any]) -> tuple[str, str, str, str | None]:
    """What a later decision takes the place of: of amounts, only what the same person gave."""
    return row.upload_id, row.tagger, row.tag, row.by if row.tagger in RATED else None


def _history() -> Select[Any]:
    columns: tuple[Any, ...] = (
        Label.label_id,
        Label.upload_id,
        Label.tagger,
        Label.tag,
        Label.decision,
        Label.by,
        Label.at,
        Label.taxonomy,
        Label.note,
        Label.value,
    )
    return select(*columns).order_by(Label.upload_id, Label.tagger, Label.tag, Label.at, Label.label_id)
