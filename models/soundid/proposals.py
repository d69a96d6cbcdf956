"""Alignments of known sounds with an upload that its pairs of peaks vote for (Wang 2003), under each way of playing.

The index knows each sound as it is. For a *playing* - faster, slower, pitched, or all of a plain change of speed - the
upload's peaks are moved to where they would be in the sound, hashed there and looked up; the sound, and where in it,
that most pairs agree upon beyond chance is a proposal. Proposals are cheap and often wrong.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

from models.soundid.features import BIN_STEPS, BINS_PER_OCTAVE, HOP, WINDOW, Peaks
from models.soundid.jit import compiled
from models.soundid.pairs import HASH_BITS, QueryPairs, query_pairs
from models.soundid.view import PairTable

STEPS_PER_SEMITONE = BIN_STEPS * BINS_PER_OCTAVE / 12
HALF_WINDOW = WINDOW / 2 / HOP
"""A frame's time is its middle: so many frames after its beginning."""
CELL_FRAMES = 4
"""Width of the cells that votes are counted in, frames of the sound; two neighbours are counted as one."""
MIN_VOTES = 5
BEST = 24
"""Proposals of one playing."""
MIN_GAIN = 9.0
"""What votes must be worth for an alignment to be looked at, nats."""
JUDGED = 40
"""Alignments of a block and round that are judged, the best first."""
SAME_FRAMES = 25
"""Proposals of one sound that are so near in the middle of the block are one."""
LEAST_CHANCE = 0.05
ROW_POSTINGS = 1.2 / 2**HASH_BITS
"""Postings of a hash for each frame of an index, if all hashes were equally frequent."""
ROWS, LEAST_ROWS = 2, 500
"""Pairs that are looked up: so many times as many as could be answered if all hashes were equally frequent."""
SPEED_STEP = 0.024
"""Between the speeds that are tried, natural logarithm."""


@dataclass(frozen=True)
class Playing:
    """A way to play a sound: how fast, and how high, against the catalogue's."""

    tempo: float
    semitones: float

    @property
    def resampled(self) -> bool:
        """Whether it is a plain change of speed (or none), which keeps phases."""
        return abs(self.semitones - 12 * math.log2(self.tempo)) < 0.01


AS_IT_IS = Playing(1.0, 0.0)


@dataclass(frozen=True)
class Alignment:
    """Where and how a sound may lie in an upload.

    Time t of the upload (frames of the waveform, not of the middles of windows) is time `tempo * t + offset` of the
    sound; a tone of the sound is `steps` (1/`BIN_STEPS` bands) higher in the upload.
    """

    sound: int
    tempo: float
    steps: float
    offset: float
    gain: float
    """What the votes are worth, nats."""
    playing: Playing


@cache
def bank() -> tuple[Playing, ...]:
    """The playings that are tried where nothing is found as it is: speed, tempo alone, pitch alone.

    Half a step away from any of them, a pair of peaks still falls into its cell or the next.
    """
    speeds = [math.exp(SPEED_STEP * step) for step in range(-10, 11) if step]
    tempi = (0.80, 0.84, 0.88, 0.92, 0.96, 1.04, 1.085, 1.13, 1.18, 1.25)
    shifts = (-3, -2.5, -2, -1.5, -1, -0.5, 0.5, 1, 1.5, 2, 2.5, 3)
    return (
        *(Playing(speed, 12 * math.log2(speed)) for speed in speeds),
        *(Playing(tempo, 0.0) for tempo in tempi),
        *(Playing(1.0, float(shift)) for shift in shifts),
    )


@dataclass(frozen=True)
class Ballot:
    """The votes of an upload's pairs under one playing, each for a sound and where in it, not counted yet.

    Attributes:
        sounds: int32 [votes], numbers in the view.
        shift: float64 [votes], time in the sound less the peak's, frames.
        anchors: int32 [votes], the peaks that vote, by their pairs' first.
        span_frames: from the first peak to the last.
    """

    playing: Playing
    sounds: npt.NDArray[np.int32]
    shift: npt.NDArray[np.float64]
    anchors: npt.NDArray[np.int32]
    span_frames: float


