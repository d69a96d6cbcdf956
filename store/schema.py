"""The tables. `store/migrations` makes them; the tests hold the two against each other.

Who writes what: `ledger` uploads, attempts and refusals; `documents` and `rewrite` documents, tags, tagger_states,
encodings and sound_uses; `sounds` sounds; `feed` outbox and cursors. People's labels and runs of re-tagging have their
tables in `schema_labels` and `schema_retag`, which versions speak and what shadows say in `schema_models`; `tokens` and
`flights` write what their tables are named after. All times are UTC.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Double, ForeignKey, ForeignKeyConstraint, Index, Integer, LargeBinary, MetaData, text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from store.columns import BigId, PlainJson, PlainText, UtcTime

SOUNDS_COUNTER = "sounds"
OUTBOX_COUNTER = "outbox"
ALIASES_COUNTER = "aliases"


class Base(DeclarativeBase):
    """Common to all tables."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {  # noqa: RUF012  # SQLAlchemy reads it off the class
        str: PlainText(),
        datetime: UtcTime(),
        float: Double(),
        dict[str, Any]: PlainJson(),
        list[Any]: PlainJson(),
    }


class Upload(Base):
    """One upload: what was asked for last, how far it is, and when the sweeper must look at it."""

    __tablename__ = "uploads"

    upload_id: Mapped[str] = mapped_column(primary_key=True)
    request: Mapped[dict[str, Any]]
    """The latest request. A newer one may arrive while an attempt at the one before still runs."""
    request_hash: Mapped[str]
    queue: Mapped[str]
    priority: Mapped[int] = mapped_column(Integer)
    country: Mapped[str | None]
    language: Mapped[str | None]
    account_id: Mapped[str | None]
    uploaded_at: Mapped[datetime]
    """As the request says, never later than it was first seen."""
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]
    state: Mapped[str]
    """queued, running, done or quarantined."""
    attempt_id: Mapped[int | None] = mapped_column(BigId)
    """The live attempt; null unless running. No foreign key: it would close a circle with `attempts`."""
    due_at: Mapped[datetime | None]
    """When the sweeper takes it: the lease's end, or when a retry is due or a message counts as lost. Null: never."""
    attempts: Mapped[int] = mapped_column(Integer)
    """Attempts at this request that count against it."""
    resends: Mapped[int] = mapped_column(Integer)
    """How often the sweeper sent it since an attempt last began."""
    reason: Mapped[str | None]
    """Why the last attempt did not end in a document."""
    revision: Mapped[int] = mapped_column(Integer)
    """Of the current document; 0: there is none yet."""
    outcome: Mapped[str | None]
    """The current document's."""
    media_sha256: Mapped[str | None]
    """Of the file that the current document speaks of."""

    __table_args__ = (
        Index(None, "due_at"),
        Index(None, "state", "outcome"),
        Index(None, "country"),
        Index(None, "outcome"),
        Index(None, "media_sha256"),
    )


class Attempt(Base):
    """One try at one request."""

    __tablename__ = "attempts"

    attempt_id: Mapped[int] = mapped_column(BigId, primary_key=True)
    upload_id: Mapped[str] = mapped_column(ForeignKey("uploads.upload_id"))
    request_hash: Mapped[str]
    number: Mapped[int] = mapped_column(Integer)
    owner: Mapped[str]
    started_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]
    ending: Mapped[str | None]
    """committed, failed, lost or handed_back; null while it runs."""
    reason: Mapped[str | None]

    # An id must never come back: a zombie would be taken for the attempt that has its id now.
    __table_args__ = (Index(None, "upload_id"), {"sqlite_autoincrement": True})


class Refusal(Base):
    """A message that was no upload."""

    __tablename__ = "refusals"

    refusal_id: Mapped[int] = mapped_column(BigId, primary_key=True)
    at: Mapped[datetime]
    message: Mapped[str]
    problems: Mapped[str]


class Document(Base):
    """What was said of an upload, revision by revision; `uploads.revision` names the current one.

    Each revision differs from the one before and is one event of the feed. An answer that says nothing new takes its
    predecessor's place.
    """

    __tablename__ = "documents"

    upload_id: Mapped[str] = mapped_column(ForeignKey("uploads.upload_id"), primary_key=True)
    revision: Mapped[int] = mapped_column(Integer, primary_key=True)
    request_hash: Mapped[str]
    at: Mapped[datetime]
    document: Mapped[dict[str, Any]]
    artifact: Mapped[str | None]
    """Address of its embeddings, curves and key frames."""
    machine: Mapped[dict[str, Any] | None]
    """The sections as the machine said them, where people's decisions changed them; null: nothing was changed."""

    __table_args__ = (Index(None, "artifact"),)


class Tag(Base):
    """One tag of an upload's current document."""

    __tablename__ = "tags"

    upload_id: Mapped[str] = mapped_column(ForeignKey("uploads.upload_id"), primary_key=True)
    tagger: Mapped[str] = mapped_column(primary_key=True)
    position: Mapped[int] = mapped_column(Integer, primary_key=True)
    version: Mapped[str]
    tag: Mapped[str]
    score: Mapped[float]
    ranges: Mapped[list[Any]]
    """Start and end in the upload, s; empty: all of it."""

    __table_args__ = (Index(None, "tagger", "tag", "score"),)


