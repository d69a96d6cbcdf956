"""The end of an attempt: everything that it found in one transaction, and only if it is still the live one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, select, update

from store.documents import EncodingRow, SoundUseRow, TagRow, write_document
from store.engine import Database, lock_counter
from store.errors import LeaseLost, UnknownSound
from store.schema import SOUNDS_COUNTER, Attempt, Sound, Upload
from store.shadows import ShadowRow, write_shadows
from store.sounds import SoundKind, SoundRow, insert_sound, select_sounds_after


class Commit:
    """One attempt's transaction; see `Commits.commit`."""

    def __init__(self, connection: Connection, now: datetime, attempt_id: int) -> None:
        self._connection = connection
        self._now = now
        live = (Upload.attempt_id == attempt_id, Upload.state == "running")
        # The lock keeps the attempt the live one until the transaction ends.
        row = connection.execute(select(Upload.__table__).where(*live).with_for_update()).one_or_none()
        if row is None:
            raise LeaseLost(f"attempt {attempt_id} is not the live one any more")
        self._upload = row
        self._attempt_id = attempt_id
        self._first_own_seq: int | None = None
        self.finished = False

    def lock_sounds(self) -> None:
        """Let nobody else, on any node, change the catalogue until this transaction ends."""
        lock_counter(self._connection, SOUNDS_COUNTER)

    def sounds_after(self, seq: int, limit: int) -> list[SoundRow]:
        """As `Sounds.sounds_after`. After `lock_sounds`: all there are. Never those of this transaction, which may yet
        be rolled back."""
        return select_sounds_after(self._connection, seq, limit, before=self._first_own_seq)

    def add_sound(
        self, kind: SoundKind, title: str, duration_s: float, fingerprint: bytes, origin_upload_id: str | None
    ) -> str:
        """Add a sound that this upload brings. Returns its sound_id."""
        sound_id, seq = insert_sound(
            self._connection,
            self._now,
            kind=kind,
            title=title,
            duration_s=duration_s,
            fingerprint=fingerprint,
            origin_upload_id=origin_upload_id,
        )
        self._first_own_seq = self._first_own_seq or seq
        return sound_id

    def keep_shadows(self, rows: Sequence[ShadowRow]) -> None:
        """Keep what shadows said of this upload, in place of what they said before."""
        write_shadows(self._connection, self._now, self._upload.upload_id, rows)

    def finish(
        self,
        document: Mapping[str, Any],
        tags: Sequence[TagRow] = (),
        sound_uses: Sequence[SoundUseRow] = (),
        artifact: str | None = None,
        encodings: Sequence[EncodingRow] = (),
    ) -> None:
        """Write the document and what belongs to it; the block's end commits it.

        What people decided of the upload's tags is laid over the document: see `store.decisions`.

        Args:
            document: plain JSON values with `outcome`, and in `models` the version of each tagger that spoke.
            tags: one row each; they replace those of the revision before, as do the rest.
            sound_uses: of sounds that the store has.
            artifact: address of what `ArtifactStore.put` kept.
            encodings: what of it are encoders' rows.

        Raises:
            UnknownSound: a use names a sound that was never in this store.
        """
        if self.finished:
            raise RuntimeError("an attempt is finished once")
        self._know({use.sound_id for use in sound_uses})
        ended = (
            update(Attempt)
            .where(Attempt.attempt_id == self._attempt_id)
            .values(ended_at=self._now, ending="committed")
            .returning(Attempt.request_hash)
        )
        answering = self._connection.execute(ended).scalar_one()
        answered = write_document(
            self._connection, self._now, self._upload, answering, document, tags, sound_uses, artifact, encodings
        )
        settled: dict[str, Any] = {"state": "done", "due_at": None, "resends": 0, "reason": document.get("reason")}
        if answering != self._upload.request_hash:
            # A newer request came meanwhile: it is due now.
            settled = {"state": "queued", "due_at": self._now, "attempts": 0, "resends": 0, "reason": "asked for anew"}
        _settle(self._connection, self._upload.upload_id, self._now, settled | answered)
        self.finished = True

    def _know(self, sound_ids: set[str]) -> None:
        known = set(self._connection.execute(select(Sound.sound_id).where(Sound.sound_id.in_(sound_ids))).scalars())
        if unknown := sorted(sound_ids - known):
            raise UnknownSound(
                f"not in this store: {', '.join(unknown)}; the sound index is another store's: tagfarm sounds rebuild"
            )


class Commits:
    """What ends an upload's wait."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @contextmanager
    def commit(self, attempt_id: int) -> Iterator[Commit]:
        """A transaction in which the attempt registers sounds and finishes; it commits at the end of the block.

        Raises:
            LeaseLost: the attempt is not the live one any more; nothing is written.
            StoreUnavailable: the database went away. If that was at the very end, the document may be there, and then
                the ledger says so to whoever gets the upload next.
        """
        with self._database.write() as connection:
            transaction = Commit(connection, self._database.now(connection), attempt_id)
            yield transaction
            if not transaction.finished:
                raise RuntimeError("a commit without finish()")

    def quarantine(self, upload_id: str, request_hash: str, document: Mapping[str, Any]) -> bool:
        """Close an exhausted upload with this document (`outcome`: quarantined), through the feed like any other.

        Returns False, and does nothing, if it was taken up or asked for anew since it was claimed.
        """
        with self._database.write() as connection:
            now = self._database.now(connection)
            claimed = (
                Upload.upload_id == upload_id,
                Upload.state == "queued",
                Upload.request_hash == request_hash,
            )
            row = connection.execute(select(Upload.__table__).where(*claimed).with_for_update()).one_or_none()
            if row is None:
                return False
            answered = write_document(connection, now, row, request_hash, document)
            settled = {"state": "quarantined", "due_at": None, "reason": document.get("reason")}
            _settle(connection, upload_id, now, settled | answered)
            return True


def _settle(connection: Connection, upload_id: str, now: datetime, values: dict[str, Any]) -> None:
    mine = update(Upload).where(Upload.upload_id == upload_id)
    connection.execute(mine.values(attempt_id=None, updated_at=now, **values))