def propose(view: PairTable, peaks: Peaks, playing: Playing, most: int) -> list[Alignment]:
    """The alignments that the most pairs vote for, the best first.

    Args:
        view: the index.
        peaks: of the upload, or of a part of it.
        playing: how the sound is taken to be played.
        most: postings that are read at most.
    """
    return counted(view, cast(view, peaks, playing, most))


def cast(view: PairTable, peaks: Peaks, playing: Playing, most: int) -> Ballot:
    """The votes; arguments as in `propose`."""
    steps = playing.semitones * STEPS_PER_SEMITONE
    if len(peaks) == 0:
        return Ballot(playing, np.zeros(0, np.int32), np.zeros(0), np.zeros(0, np.int32), 0.0)
    times = np.asarray((peaks.times + HALF_WINDOW) * playing.tempo, dtype=np.float64)
    pairs = promising(query_pairs(times, np.asarray(peaks.bins - steps, dtype=np.float64), peaks.ranks), view, most)
    hits = view.lookup(pairs.hashes, most, pairs.worth)
    anchors = pairs.anchors[hits.rows]
    shift = np.asarray(hits.times + HALF_WINDOW - times[anchors], dtype=np.float64)
    return Ballot(playing, hits.sounds, shift, anchors, float(times[-1] - times[0]))


def counted(view: PairTable, ballot: Ballot) -> list[Alignment]:
    """The `BEST` alignments of those with enough votes, the most surprising first."""
    if len(ballot.sounds) == 0:
        return []
    keys, number, order = _vote(ballot.sounds, ballot.shift, ballot.anchors, MIN_VOTES)
    if len(keys) == 0:
        return []
    sounds, playing = keys >> _CELL_BITS, ballot.playing
    totals = np.bincount(ballot.sounds)[sounds]
    chance = np.maximum(LEAST_CHANCE, 2 * CELL_FRAMES * totals / (view.lengths(sounds) + ballot.span_frames))
    gain = surprise(number, chance)
    return [
        Alignment(
            int(sounds[at]),
            playing.tempo,
            playing.semitones * STEPS_PER_SEMITONE,
            float(((int(keys[at]) & _CELL_MASK) + 1 - _ZERO_CELL) * CELL_FRAMES),
            float(gain[at]),
            playing,
        )
        for at in np.lexsort((order, -gain))[:BEST]
        if gain[at] > 0
    ]


