"""The sound index on this machine's disk: immutable segments, memory-mapped, and a manifest that names them.

The store is its truth: the index carries the store's sequence number as far as it has come, and can be made again at
any time. Many processes read while one writes.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Iterable, Sequence
from pathlib import Path

from models.soundid.disk_view import DiskView, Postings
from models.soundid.fingerprint import Fingerprint
from models.soundid.manifest import SUFFIX, lock, read_manifest, stamp, sweep, write_manifest
from models.soundid.merge import Part, merge
from models.soundid.segment import IndexCorrupt, Segment, SoundEntry
from models.soundid.segment_file import rows_of, write_segment
from models.soundid.view import IndexView, SoundIndex

__all__ = ["DiskIndex", "IndexCorrupt", "IndexView", "Postings", "SoundEntry", "SoundIndex"]

MERGE_RATIO = 2
"""A segment no more than so many times as long as what is added is merged with it: their number stays logarithmic."""
OPEN_ATTEMPTS = 20
"""Manifests read in a row while a writer replaces the segments that they name."""

Added = tuple[int, str, str, str | None, Fingerprint]
"""Sequence number in the store, sound_id, kind, title, fingerprint."""


class DiskIndex:
    """The index in a folder of this machine: many processes read while one writes.

    Args:
        path: its folder; made if there is none.

    Raises:
        IndexCorrupt: when it is read, if it cannot be; `recreate` empties it.
    """

    def __init__(self, path: Path | str) -> None:
        self._path = Path(path)
        self._path.mkdir(parents=True, exist_ok=True)
        self._guard = threading.Lock()
        self._stamp: tuple[int, ...] | None = None
        self._view = DiskView(0, 0, (), ())
        self.reload()

    @classmethod
    def recreate(cls, path: Path | str) -> DiskIndex:
        """Empty the index, readable or not. What others have open stays readable to them until they reload."""
        path = Path(path)
        path.mkdir(parents=True, exist_ok=True)
        with lock(path):
            write_manifest(path, DiskView(secrets.randbits(40), 0, (), ()))
            sweep(path, set())
        return cls(path)

    @property
    def last_seq(self) -> int:
        """The highest sequence number of the store that went in; 0: none."""
        return self.view().last_seq

    def __len__(self) -> int:
        view = self.view()
        return sum(len(segment) - len(gone) for segment, gone in zip(view.segments, view.gone, strict=True))

    def __contains__(self, sound_id: object) -> bool:
        return isinstance(sound_id, str) and bool(_find(self.view(), sound_id))

    def stats(self) -> dict[str, int]:
        """Sounds, segments, postings, postings dropped from crowded buckets, bytes."""
        view = self.view()
        return {
            "sounds": sum(len(segment) - len(gone) for segment, gone in zip(view.segments, view.gone, strict=True)),
            "segments": len(view.segments),
            "postings": sum(len(segment.postings) for segment in view.segments),
            "dropped": sum(segment.dropped for segment in view.segments),
            "bytes": sum(segment.size for segment in view.segments),
        }

    def verify(self) -> None:
        """Read every byte and compare checksums. Raises `IndexCorrupt`."""
        for segment in self.view().segments:
            segment.verify()

    def view(self) -> DiskView:
        """The index as it is now, other processes' changes among it."""
        self.reload()
        return self._view

    def reload(self) -> bool:
        """Take up a newer manifest. Costs one `stat` if there is none. True if there was one."""
        if stamp(self._path) == self._stamp:
            return False
        with self._guard:
            return self._reload()

    def _reload(self) -> bool:
        known = {segment.name: segment for segment in self._view.segments}
        for attempt in range(OPEN_ATTEMPTS):
            seen = stamp(self._path)
            if seen == self._stamp:
                return False
            if seen is None:
                # A reader that comes before the first writer: nothing yet.
                self._view, self._stamp = DiskView(0, 0, (), ()), None
                return True
            try:
                self._view = read_manifest(self._path, known)
            except FileNotFoundError:
                # A writer merged the segments away after the manifest was read. With the same manifest: they are lost.
                if attempt and stamp(self._path) == seen:
                    break
                continue
            self._stamp = seen
            return True
        raise IndexCorrupt("a segment is missing")

    def add(self, sounds: Iterable[Added]) -> int:
        """Add sounds, all or none. A sound that is there with the same sequence number is left; with another, replaced.

        Returns:
            How many are new.
        """
        return self.update(sounds, ())[0]

    def remove(self, sound_id: str, seq: int = 0) -> bool:
        """Forget a sound; `seq` is the store's sequence number of that, if it has one. True if it was there."""
        return bool(self.update((), [(seq, sound_id)])[1])

    def update(self, added: Iterable[Added], removed: Iterable[tuple[int, str]]) -> tuple[int, int]:
        """Add and remove sounds, all or none: a page of the store's changes, in which `last_seq` MUST not run ahead.

        Args:
            added: see `Added`.
            removed: sequence number (0: none) and sound_id.

        Returns:
            How many were added, and how many were there to be removed.
        """
        latest = {sound_id: (seq, kind, title, fingerprint) for seq, sound_id, kind, title, fingerprint in added}
        leaving = {sound_id: seq for seq, sound_id in removed}
        with self._guard, lock(self._path):
            self._reload()
            view = self._view
            gone = [set(numbers) for numbers in view.gone]
            absent = 0
            for sound_id in leaving:
                places = _find(view, sound_id)
                absent += not places
                for at, number in places:
                    gone[at].add(number)
            fresh = []
            for sound_id, (seq, kind, title, fingerprint) in latest.items():
                places = _find(view, sound_id)
                if any(int(view.segments[at].seqs[number]) == seq for at, number in places):
                    continue
                for at, number in places:
                    gone[at].add(number)
                fresh.append((SoundEntry(seq, sound_id, kind, title, fingerprint.frames), fingerprint))
            last_seq = max(view.last_seq, *(seq for seq, *_ in latest.values()), *leaving.values(), 0)
            if fresh or len(leaving) > absent or last_seq != view.last_seq:
                self._replace(view, gone, fresh, last_seq, everything=False)
            return len(fresh), len(leaving) - absent

    def compact(self) -> None:
        """Merge all segments into one, without what was removed."""
        with self._guard, lock(self._path):
            self._reload()
            if len(self._view.segments) > 1 or any(self._view.gone):
                gone = [set(numbers) for numbers in self._view.gone]
                self._replace(self._view, gone, [], self._view.last_seq, everything=True)

    def _replace(
        self,
        view: DiskView,
        gone: list[set[int]],
        fresh: Sequence[tuple[SoundEntry, Fingerprint]],
        last_seq: int,
        everything: bool,
    ) -> None:
        """Write a segment of what is fresh and what is merged with it, then switch the manifest, then clear away."""
        name = f"{view.generation + 1:012d}-{secrets.token_hex(4)}{SUFFIX}"
        written, added = self._path / (name + ".tmp"), self._path / (name + ".added.tmp")
        kept: list[Part] = []
        merged: list[Part] = []
        size = sum(len(fingerprint.hashes) for _, fingerprint in fresh)
        growing = bool(fresh)
        for segment, numbers in reversed(list(zip(view.segments, gone, strict=True))):
            growing = growing and len(segment.postings) <= MERGE_RATIO * size
            if everything or growing or 2 * len(numbers) > len(segment):
                if len(numbers) < len(segment):
                    merged.insert(0, (segment, frozenset(numbers)))
                size += len(segment.postings)
            else:
                kept.insert(0, (segment, frozenset(numbers)))
        if fresh:
            write_segment(added if merged else written, rows_of(fresh))
            if merged:
                merged.append((Segment(added), frozenset()))
        if merged:
            merge(written, merged)
        if fresh or merged:
            written.rename(self._path / name)
            kept.append((Segment(self._path / name), frozenset()))
        segments = tuple(segment for segment, _ in kept)
        now = DiskView(view.generation + 1, last_seq, segments, tuple(numbers for _, numbers in kept))
        write_manifest(self._path, now)
        self._view, self._stamp = now, stamp(self._path)
        sweep(self._path, {segment.name for segment in segments})


def _find(view: DiskView, sound_id: str) -> list[tuple[int, int]]:
    """Segment and number of each living sound with this id."""
    return [
        (at, number)
        for at, segment in enumerate(view.segments)
        for number in segment.find(sound_id)
        if number not in view.gone[at]
    ]
