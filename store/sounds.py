"""Known sounds: catalogue songs and effects, and the original sounds that uploads brought.

Every change of a sound gives it a new sequence number, so a copy of the catalogue that reads on from its last number
learns of additions, merges and removals alike, in the order of their commits.
"""

from __future__ import annotations

import base64
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from sqlalchemy import Connection, Select, case, distinct, func, insert, or_, select, update
from sqlalchemy.orm import aliased

from store.engine import Database, count_up, lock_counter
from store.errors import UnknownSound
from store.schema import SOUNDS_COUNTER, Sound, SoundUse

ID_BYTES = 10
"""80 random bits: two of 10^9 sounds share an id with a chance below 10^-6, and none can be guessed."""

SoundKind = Literal["song", "effect", "original"]
KINDS: tuple[SoundKind, ...] = ("song", "effect", "original")


@dataclass(frozen=True)
class SoundRow:
    """A sound as a copy of the catalogue takes it in. `fingerprint` None: take it out (removed, or merged)."""

    seq: int
    sound_id: str
    kind: SoundKind
    title: str
    fingerprint: bytes | None


@dataclass(frozen=True)
class KnownSound:
    """A sound. `uses`: uploads that use it, under any of its ids."""

    sound_id: str
    kind: SoundKind
    title: str
    duration_s: float
    origin_upload_id: str | None
    created_at: datetime
    uses: int


@dataclass(frozen=True)
class KnownUse:
    """A use of a sound. Times in s: start and end in the upload, offset in the sound."""

    upload_id: str
    score: float
    start_s: float
    end_s: float
    offset_s: float
    speed: float
    pitch_semitones: float
    used_at: datetime


@dataclass(frozen=True)
class Trend:
    """How many uploads use a sound in a window, and in the window before it."""

    sound_id: str
    kind: SoundKind
    title: str
    uses: int
    before: int


