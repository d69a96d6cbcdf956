"""The tables of people's decisions, and of what is kept for heads to be run and trained on."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ForeignKey, Index, Integer
from sqlalchemy.orm import Mapped, mapped_column

from store.columns import BigId
from store.schema import Base


class Label(Base):
    """One decision of a person on one tag of one upload. Rows are never changed; the latest decision holds."""

    __tablename__ = "labels"

    label_id: Mapped[int] = mapped_column(BigId, primary_key=True)
    upload_id: Mapped[str] = mapped_column(ForeignKey("uploads.upload_id"))
    tagger: Mapped[str]
    tag: Mapped[str]
    decision: Mapped[str]
    """confirm, reject, add or withdraw; of an amount: rate or withdraw."""
    value: Mapped[float | None]
    """What was given, in 0 to 1: of a decision `rate` alone."""
    by: Mapped[str]
    """Who decided."""
    at: Mapped[datetime]
    """When it was decided, as the person's tool says."""
    taxonomy: Mapped[str | None]
    """Version of the list of tags that was decided on."""
    note: Mapped[str | None]
    written_at: Mapped[datetime]

    __table_args__ = (
        Index(None, "upload_id", "tagger", "tag", "at"),
        Index(None, "tagger", "tag"),
        {"sqlite_autoincrement": True},
    )


class EncodingKept(Base):
    """One encoder's rows in the artifact of an upload's current document."""

    __tablename__ = "encodings"

    upload_id: Mapped[str] = mapped_column(ForeignKey("uploads.upload_id"), primary_key=True)
    encoder: Mapped[str] = mapped_column(primary_key=True)
    """What heads call it: `picture`."""
    version: Mapped[str]
    """`weights-name@N`"""
    rows: Mapped[int] = mapped_column(Integer)
    dimension: Mapped[int] = mapped_column(Integer)
    """0: its scores are kept instead."""
    start_s: Mapped[float]
    end_s: Mapped[float]
    """The range that the rows cover, s."""

    __table_args__ = (Index(None, "encoder", "version"),)
