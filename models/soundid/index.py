"""The sound index: which sounds hold a hash, and when.

`SoundIndex` and `IndexView` are all that the matcher knows; `DiskIndex` is the node-local one: immutable segments,
memory-mapped, and a manifest that is switched atomically. The store is its truth: it carries the store's sequence
number as far as it has come, and can be made again at any time.

Manifest history: 1 - first version.
"""

from __future__ import annotations

import json
import os
import secrets
import threading
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from models.soundid.fingerprint import Fingerprint
from models.soundid.segment import (
    IndexCorrupt,
    Segment,
    SoundEntry,
    expand,
    extend,
    rows_of,
    write_segment,
)

FORMAT = 1
MAX_POSTINGS = 3_000_000
"""Postings that one lookup gives at most; the most frequent hashes are left out first."""
MERGE_RATIO = 2
"""A segment no more than so many times as long as what is added is merged with it: their number stays logarithmic."""
OPEN_ATTEMPTS = 20
"""Manifests read in a row while a writer replaces the segments that they name."""
MANIFEST = "manifest.json"
SUFFIX = ".segment"

Added = tuple[int, str, str, str | None, Fingerprint]
"""Sequence number in the store, sound_id, kind, title, fingerprint."""


@dataclass(frozen=True)
class Postings:
    """What a lookup found: for each hit its row in the query, the sound's number in the view, the frame in it."""

    rows: npt.NDArray[np.int64]
    sounds: npt.NDArray[np.int64]
    times: npt.NDArray[np.int64]


class IndexView(Protocol):
    """An index at one moment. MUST NOT change; numbers of sounds hold within it only."""

    @property
    def frames(self) -> int:
        """Length of all sounds together, frames."""

    def lookup(self, hashes: npt.NDArray[np.uint32]) -> Postings:
        """Postings of these hashes (any order). MUST bound what it gives, whatever is asked."""

    def entry(self, sound: int) -> SoundEntry:
        """The sound of that number."""

    def peaks(self, sound: int) -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.uint16]]:
        """Times and bins of its peaks, ascending in time."""


class SoundIndex(Protocol):
    """What a `Matcher` needs. MUST be safe to call from many threads."""

    def view(self) -> IndexView:
        """The index as it is now."""


@dataclass(frozen=True)
class DiskView:
    """The segments that one manifest named."""

    generation: int
    last_seq: int
    segments: tuple[Segment, ...]
    gone: tuple[frozenset[int], ...]
    """By segment, the numbers of the sounds that were removed."""

    @property
    def frames(self) -> int:
        """Length of all sounds together, frames."""
        return sum(int(segment.starts[-1]) for segment in self.segments)

    def _locate(self, sound: int) -> tuple[Segment, int]:
        for segment in self.segments:
            if sound < len(segment):
                return segment, sound
            sound -= len(segment)
        raise IndexError(sound)

    def entry(self, sound: int) -> SoundEntry:
        """The sound of that number."""
        segment, number = self._locate(sound)
        return segment.entry(number)

    def peaks(self, sound: int) -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.uint16]]:
        """Times and bins of its peaks."""
        segment, number = self._locate(sound)
        return segment.peaks(number)

    def lookup(self, hashes: npt.NDArray[np.uint32]) -> Postings:
        """See `IndexView.lookup`."""
        order = np.argsort(hashes, kind="stable")
        ascending = hashes[order]
        found = [segment.ranges(ascending) for segment in self.segments]
        most = _affordable(np.sum([count for _, count in found], axis=0)) if found else 0
        rows, sounds, times = [], [], []
        first = 0
        for segment, gone, (begin, count) in zip(self.segments, self.gone, found, strict=True):
            held = np.where(count <= most, count, 0)
            line = segment.postings[expand(begin, held)]
            row = np.repeat(order, held)
            number = np.searchsorted(segment.starts[1:-1], line, side="right")
            if gone:
                alive = ~np.isin(number, np.fromiter(gone, dtype=np.int64))
                line, row, number = line[alive], row[alive], number[alive]
            rows.append(row)
            sounds.append(number + first)
            times.append(line.astype(np.int64) - segment.starts[number])
            first += len(segment)
        none = [np.zeros(0, dtype=np.int64)]
        return Postings(*(np.concatenate(none + parts).astype(np.int64) for parts in (rows, sounds, times)))


