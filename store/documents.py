"""Documents: written whole, with everything that is drawn from them, or not at all; and read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, Select, and_, delete, exists, insert, or_, select, update

from store.columns import plain_json
from store.decisions import SECTIONS, decisions_of, overlay, section_tags
from store.engine import Database
from store.feed import append_event
from store.schema import Document, Outbox, Sound, SoundUse, Tag, TaggerState, Upload
from store.schema_labels import EncodingKept

NO_NEWS = frozenset({"attempts", "timings_ms", "models"})
"""Fields of a document that say nothing of the upload: one that differs in nothing else takes its predecessor's place,
and is no event. A new version of a tagger that says the same is so no news, and the store names it all the same."""


@dataclass(frozen=True)
class TagRow:
    """One tag, for queries by tag. `ranges`: start and end in the upload, s; empty: all of it."""

    tagger: str
    version: str
    tag: str
    score: float
    ranges: Sequence[Sequence[float]]


@dataclass(frozen=True)
class SoundUseRow:
    """One known sound in an upload. Times in s: start and end in the upload, offset in the sound."""

    sound_id: str
    score: float
    start_s: float
    end_s: float
    offset_s: float = 0.0
    speed: float = 1.0
    pitch_semitones: float = 0.0


@dataclass(frozen=True)
class EncodingRow:
    """One encoder's rows in an upload's artifact: `name@N` of the encoder, how many of which dimension, and the range
    that they cover, s."""

    encoder: str
    version: str
    rows: int
    dimension: int
    start_s: float
    end_s: float


@dataclass(frozen=True)
class Kept:
    """A current document with what belongs to it. `cursor`: of its event in the feed; `request`: the latest one;
    `machine`: the sections as the machine said them, where people's decisions changed them."""

    upload_id: str
    revision: int
    cursor: int
    at: datetime
    document: dict[str, Any]
    artifact: str | None
    request: dict[str, Any]
    machine: dict[str, Any] | None = None


class Documents:
    """Reading current documents."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def document(self, upload_id: str) -> dict[str, Any] | None:
        """An upload's current document; None: it has none (yet)."""
        kept = self.kept(upload_id)
        return kept.document if kept is not None else None

    def kept(self, upload_id: str) -> Kept | None:
        """An upload's current document and what belongs to it; None: it has none (yet)."""
        with self._database.read() as connection:
            row = connection.execute(_current().where(Upload.upload_id == upload_id)).one_or_none()
        return Kept(**row._mapping) if row is not None else None

    def documents(
        self,
        outcome: str | None = None,
        topic: str | None = None,
        sound: str | None = None,
        country: str | None = None,
        before: int | None = None,
        limit: int = 100,
    ) -> list[Kept]:
        """Current documents, the latest change first.

        Args:
            outcome: only these.
            topic: with this topic, or one below it (`animals` finds `animals/cat`).
            sound: that use this sound, under any id that it has or had.
            country: as the request says.
            before: page on with the `cursor` of the last one.
            limit: of one page.
        """
        query = _current()
        if outcome is not None:
            query = query.where(Upload.outcome == outcome)
        if country is not None:
            query = query.where(Upload.country == country)
        if topic is not None:
            below = Tag.tag.startswith(topic.rstrip("/") + "/", autoescape=True)
            tagged = (Tag.upload_id == Upload.upload_id, Tag.tagger == "topics", or_(Tag.tag == topic, below))
            query = query.where(exists().where(*tagged))
        if sound is not None:
            root = select(Sound.merged_into).where(Sound.sound_id == sound, Sound.merged_into.is_not(None))
            same = or_(
                Sound.sound_id == sound,
                Sound.merged_into == sound,
                Sound.sound_id.in_(root),
                Sound.merged_into.in_(root),
            )
            query = query.where(
                exists().where(SoundUse.upload_id == Upload.upload_id, SoundUse.sound_id == Sound.sound_id, same)
            )
        if before is not None:
            query = query.where(Outbox.cursor < before)
        with self._database.read() as connection:
            rows = connection.execute(query.order_by(Outbox.cursor.desc()).limit(limit))
            return [Kept(**row._mapping) for row in rows]

    def in_use(self, addresses: Sequence[str]) -> set[str]:
        """Which of these artifacts a current document names."""
        named = (
            select(Document.artifact)
            .join(Upload, and_(Upload.upload_id == Document.upload_id, Upload.revision == Document.revision))
            .where(Document.artifact.in_(addresses))
        )
        with self._database.read() as connection:
            return {address for address in connection.execute(named).scalars() if address is not None}

    def outdated(self, tagger: str, version: str, after: str = "", limit: int = 1000) -> list[str]:
        """Uploads with a document in which another version of the tagger spoke, or none: their ids after `after`,
        ascending."""
        spoke = exists().where(
            TaggerState.upload_id == Upload.upload_id, TaggerState.tagger == tagger, TaggerState.version == version
        )
        stale = (
            select(Upload.upload_id)
            .where(Upload.revision > 0, Upload.upload_id > after, ~spoke)
            .order_by(Upload.upload_id)
            .limit(limit)
        )
        with self._database.read() as connection:
            return list(connection.execute(stale).scalars())


