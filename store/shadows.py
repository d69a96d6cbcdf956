"""What shadows said beside what was published, and the counts that drift is seen in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, delete, insert, select

from store.engine import Database
from store.schema import Tag, TaggerState
from store.schema_models import ShadowAnswer


@dataclass(frozen=True)
class ShadowRow:
    """One shadow's answer on one upload: the section that it would have published, beside the one that was."""

    tagger: str
    version: str
    published_version: str
    section: Any
    published: Any


@dataclass(frozen=True)
class Compared:
    """A kept answer."""

    upload_id: str
    at: datetime
    row: ShadowRow


@dataclass(frozen=True)
class Spoken:
    """One upload of which a tagger spoke: when, and what it said with which score."""

    upload_id: str
    at: datetime
    tags: tuple[tuple[str, float], ...]


class Shadows:
    """Reading what shadows said, and what was said day by day."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def shadow_answers(self, tagger: str, version: str | None = None, limit: int = 10_000) -> list[Compared]:
        """The newest answers of a tagger's shadows, or of one version."""
        found = select(ShadowAnswer.__table__).where(ShadowAnswer.tagger == tagger)
        if version is not None:
            found = found.where(ShadowAnswer.version == version)
        newest = found.order_by(ShadowAnswer.at.desc(), ShadowAnswer.upload_id).limit(limit)
        with self._database.read() as connection:
            return [
                Compared(
                    row.upload_id,
                    row.at,
                    ShadowRow(row.tagger, row.version, row.published_version, row.section, row.published),
                )
                for row in connection.execute(newest)
            ]

    def spoken(self, tagger: str, version: str, since: datetime, limit: int = 100_000) -> list[Spoken]:
        """What one version of a tagger said since then of the uploads of which it spoke last, newest first."""
        states = (
            select(TaggerState.upload_id, TaggerState.at)
            .where(TaggerState.tagger == tagger, TaggerState.version == version, TaggerState.at >= since)
            .order_by(TaggerState.at.desc())
            .limit(limit)
            .subquery()
        )
        joined = (
            select(states.c.upload_id, states.c.at, Tag.tag, Tag.score)
            .join_from(states, Tag, (Tag.upload_id == states.c.upload_id) & (Tag.tagger == tagger), isouter=True)
            .order_by(states.c.at.desc(), states.c.upload_id, Tag.position)
        )
        found: dict[str, tuple[datetime, list[tuple[str, float]]]] = {}
        with self._database.read() as connection:
            for row in connection.execute(joined):
                tags = found.setdefault(row.upload_id, (row.at, []))[1]
                if row.tag is not None:
                    tags.append((row.tag, row.score))
        return [Spoken(upload_id, at, tuple(tags)) for upload_id, (at, tags) in found.items()]


def write_shadows(connection: Connection, now: datetime, upload_id: str, rows: Sequence[ShadowRow]) -> None:
    """Keep what shadows said of one upload."""
    for row in rows:
        mine = (
            ShadowAnswer.upload_id == upload_id,
            ShadowAnswer.tagger == row.tagger,
            ShadowAnswer.version == row.version,
        )
        connection.execute(delete(ShadowAnswer).where(*mine))
        connection.execute(
            insert(ShadowAnswer).values(
                upload_id=upload_id,
                tagger=row.tagger,
                version=row.version,
                published_version=row.published_version,
                at=now,
                section=row.section,
                published=row.published,
            )
        )
