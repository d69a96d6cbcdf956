"""What a matcher sees of an index: its protocol, and the view of the segments on this machine's disk."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from models.soundid.segment import Segment, SoundEntry, expand

MAX_POSTINGS = 3_000_000
"""Postings that one lookup gives at most; the most frequent hashes are left out first."""


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
