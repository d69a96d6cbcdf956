"""The tables of trained versions: what aliases mean, and what shadows said. `aliases` and `shadows` write them."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, Index, Integer
from sqlalchemy.orm import Mapped, mapped_column

from store.columns import BigId, PlainJson
from store.schema import Base


class AliasChange(Base):
    """One change of what an alias means, in the order of commits. Rows are never altered."""

    __tablename__ = "alias_changes"

    change_id: Mapped[int] = mapped_column(BigId, primary_key=True, autoincrement=False)
    tagger: Mapped[str]
    alias: Mapped[str]
    """champion, challenger or shadow."""
    action: Mapped[str]
    """promote or rollback."""
    number: Mapped[int | None] = mapped_column(Integer)
    """The version's; null: what tagfarm ships (champion), or none (the others)."""
    digest: Mapped[str | None]
    """sha256 of the version's manifest: a node whose registry has another one under this number refuses it."""
    share: Mapped[float]
    """Of the uploads that it speaks of, 0 to 1."""
    before_id: Mapped[int | None] = mapped_column(ForeignKey("alias_changes.change_id"))
    """The change that a rollback of this one goes back to; null: to the beginning."""
    who: Mapped[str]
    why: Mapped[str]
    at: Mapped[datetime]

    __table_args__ = (Index(None, "tagger", "alias"),)


class Alias(Base):
    """What an alias means now: its latest change."""

    __tablename__ = "aliases"

    tagger: Mapped[str] = mapped_column(primary_key=True)
    alias: Mapped[str] = mapped_column(primary_key=True)
    change_id: Mapped[int] = mapped_column(ForeignKey("alias_changes.change_id"))


class ShadowAnswer(Base):
    """What a shadow said of an upload, beside what was published of it. Never part of a document or of the feed."""

    __tablename__ = "shadow_answers"

    upload_id: Mapped[str] = mapped_column(ForeignKey("uploads.upload_id"), primary_key=True)
    tagger: Mapped[str] = mapped_column(primary_key=True)
    version: Mapped[str] = mapped_column(primary_key=True)
    published_version: Mapped[str]
    at: Mapped[datetime]
    section: Mapped[Any] = mapped_column(PlainJson)
    """The shadow's answer: what the document's section would have been."""
    published: Mapped[Any] = mapped_column(PlainJson)

    __table_args__ = (Index(None, "tagger", "at"),)
