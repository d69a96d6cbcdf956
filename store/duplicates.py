"""What uploads have in common that makes them near-duplicates: the same file, the same original sound."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, func, select
from sqlalchemy.orm import aliased

from store.engine import Database
from store.schema import Sound, SoundUse, Upload


@dataclass(frozen=True)
class Common:
    """Something that uploads share. `born`: when the store first saw it. Neither changes as the store grows."""

    key: str
    """`sound:ID` or `sha256:HASH`"""
    born: datetime


class Duplicates:
    """Reading what uploads have in common."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def in_common(self, upload_ids: Sequence[str]) -> dict[str, list[Common]]:
        """Of each upload, what others may share with it: original sounds first, then the file, the oldest first."""
        with self._database.read() as connection:
            found: dict[str, list[Common]] = {upload_id: [] for upload_id in upload_ids}
            _sounds(connection, found)
            _files(connection, found)
        return found


def _sounds(connection: Connection, found: dict[str, list[Common]]) -> None:
    part, root = aliased(Sound), aliased(Sound)
    uses = (
        select(SoundUse.upload_id, root.sound_id, root.created_at)
        .join(part, part.sound_id == SoundUse.sound_id)
        .join(root, root.sound_id == func.coalesce(part.merged_into, part.sound_id))
        .where(SoundUse.upload_id.in_(list(found)), root.kind == "original")
        .order_by(root.created_at, root.sound_id)
        .distinct()
    )
    for upload_id, sound_id, born in connection.execute(uses):
        found[upload_id].append(Common(f"sound:{sound_id}", born))


def _files(connection: Connection, found: dict[str, list[Common]]) -> None:
    same = aliased(Upload)
    files = (
        select(Upload.upload_id, Upload.media_sha256, func.min(same.created_at).label("born"))
        .join(same, same.media_sha256 == Upload.media_sha256)
        .where(Upload.upload_id.in_(list(found)))
        .group_by(Upload.upload_id, Upload.media_sha256)
    )
    for upload_id, sha256, born in connection.execute(files):
        found[upload_id].append(Common(f"sha256:{sha256}", born))
