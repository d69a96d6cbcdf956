"""The tables of re-tagging: what was asked for, and how far it is with each upload."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, Index, Integer
from sqlalchemy.orm import Mapped, mapped_column

from store.columns import BigId
from store.schema import Base


class RetagRun(Base):
    """One request to tag many uploads anew. A killed one is found again by its fingerprint, and goes on."""

    __tablename__ = "retag_runs"

    run_id: Mapped[int] = mapped_column(BigId, primary_key=True)
    fingerprint: Mapped[str]
    """Of selection, taggers' versions and way: the same words while it is unfinished mean the same run."""
    selection: Mapped[dict[str, Any]]
    """As it was asked for, plain JSON values."""
    targets: Mapped[dict[str, Any]]
    """Tagger to the version that shall speak."""
    state: Mapped[str]
    """running, paused, done or cancelled."""
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]

    __table_args__ = (Index(None, "fingerprint"), {"sqlite_autoincrement": True})


class RetagItem(Base):
    """One upload of one run."""

    __tablename__ = "retag_items"

    run_id: Mapped[int] = mapped_column(ForeignKey("retag_runs.run_id"), primary_key=True)
    upload_id: Mapped[str] = mapped_column(ForeignKey("uploads.upload_id"), primary_key=True)
    way: Mapped[str]
    """embeddings or full."""
    state: Mapped[str]
    """waiting; sent (to the farm); then changed, unchanged, failed or done (by the farm)."""
    reason: Mapped[str | None]
    attempts: Mapped[int] = mapped_column(Integer)
    at: Mapped[datetime]

    __table_args__ = (Index(None, "run_id", "state", "way", "upload_id"),)
