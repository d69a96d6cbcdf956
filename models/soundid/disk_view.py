"""The view of an index on this machine's disk: the segments that one manifest named."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import numpy.typing as npt

from models.soundid.bass import NO_BASS
from models.soundid.jit import compiled
from models.soundid.segment import LINE_STEP, Segment, SoundEntry
from models.soundid.view import MAX_POSTINGS, BassTable


@dataclass(frozen=True)
class Postings:
    """The `Hits` of a lookup."""

    rows: npt.NDArray[np.int32]
    sounds: npt.NDArray[np.int32]
    times: npt.NDArray[np.int32]


@dataclass(frozen=True)
class KeptBass:
    """The `BassLine` of sounds on the disk."""

    words: npt.NDArray[np.uint64]
    sounds: npt.NDArray[np.int64]
    starts: npt.NDArray[np.int64]


@dataclass(frozen=True)
class DiskView:
    """The segments that one manifest named."""

    generation: int
    last_seq: int
    segments: tuple[Segment, ...]
    gone: tuple[frozenset[int], ...]
    """By segment, the numbers of the sounds that were removed."""
    _bass: dict[int, KeptBass] = field(default_factory=dict, init=False, repr=False, compare=False)

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

    def signs(self, sound: int) -> npt.NDArray[np.uint8]:
        """Signs of its whitened waveform."""
        segment, number = self._locate(sound)
        return segment.signs(number)

    def bass_tables(self) -> Sequence[BassTable]:
        """See `IndexView.bass_tables`; mapped."""
        return self._tables

    @cached_property
    def _tables(self) -> list[BassTable]:
        firsts = np.cumsum([0, *map(len, self.segments)])[:-1]
        return [BassTable(s.bass, int(first), s.bass_ends) for s, first in zip(self.segments, firsts, strict=True)]

    def bass(self, most: int) -> KeptBass:
        """See `IndexView.bass`; put together once."""
        if most not in self._bass:
            words, sounds, lengths = [NO_BASS], [np.zeros(0, np.int64)], [np.zeros(1, np.int64)]
            room = most
            for table, gone in zip(reversed(self._tables), reversed(self.gone), strict=True):
                begin = int(np.searchsorted(table.ends, table.ends[-1] - room))
                numbers = np.arange(begin, len(table.ends) - 1)
                words.append(table.words[table.ends[begin] :])
                sounds.append(np.where(np.isin(numbers, list(gone)), -1, table.first + numbers))
                lengths.append(np.diff(table.ends[begin:]))
                room -= len(words[-1])
                if begin:
                    break
            starts = np.cumsum(np.concatenate(lengths))
            self._bass[most] = KeptBass(np.concatenate(words), np.concatenate(sounds), starts)
        return self._bass[most]

    def effects(self, longest: int) -> list[int]:
        """Numbers of the short effects."""
        first, found = 0, []
        for segment, gone in zip(self.segments, self.gone, strict=True):
            found += [first + number for number in segment.effects(longest) if number not in gone]
            first += len(segment)
        return found

    def lengths(self, sounds: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Lengths of these sounds, frames."""
        return self._lengths[sounds]

    @cached_property
    def _lengths(self) -> npt.NDArray[np.int64]:
        return np.concatenate([np.zeros(0, np.int64), *(np.diff(s.starts.astype(np.int64)) for s in self.segments)])

    def lookup(
        self,
        hashes: npt.NDArray[np.uint32],
        most: int = MAX_POSTINGS,
        worth: npt.NDArray[np.float32] | None = None,
    ) -> Postings:
        """See `IndexView.lookup`."""
        found = [segment.ranges(hashes) for segment in self.segments]
        counts = sum((count for _, count in found), np.zeros(len(hashes), dtype=np.int64))
        wanted = affordable(counts, most, worth)
        parts = []
        first = 0
        for segment, gone, (begin, count) in zip(self.segments, self.gone, found, strict=True):
            rows, sounds, times = gather(
                begin, count, wanted, segment.postings, segment.starts, segment.sound_at, first
            )
            if gone:
                alive = ~np.isin(sounds - first, np.fromiter(gone, dtype=np.int32))
                rows, sounds, times = rows[alive], sounds[alive], times[alive]
            parts.append((rows, sounds, times))
            first += len(segment)
        if len(parts) == 1:
            return Postings(*parts[0])
        none = [np.zeros(0, dtype=np.int32)]
        return (
            Postings(*(np.concatenate([*none, *column]) for column in zip(*parts, strict=True)))
            if parts
            else Postings(*none * 3)
        )


@compiled
def gather(
    begin: npt.NDArray[np.int64],
    count: npt.NDArray[np.int64],
    wanted: npt.NDArray[np.bool_],
    postings: npt.NDArray[np.uint32],
    starts: npt.NDArray[np.uint32],
    sound_at: npt.NDArray[np.int32],
    first: int,
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32], npt.NDArray[np.int32]]:
    """For each posting of the wanted ranges its row, its sound, counted from `first`, and its frame in that."""
    total = 0
    for row in range(len(begin)):
        if wanted[row]:
            total += count[row]
    rows, sounds, times = np.empty(total, np.int32), np.empty(total, np.int32), np.empty(total, np.int32)
    at = 0
    last = len(starts) - 2
    for row in range(len(begin)):
        if not wanted[row]:
            continue
        for place in range(begin[row], begin[row] + count[row]):
            posting = postings[place]
            low = sound_at[min(posting // LINE_STEP, len(sound_at) - 1)]
            while low < last and starts[low + 1] <= posting:
                low += 1
            rows[at] = row
            sounds[at] = first + low
            times[at] = posting - starts[low]
            at += 1
    return rows, sounds, times


def affordable(
    counts: npt.NDArray[np.int64], most: int, worth: npt.NDArray[np.float32] | None = None
) -> npt.NDArray[np.bool_]:
    """Which buckets may be read, so that all together stay within `most`: those of the most worth a posting.

    Of those that are equal in that and do not all fit, as many as do, from all over the query.
    """
    if int(counts.sum()) <= most:
        return np.ones(len(counts), dtype=np.bool_)
    # An order of the rows that is spread over the query after any number of them: steps of the golden section.
    spread = np.argsort(np.arange(len(counts)) * 0.6180339887498949 % 1.0)
    cost = counts[spread] / (1.0 if worth is None else worth[spread])
    order = spread[np.argsort(cost, kind="stable")]
    wanted = np.zeros(len(counts), dtype=np.bool_)
    wanted[order[: int(np.searchsorted(np.cumsum(counts[order]), most, side="right"))]] = True
    return wanted