def _affordable(counts: npt.NDArray[np.int64]) -> int:
    """The longest bucket that may be read, so that all together stay within `MAX_POSTINGS`."""
    if int(counts.sum()) <= MAX_POSTINGS:
        return int(counts.max(initial=0))
    ascending = np.sort(counts)
    fits = int(np.searchsorted(np.cumsum(ascending), MAX_POSTINGS, side="right"))
    # Ties go together: those as long as the first that does not fit are left out too.
    return int(ascending[fits]) - 1


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
        with _lock(path):
            _write_manifest(path, DiskView(secrets.randbits(40), 0, (), ()))
            _sweep(path, set())
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
        if _stamp(self._path) == self._stamp:
            return False
        with self._guard:
            return self._reload()

    def _reload(self) -> bool:
        known = {segment.name: segment for segment in self._view.segments}
        for attempt in range(OPEN_ATTEMPTS):
            stamp = _stamp(self._path)
            if stamp == self._stamp:
                return False
            if stamp is None:
                # A reader that comes before the first writer: nothing yet.
                self._view, self._stamp = DiskView(0, 0, (), ()), None
                return True
            try:
                self._view = _read_manifest(self._path, known)
            except FileNotFoundError:
                # A writer merged the segments away after the manifest was read. With the same manifest: they are lost.
                if attempt and _stamp(self._path) == stamp:
                    break
                continue
            self._stamp = stamp
            return True
        raise IndexCorrupt("a segment is missing")

    def add(self, sounds: Iterable[Added]) -> int:
        """Add sounds, all or none. A sound that is there with the same sequence number is left; with another, replaced.

        Returns:
            How many are new.
        """
        latest = {sound_id: (seq, kind, title, fingerprint) for seq, sound_id, kind, title, fingerprint in sounds}
        if not latest:
            return 0
        with self._guard, _lock(self._path):
            self._reload()
            view = self._view
            gone = [set(numbers) for numbers in view.gone]
            fresh = []
            for sound_id, (seq, kind, title, fingerprint) in latest.items():
                places = _find(view, sound_id)
                if any(int(view.segments[at].seqs[number]) == seq for at, number in places):
                    continue
                for at, number in places:
                    gone[at].add(number)
                fresh.append((SoundEntry(seq, sound_id, kind, title, fingerprint.frames), fingerprint))
            last_seq = max(view.last_seq, *(seq for seq, *_ in latest.values()))
            if fresh or last_seq != view.last_seq:
                self._replace(view, gone, fresh, last_seq, everything=False)
            return len(fresh)

    def remove(self, sound_id: str, seq: int = 0) -> bool:
        """Forget a sound; `seq` is the store's sequence number of that, if it has one. True if it was there."""
        with self._guard, _lock(self._path):
            self._reload()
            view = self._view
            places = _find(view, sound_id)
            gone = [set(numbers) for numbers in view.gone]
            for at, number in places:
                gone[at].add(number)
            if places or seq > view.last_seq:
                self._replace(view, gone, [], max(view.last_seq, seq), everything=False)
            return bool(places)

    def compact(self) -> None:
        """Merge all segments into one, without what was removed."""
        with self._guard, _lock(self._path):
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
        rows = rows_of(fresh)
        kept: list[tuple[Segment, frozenset[int]]] = []
        size = sum(len(hashes) for hashes in rows.hashes)
        growing = bool(fresh)
        for segment, numbers in reversed(list(zip(view.segments, gone, strict=True))):
            growing = growing and len(segment.postings) <= MERGE_RATIO * size
            if everything or growing or 2 * len(numbers) > len(segment):
                extend(rows, segment, sorted(numbers))
                size += len(segment.postings)
            else:
                kept.insert(0, (segment, frozenset(numbers)))
        if rows.entries:
            name = f"{view.generation + 1:012d}-{secrets.token_hex(4)}{SUFFIX}"
            written = self._path / (name + ".tmp")
            write_segment(written, rows)
            written.rename(self._path / name)
            kept.append((Segment(self._path / name), frozenset()))
        segments = tuple(segment for segment, _ in kept)
        now = DiskView(view.generation + 1, last_seq, segments, tuple(numbers for _, numbers in kept))
        _write_manifest(self._path, now)
        self._view, self._stamp = now, _stamp(self._path)
        _sweep(self._path, {segment.name for segment in segments})


def _find(view: DiskView, sound_id: str) -> list[tuple[int, int]]:
    """Segment and number of each living sound with this id."""
    return [
        (at, number)
        for at, segment in enumerate(view.segments)
        for number in segment.find(sound_id)
        if number not in view.gone[at]
    ]


def _lock(path: Path) -> Any:
    """One writer among all processes; the lock of one that dies is freed by the system."""
    from filelock import FileLock

    return FileLock(path / "lock", timeout=600)


def _stamp(path: Path) -> tuple[int, ...] | None:
    """What changes whenever the manifest is switched."""
    try:
        status = (path / MANIFEST).stat()
    except FileNotFoundError:
        return None
    return (status.st_ino, status.st_mtime_ns, status.st_size)


def _read_manifest(path: Path, known: dict[str, Segment]) -> DiskView:
    try:
        manifest = json.loads((path / MANIFEST).read_bytes())
        version = int(manifest["format"])
        if version != FORMAT:
            raise IndexCorrupt(f"manifest of format {version}; this version reads {FORMAT}")
        names = [str(entry["name"]) for entry in manifest["segments"]]
        gone = [frozenset(int(number) for number in entry["gone"]) for entry in manifest["segments"]]
        generation, last_seq = int(manifest["generation"]), int(manifest["last_seq"])
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise IndexCorrupt(f"{type(error).__name__} in the manifest") from error
    if any(Path(name).name != name or not name.endswith(SUFFIX) for name in names):
        raise IndexCorrupt("a name in the manifest")
    segments = tuple(known.get(name) or Segment(path / name) for name in names)
    if any(numbers and max(numbers) >= len(segment) for segment, numbers in zip(segments, gone, strict=True)):
        raise IndexCorrupt("a removed sound that never was")
    return DiskView(generation, last_seq, segments, tuple(gone))


def _write_manifest(path: Path, view: DiskView) -> None:
    entries = [
        {"name": segment.name, "gone": sorted(gone)} for segment, gone in zip(view.segments, view.gone, strict=True)
    ]
    manifest = {"format": FORMAT, "generation": view.generation, "last_seq": view.last_seq, "segments": entries}
    written = path / (MANIFEST + ".tmp")
    with written.open("w") as file:
        json.dump(manifest, file)
        file.flush()
        os.fsync(file.fileno())
    # The segment's name must be on the disk before the manifest that names it, and then the manifest's.
    _sync(path)
    written.replace(path / MANIFEST)
    _sync(path)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _sweep(path: Path, keep: set[str]) -> None:
    """Unlink the segments that no manifest names: merged ones, and what a killed writer left. Under the lock."""
    for file in (*path.glob(f"*{SUFFIX}"), *path.glob(f"*{SUFFIX}.tmp")):
        if file.name not in keep:
            with suppress(FileNotFoundError):
                file.unlink()