def _current() -> Select[Any]:
    answer = and_(Document.upload_id == Upload.upload_id, Document.revision == Upload.revision)
    event = and_(Outbox.upload_id == Upload.upload_id, Outbox.revision == Upload.revision)
    return (
        select(
            Upload.upload_id,
            Document.revision,
            Outbox.cursor,
            Document.at,
            Document.document,
            Document.artifact,
            Upload.request,
            Document.machine,
        )
        .join(Document, answer)
        .join(Outbox, event)
    )


def write_document(
    connection: Connection,
    now: datetime,
    upload: Row[Any],
    request_hash: str,
    document: Mapping[str, Any],
    tags: Sequence[TagRow] = (),
    sound_uses: Sequence[SoundUseRow] = (),
    artifact: str | None = None,
    encodings: Sequence[EncodingRow] = (),
) -> dict[str, Any]:
    """Write an upload's new document, its tags and uses, and the feed's event. People's decisions are laid over it.

    Args:
        connection: of a transaction that holds the lock on `upload`'s row.
        now: the time.
        upload: the row of `uploads`.
        request_hash: of the request that the document answers.
        document: must have `outcome`; its `models` (tagger to version) says which taggers spoke.
        tags, sound_uses, artifact, encodings: what is kept beside it; they replace those of the revision before.

    Returns the columns of `uploads` that the caller has to set with its own.
    """
    upload_id: str = upload.upload_id
    said = plain_json(dict(document))
    decided = decisions_of(connection, [upload_id]).get(upload_id, {})
    body, machine = overlay(said, decided)
    answer = {"request_hash": request_hash, "at": now, "document": body, "artifact": artifact, "machine": machine}
    before = _body(connection, upload_id, upload.revision)
    changed = before is None or news(before) != news(body)
    revision = upload.revision + 1 if changed else upload.revision
    if changed:
        connection.execute(insert(Document).values(upload_id=upload_id, revision=revision, **answer))
    else:
        mine = (Document.upload_id == upload_id, Document.revision == revision)
        connection.execute(update(Document).where(*mine).values(answer))
    rows = [vars(tag) for tag in tags if not decided or tag.tagger not in SECTIONS]
    rows += section_tags(body, said) if decided else []
    _replace(connection, Tag, upload_id, [{"position": i, **row} for i, row in enumerate(rows)])
    uses = [{"position": i, "used_at": upload.uploaded_at, **vars(use)} for i, use in enumerate(sound_uses)]
    _replace(connection, SoundUse, upload_id, uses)
    _replace(connection, EncodingKept, upload_id, [vars(encoding) for encoding in encodings])
    spoke = body.get("models") or {}
    _replace(
        connection, TaggerState, upload_id, [{"tagger": t, "version": v, "at": now} for t, v in sorted(spoke.items())]
    )
    if changed:
        append_event(connection, now, "tagged" if before is None else "retagged", upload_id, revision)
    sha256 = (body.get("media") or {}).get("sha256")
    return {"revision": revision, "outcome": str(body["outcome"]), "media_sha256": sha256}


def _body(connection: Connection, upload_id: str, revision: int) -> dict[str, Any] | None:
    current = select(Document.document).where(Document.upload_id == upload_id, Document.revision == revision)
    return connection.execute(current).scalar_one_or_none()


def news(body: Mapping[str, Any]) -> dict[str, Any]:
    """What of a document is worth an event when it changes."""
    return {key: value for key, value in body.items() if key not in NO_NEWS}


def _replace(
    connection: Connection,
    table: type[Tag | SoundUse | TaggerState | EncodingKept],
    upload_id: str,
    rows: list[dict[str, Any]],
) -> None:
    connection.execute(delete(table).where(table.upload_id == upload_id))
    if rows:
        connection.execute(insert(table), [{"upload_id": upload_id, **row} for row in rows])