def cells(ballot: Ballot, votes: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Sounds, and offsets in them to a cell, of all alignments with so many votes."""
    if len(ballot.sounds) == 0:
        return np.zeros(0, np.int64), np.zeros(0)
    keys = _vote(ballot.sounds, ballot.shift, ballot.anchors, votes)[0]
    return keys >> _CELL_BITS, (((keys & _CELL_MASK) + 1 - _ZERO_CELL) * CELL_FRAMES).astype(np.float64)


def distinct(alignments: Iterable[Alignment], middle: float) -> list[Alignment]:
    """The alignments worth a look, the best first; of those of one sound that agree in the middle, the best."""
    kept: list[Alignment] = []
    for alignment in sorted(alignments, key=lambda one: -one.gain):
        if alignment.gain < MIN_GAIN or len(kept) == JUDGED:
            break
        here = alignment.tempo * middle + alignment.offset
        # As it is, a sound is judged at its own tempo: another playing's cannot stand for it.
        if not any(
            other.sound == alignment.sound
            and (other.playing == AS_IT_IS) == (alignment.playing == AS_IT_IS)
            and abs(other.tempo * middle + other.offset - here) < SAME_FRAMES
            for other in kept
        ):
            kept.append(alignment)
    return kept


def promising(pairs: QueryPairs, view: PairTable, most: int) -> QueryPairs:
    """The pairs worth looking up: all, if `most` may answer most of them; else the likeliest.

    Looking a hash up costs as much as reading a few of its postings, and in a large index few hashes can be answered.
    """
    if view.frames * ROW_POSTINGS * len(pairs.worth) <= most:
        return pairs
    number = max(LEAST_ROWS, int(ROWS * most / (view.frames * ROW_POSTINGS)))
    if len(pairs.worth) <= number:
        return pairs
    rows = np.sort(np.argpartition(-pairs.worth, number)[:number])
    return QueryPairs(pairs.hashes[rows], pairs.anchors[rows], pairs.worth[rows])


def surprise(count: npt.NDArray[np.int64], expected: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Log-likelihood ratio of a Poisson count against its expectation; 0 below it."""
    ratio = np.maximum(count / expected, 1.0)
    return np.asarray(count * np.log(ratio) - count + count / ratio)


_CELL_BITS = 24
_CELL_MASK = 2**_CELL_BITS - 1
_ZERO_CELL = 2**22
"""Offsets are negative where a sound begins within the upload."""
_SCATTER = 0x1E3779B97F4A7C15


@compiled
def _vote(
    sounds: npt.NDArray[np.int32], shift: npt.NDArray[np.float64], anchors: npt.NDArray[np.int32], least: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Cells (sound and offset) that have `least` votes together with the next, and how many: at most one of a peak.

    The hits of one sound MUST be in the order of their peaks. Cells are held in a hash table of open addressing.
    """
    cells, anchors = _in_company(sounds, shift, anchors, least)
    size = 1024
    while size < 2 * len(cells):
        size *= 2
    mask = size - 1
    keys = np.full(size, -1, np.int64)
    counts = np.zeros(size, np.int32)
    last = np.full(size, -1, np.int32)
    used = np.empty(len(cells), np.int64)
    occupied = 0
    for hit in range(len(cells)):
        key = cells[hit]
        slot = ((key * _SCATTER) >> 20) & mask
        while keys[slot] != key and keys[slot] != -1:
            slot = (slot + 1) & mask
        if keys[slot] == -1:
            keys[slot] = key
            used[occupied] = slot
            occupied += 1
        if last[slot] != anchors[hit]:
            last[slot] = anchors[hit]
            counts[slot] += 1
    found = np.empty(occupied, np.int64)
    votes = np.empty(occupied, np.int64)
    order = np.empty(occupied, np.int64)
    size = 0
    for at in range(occupied):
        slot = used[at]
        key = keys[slot]
        both = counts[slot]
        if 2 * both < least:  # neither this one nor the other could be the greater half
            continue
        neighbours = np.zeros(2, np.int64)
        for side in range(2):
            other = key + (1 if side == 0 else -1)
            there = ((other * _SCATTER) >> 20) & mask
            while keys[there] != other and keys[there] != -1:
                there = (there + 1) & mask
            neighbours[side] = counts[there] if keys[there] == other else 0
        # Of the pairs that a cell is in, the better one.
        if both + neighbours[0] >= least and neighbours[0] >= neighbours[1]:
            found[size], votes[size], order[size] = key, both + neighbours[0], size
            size += 1
        elif both + neighbours[1] >= least and neighbours[1] > neighbours[0]:
            found[size], votes[size], order[size] = key - 1, both + neighbours[1], size
            size += 1
    return found[:size], votes[:size], order[:size]


@compiled
def _in_company(
    sounds: npt.NDArray[np.int32], shift: npt.NDArray[np.float64], anchors: npt.NDArray[np.int32], least: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int32]]:
    """Cells and peaks of the hits whose cell may have `least` votes with the next: nearly all others stand alone.

    Counted in a table that is small enough for the processor's cache, in which cells may fall together.
    """
    cells, kept_anchors = np.empty(len(sounds), np.int64), np.empty(len(sounds), np.int32)
    size = 1 << 16
    while size < 4 * len(sounds):
        size *= 2
    crowd = np.zeros(size, np.uint8)
    mask = size - 1
    for hit in range(len(sounds)):
        key = (np.int64(sounds[hit]) << _CELL_BITS) | (int(np.floor(shift[hit] / CELL_FRAMES)) + _ZERO_CELL)
        cells[hit] = key
        # Neighbouring cells lie beside each other, sounds anywhere.
        place = (key + (key >> _CELL_BITS) * _SCATTER) & mask
        if crowd[place] < 255:
            crowd[place] += 1
    kept = 0
    for hit in range(len(sounds)):
        key = cells[hit]
        place = (key + (key >> _CELL_BITS) * _SCATTER) & mask
        if crowd[place] + max(crowd[(place - 1) & mask], crowd[(place + 1) & mask]) >= least:
            cells[kept], kept_anchors[kept] = key, anchors[hit]
            kept += 1
    return cells[:kept], kept_anchors[:kept]