class Sounds:
    """The catalogue."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def sounds_after(self, seq: int, limit: int = 500) -> list[SoundRow]:
        """Sounds changed after `seq`, ascending; none is skipped that was committed before."""
        with self._database.read() as connection:
            return select_sounds_after(connection, seq, limit)

    def add_sound(
        self, kind: SoundKind, title: str, duration_s: float, fingerprint: bytes, source_sha256: str
    ) -> tuple[str, bool]:
        """Add a sound of the catalogue. Returns its sound_id and True, or False if it came from this file before."""
        with self._database.write() as connection:
            lock_counter(connection, SOUNDS_COUNTER)
            same = select(func.coalesce(Sound.merged_into, Sound.sound_id)).where(Sound.source_sha256 == source_sha256)
            known = connection.execute(same).scalar_one_or_none()
            if known is not None:
                return known, False
            sound_id, _ = insert_sound(
                connection,
                self._database.now(connection),
                kind=kind,
                title=title,
                duration_s=duration_s,
                fingerprint=fingerprint,
                source_sha256=source_sha256,
            )
            return sound_id, True

    def list_sounds(self, kind: str | None = None, search: str | None = None, limit: int = 100) -> list[KnownSound]:
        """Sounds, the newest first. `search`: part of the title, in any case."""
        query = _known().where(Sound.state == "live")
        if kind is not None:
            query = query.where(Sound.kind == kind)
        if search is not None:
            query = query.where(Sound.title.icontains(search, autoescape=True))
        with self._database.read() as connection:
            rows = connection.execute(query.order_by(Sound.created_at.desc(), Sound.seq.desc()).limit(limit))
            return [KnownSound(**row._mapping) for row in rows]

    def sound(self, sound_id: str) -> KnownSound | None:
        """The sound of this id, or the one that it was merged into; None: unknown or removed."""
        with self._database.read() as connection:
            root = resolve(connection, sound_id)
            row = connection.execute(_known().where(Sound.sound_id == root, Sound.state == "live")).one_or_none()
        return KnownSound(**row._mapping) if row is not None else None

    def sound_uses(self, sound_id: str, limit: int = 1000) -> list[KnownUse]:
        """Uses of a sound in current documents, under any of its ids, the newest upload first."""
        columns = [getattr(SoundUse, name) for name in KnownUse.__dataclass_fields__]
        with self._database.read() as connection:
            root = resolve(connection, sound_id)
            uses = (
                select(*columns)
                .join(Sound, Sound.sound_id == SoundUse.sound_id)
                .where(or_(Sound.sound_id == root, Sound.merged_into == root))
                .order_by(SoundUse.used_at.desc(), SoundUse.upload_id, SoundUse.position)
                .limit(limit)
            )
            return [KnownUse(**row._mapping) for row in connection.execute(uses)]

    def merge_sounds(self, sound_id: str, into: str) -> None:
        """Make one sound a part of another: its ids stay alive as aliases, its uses are the other's.

        Merging what is one sound already does nothing. Raises `UnknownSound`.
        """
        with self._database.write() as connection:
            lock_counter(connection, SOUNDS_COUNTER)
            part, whole = (_live_root(connection, one) for one in (sound_id, into))
            if part == whole:
                return
            connection.execute(update(Sound).where(Sound.merged_into == part).values(merged_into=whole))
            gone = {"state": "merged", "merged_into": whole, "seq": count_up(connection, SOUNDS_COUNTER)}
            connection.execute(update(Sound).where(Sound.sound_id == part).values(gone))

    def uncompared_sounds(self, limit: int) -> list[SoundRow]:
        """Live songs and originals that `mark_compared` has not named, the oldest first."""
        waiting = (
            select(Sound.seq, Sound.sound_id, Sound.kind, Sound.title, Sound.fingerprint)
            .where(Sound.compared_at.is_(None), Sound.state == "live", Sound.kind != "effect")
            .order_by(Sound.seq)
            .limit(limit)
        )
        with self._database.read() as connection:
            return [SoundRow(**row._mapping) for row in connection.execute(waiting)]

    def mark_compared(self, sound_id: str) -> None:
        """This sound was held against those that were there."""
        with self._database.write() as connection:
            now = self._database.now(connection)
            connection.execute(update(Sound).where(Sound.sound_id == sound_id).values(compared_at=now))

    def remove_sound(self, sound_id: str) -> bool:
        """Forget a sound and its fingerprint; documents that name it stay as they are. False: unknown."""
        with self._database.write() as connection:
            lock_counter(connection, SOUNDS_COUNTER)
            try:
                root = _live_root(connection, sound_id)
            except UnknownSound:
                return False
            # Without its file's hash, and those of its aliases, the catalogue may take the same files in anew.
            connection.execute(update(Sound).where(Sound.merged_into == root).values(source_sha256=None))
            seq = count_up(connection, SOUNDS_COUNTER)
            gone = {"state": "removed", "fingerprint": None, "source_sha256": None, "seq": seq}
            connection.execute(update(Sound).where(Sound.sound_id == root).values(gone))
            return True

    def trending(self, window_s: float, limit: int = 20) -> list[Trend]:
        """Sounds that more uploads use in the last `window_s` s than in as many before, the greatest gain first."""
        with self._database.read() as connection:
            now = self._database.now(connection)
            middle, start = now - timedelta(seconds=window_s), now - timedelta(seconds=2 * window_s)
            root = aliased(Sound)
            recent = func.count(distinct(case((SoundUse.used_at > middle, SoundUse.upload_id))))
            before = func.count(distinct(case((SoundUse.used_at <= middle, SoundUse.upload_id))))
            gain = (recent - before).desc()
            trends = (
                select(root.sound_id, root.kind, root.title, recent.label("uses"), before.label("before"))
                .join(Sound, Sound.sound_id == SoundUse.sound_id)
                .join(root, root.sound_id == func.coalesce(Sound.merged_into, Sound.sound_id))
                .where(SoundUse.used_at > start, SoundUse.used_at <= now, root.state == "live")
                .group_by(root.sound_id, root.kind, root.title)
                .having(recent > before)
                .order_by(gain, recent.desc(), root.sound_id)
                .limit(limit)
            )
            return [Trend(**row._mapping) for row in connection.execute(trends)]


def select_sounds_after(connection: Connection, seq: int, limit: int, before: int | None = None) -> list[SoundRow]:
    """Sounds changed after `seq`, and before `before`."""
    fingerprint = case((Sound.state == "live", Sound.fingerprint)).label("fingerprint")
    changed = select(Sound.seq, Sound.sound_id, Sound.kind, Sound.title, fingerprint).where(Sound.seq > seq)
    if before is not None:
        changed = changed.where(Sound.seq < before)
    return [SoundRow(**row._mapping) for row in connection.execute(changed.order_by(Sound.seq).limit(limit))]


def insert_sound(
    connection: Connection,
    now: datetime,
    *,
    kind: SoundKind,
    title: str,
    duration_s: float,
    fingerprint: bytes,
    origin_upload_id: str | None = None,
    source_sha256: str | None = None,
) -> tuple[str, int]:
    """Add a sound. Returns its sound_id and its sequence number."""
    if kind not in KINDS:
        raise ValueError(f"kind {kind!r} is none of {', '.join(KINDS)}")
    sound_id = new_sound_id()
    seq = count_up(connection, SOUNDS_COUNTER)
    values: dict[str, Any] = {
        "sound_id": sound_id,
        "seq": seq,
        "kind": kind,
        "title": title,
        "duration_s": duration_s,
        "fingerprint": fingerprint,
        "state": "live",
        "origin_upload_id": origin_upload_id,
        "source_sha256": source_sha256,
        "created_at": now,
    }
    connection.execute(insert(Sound).values(values))
    return sound_id, seq


def new_sound_id() -> str:
    """`s_` and 16 letters and digits that nobody can guess."""
    return "s_" + base64.b32encode(secrets.token_bytes(ID_BYTES)).decode().lower()


def resolve(connection: Connection, sound_id: str) -> str:
    """The id that this one is an alias of, or itself."""
    merged = select(Sound.merged_into).where(Sound.sound_id == sound_id)
    return connection.execute(merged).scalar_one_or_none() or sound_id


def _live_root(connection: Connection, sound_id: str) -> str:
    root = resolve(connection, sound_id)
    state = connection.execute(select(Sound.state).where(Sound.sound_id == root)).scalar_one_or_none()
    if state != "live":
        raise UnknownSound(f"no sound {sound_id}")
    return root


def _known() -> Select[Any]:
    part = aliased(Sound)
    uses = (
        select(func.count(distinct(SoundUse.upload_id)))
        .join(part, part.sound_id == SoundUse.sound_id)
        .where(or_(part.sound_id == Sound.sound_id, part.merged_into == Sound.sound_id))
        .correlate(Sound)
        .scalar_subquery()
    )
    return select(
        Sound.sound_id,
        Sound.kind,
        Sound.title,
        Sound.duration_s,
        Sound.origin_upload_id,
        Sound.created_at,
        uses.label("uses"),
    )