class TaggerState(Base):
    """Which version of a tagger last spoke of an upload, whether or not it found anything."""

    __tablename__ = "tagger_states"

    upload_id: Mapped[str] = mapped_column(ForeignKey("uploads.upload_id"), primary_key=True)
    tagger: Mapped[str] = mapped_column(primary_key=True)
    version: Mapped[str]
    at: Mapped[datetime]

    __table_args__ = (Index(None, "tagger", "version"),)


class Sound(Base):
    """A known sound, an alias of one (`merged_into`), or one that was removed. Rows are never deleted."""

    __tablename__ = "sounds"

    sound_id: Mapped[str] = mapped_column(primary_key=True)
    seq: Mapped[int] = mapped_column(BigId)
    """Of the latest change, in the order of commits: what a copy of the catalogue reads by."""
    kind: Mapped[str]
    """song, effect or original."""
    title: Mapped[str]
    duration_s: Mapped[float]
    fingerprint: Mapped[bytes | None] = mapped_column(LargeBinary)
    state: Mapped[str]
    """live, merged or removed."""
    merged_into: Mapped[str | None] = mapped_column(ForeignKey("sounds.sound_id"))
    """A live or removed sound, never an alias: chains are kept one link long."""
    origin_upload_id: Mapped[str | None]
    source_sha256: Mapped[str | None]
    """Of the catalogue file; null for sounds that uploads brought."""
    created_at: Mapped[datetime]
    compared_at: Mapped[datetime | None]
    """When it was held against the sounds that were there: null until it was."""

    # On PostgreSQL a change of a column with a full unique index shuts out whoever writes a row that refers to this
    # one, and commits and merges would lock each other for ever. So `seq` is unique by its counter alone, and the index
    # of `source_sha256` leaves something out.
    __table_args__ = (
        Index(None, "seq"),
        Index(
            None,
            "source_sha256",
            unique=True,
            sqlite_where=text("source_sha256 IS NOT NULL"),
            postgresql_where=text("source_sha256 IS NOT NULL"),
        ),
        Index(None, "merged_into"),
        Index(None, "created_at"),
        Index(None, "compared_at"),
    )


class SoundUse(Base):
    """A sound heard in an upload's current document."""

    __tablename__ = "sound_uses"

    upload_id: Mapped[str] = mapped_column(ForeignKey("uploads.upload_id"), primary_key=True)
    position: Mapped[int] = mapped_column(Integer, primary_key=True)
    sound_id: Mapped[str] = mapped_column(ForeignKey("sounds.sound_id"))
    score: Mapped[float]
    start_s: Mapped[float]
    end_s: Mapped[float]
    offset_s: Mapped[float]
    speed: Mapped[float]
    pitch_semitones: Mapped[float]
    used_at: Mapped[datetime]
    """The upload's own time, so that tagging an archive anew makes no old sound trend."""

    __table_args__ = (Index(None, "sound_id"), Index(None, "used_at"))


class Outbox(Base):
    """The change feed: one row a document, numbered in the order of commits."""

    __tablename__ = "outbox"

    cursor: Mapped[int] = mapped_column(BigId, primary_key=True, autoincrement=False)
    event: Mapped[str]
    """tagged, retagged or labelled."""
    upload_id: Mapped[str]
    revision: Mapped[int] = mapped_column(Integer)
    at: Mapped[datetime]

    __table_args__ = (
        ForeignKeyConstraint(["upload_id", "revision"], ["documents.upload_id", "documents.revision"]),
        Index(None, "upload_id", "revision", unique=True),
    )


class Cursor(Base):
    """How far a consumer of the feed has come."""

    __tablename__ = "cursors"

    consumer: Mapped[str] = mapped_column(primary_key=True)
    position: Mapped[int] = mapped_column(BigId)
    updated_at: Mapped[datetime]


class Token(Base):
    """A key to the gateway. Its secret is not kept, only what tells it again."""

    __tablename__ = "tokens"

    token_id: Mapped[str] = mapped_column(primary_key=True)
    """Part of the token that may be shown."""
    name: Mapped[str]
    """Whose it is, for people."""
    digest: Mapped[str]
    """SHA-256 of the secret, hex. Enough for 256 random bits; it would not be for a password."""
    scopes: Mapped[list[Any]]
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]
    used_at: Mapped[datetime | None]
    """Last use, to within a minute."""


class SingleFlight(Base):
    """A job that one node at a time shall do, and whose turn it is."""

    __tablename__ = "single_flights"

    name: Mapped[str] = mapped_column(primary_key=True)
    owner: Mapped[str]
    until: Mapped[datetime]


class Counter(Base):
    """Numbers in the order of commits.

    Counting one up locks its row until the transaction ends, so the next number is given out only when the one before
    is there to read: a reader that asks for what is greater than its cursor can miss nothing. A sequence cannot say so.
    """

    __tablename__ = "counters"

    name: Mapped[str] = mapped_column(primary_key=True)
    value: Mapped[int] = mapped_column(BigId)
