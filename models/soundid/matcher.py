"""Which known sounds an upload uses, where, and from where in them.

Pairs of peaks vote for alignments of a sound with the upload (Wang 2003); the best few are then *verified* peak by
peak: how many of the sound's strongest peaks are in the upload where the alignment says. What that is worth is a
log-likelihood ratio against chance, and chance is measured on the very same two sounds at other alignments, so that
a shared key, a dense texture or a busy upload raise the bar for themselves. The best-scoring stretch is the range, as
in local sequence alignment (Karlin and Altschul, PNAS 1990), whose theory also says what the search itself costs:
the logarithm of the alignments that were possible.

Several sounds are found one after another, each in what the ones before leave unexplained.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from models.soundid.features import BIN_STEPS, BINS, HOP, HOP_S, WINDOW, Peaks
from models.soundid.fingerprint import EDGE, Fingerprint, pairs
from models.soundid.index import IndexView, Postings, SoundIndex

BLOCK_FRAMES = 1200
"""The upload is searched in blocks of 12 s ..."""
STEP_FRAMES = 800
"""... every 8 s: any 4 s lie within one."""
CELL_FRAMES = 2
"""Width of the cells that votes are counted in, frames; a pair of neighbours is counted as one."""
VOTED = 400
"""Alignments whose votes are counted exactly, ..."""
VERIFIED = 24
"""... and of them those that are verified, in each block and round."""
MAX_ROUNDS = 6
"""Sounds searched one after another in a block."""
MAX_MATCHES = 40
"""Uses that one upload can have."""

NEAR_FRAMES, NEAR_BINS = 1, 1
"""A peak of the sound is there if the upload has one within so many frames and bands."""
JITTER = 2
"""Alignments tried on either side of a voted one, frames."""
LAGS = np.asarray([sign * (23 + 11 * k + (k * k) % 7) for k in range(24) for sign in (-1, 1)])
"""Other alignments at which chance is measured, frames: irregular, so that no beat falls on many of them."""
SHIFTS = np.asarray([sign * by for by in (3, 4, 5, 6, 7, 8, 10, 11) for sign in (-1, 1)])
"""Other bands at which it is measured."""
PRIOR = 8.0
"""How many of these the mean over the sound is worth, for one peak."""
MIN_CHANCE, CHANCE_UNKNOWN = 0.02, 0.1
INDEPENDENT = 0.6
"""What a peak says beside its neighbours: a note's partials and a beat's bands come and go together."""
SURVIVAL = (0.25, 0.6)
"""Shares of a sound's peaks that may live: under noise or other sounds, and re-encoded."""
DROP_S = 1.0
"""A range ends where so much of the sound is missing, s."""

MIN_MATCHED = 10
"""Matched peaks without which nothing is said, and ..."""
MIN_CELLS = 6
"""... the tenths of a second that they MUST be spread over: one vote each is all that a repeated tone has."""
RIVAL_LAGS = np.asarray([lag for lag in range(-1000, 1001) if abs(lag) >= 8])
"""Alignments nearby that an alignment must stand out from, frames: bars, and the chords that come back after them."""
RIVAL_SPAN = 1000
"""Half of the stretch that is looked at for that, frames."""
STANDS_OUT = 1.75
"""Odds of a matched peak, against the best of those alignments."""
REPEATS = 1.4
"""Another alignment counts if it agrees by this factor more than the sound's own repetition explains."""
NEARLY_ALL = 0.8
"""Share of a sound's peaks above which no alignment has to stand out."""
MAX_OVERLAP = 0.5
"""Share of a use that may lie in another use of the same sound: loops align with themselves in many ways."""
THRESHOLD = 5.0
"""Log-likelihood ratio above what the search costs, nats, from which on a use is believed: the operating point."""
SCORE_SCALE = 4.0
"""Nats above `THRESHOLD` in which the odds of the score grow by e."""
SNAP_S = 0.3
"""A range that ends so close to an end of the upload or of the sound reaches it."""


@dataclass(frozen=True)
class SoundMatch:
    """One use of a known sound.

    Attributes:
        sound_id, kind, title: as in the catalogue.
        score: 0.5 at the operating point to 1; odds, from the log-likelihood ratio.
        range: start and end in the upload, s.
        offset_s: where in the sound the range starts, s.
        speed: 1.0 is as in the catalogue.
        pitch_semitones: 0.0 is as in the catalogue.
    """

    sound_id: str
    kind: str
    title: str | None
    score: float
    range: tuple[float, float]
    offset_s: float
    speed: float = 1.0
    pitch_semitones: float = 0.0


@dataclass(frozen=True)
class _Use:
    """An alignment that was verified: frame `time` of the upload is frame `time + delta` of the sound."""

    sound: int
    delta: int
    gain: float
    """Log-likelihood ratio, nats, before the cost of the search."""
    start: int
    end: int
    """First and last matched frame in the upload."""
    matched: npt.NDArray[np.int64]
    """Frame and band (flat index of the grid) of each matched peak, where the alignment expects it."""


class _Grid:
    """Where an upload has peaks, widened by the tolerance: a picture that alignments are laid over."""

    def __init__(self, peaks: Peaks, frames: int) -> None:
        self.frames, self._bands = frames, BINS + 2 * NEAR_BINS + 1
        self._peaks = peaks
        self._at = (peaks.times.astype(np.int64) + NEAR_FRAMES) * self._bands + _bands(peaks.bins) + NEAR_BINS
        self._cells = (frames + 2 * NEAR_FRAMES) * self._bands
        self.explained = np.zeros(len(peaks), dtype=np.bool_)
        self.all = self._draw(self._at)
        self.rest = self.all.copy()

    def _draw(self, at: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
        picture = np.zeros(self._cells, dtype=np.bool_)
        for frame in range(-NEAR_FRAMES, NEAR_FRAMES + 1):
            for band in range(-NEAR_BINS, NEAR_BINS + 1):
                picture[at + frame * self._bands + band] = True
        return picture

    def cells(self, times: npt.NDArray[np.int64], bands: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Flat index of those frames (which MUST be within the upload) and bands."""
        return (times + NEAR_FRAMES) * self._bands + bands + NEAR_BINS

    def explain(self, matched: npt.NDArray[np.int64]) -> None:
        """Take the peaks that a use matched out of `rest`."""
        taken = self._draw(matched)
        self.explained |= taken[self._at]
        self.rest = self._draw(self._at[~self.explained])


def _bands(bins: npt.NDArray[np.uint16]) -> npt.NDArray[np.int64]:
    """Nearest whole band of refined bins."""
    return np.minimum((bins.astype(np.int64) + BIN_STEPS // 2) // BIN_STEPS, BINS)


class Matcher:
    """Finds known sounds. Safe to call from many threads, if its index is."""

    def __init__(self, index: SoundIndex) -> None:
        self._index = index

    def match(self, fingerprint: Fingerprint) -> list[SoundMatch]:
        """The uses of known sounds in an upload, by where they start. Empty: none that can be told from chance."""
        view = self._index.view()
        peaks = fingerprint.peaks
        if view.frames == 0 or len(peaks) < MIN_MATCHED:
            return []
        grid = _Grid(peaks, fingerprint.frames)
        # What was searched: every alignment of every sound, in each of which a stretch may begin anywhere.
        cost = math.log(max(2.0, (view.frames + fingerprint.frames) / CELL_FRAMES))
        uses: list[_Use] = []
        kin: list[_Use] = []
        for start in range(0, max(1, fingerprint.frames - (BLOCK_FRAMES - STEP_FRAMES)), STEP_FRAMES):
            if len(uses) >= MAX_MATCHES:
                break
            _search_block(view, peaks, grid, start, cost, uses, kin)
        uses.sort(key=lambda use: (use.start, -use.gain))
        return [_described(view, fingerprint, use, cost) for use in uses]


def _search_block(
    view: IndexView, peaks: Peaks, grid: _Grid, start: int, cost: float, uses: list[_Use], kin: list[_Use]
) -> None:
    """Find the uses that show in one block, best first, and add them to `uses`; what only resembles, to `kin`."""
    low, high = np.searchsorted(peaks.times, [start, start + BLOCK_FRAMES])
    open_ = np.flatnonzero(~grid.explained[low:high]) + low
    if len(open_) < MIN_MATCHED:
        return
    hashed = pairs(peaks.where(open_), edge=EDGE)
    hits = view.lookup(hashed.hashes)
    anchors = open_[hashed.anchors[hits.rows]]
    refused: set[tuple[int, int]] = set()
    candidates: list[_Use] | None = None
    for _ in range(MAX_ROUNDS):
        if candidates is None:
            live = ~grid.explained[anchors]
            votes = Postings(hits.rows[live], hits.sounds[live], hits.times[live])
            voted = _vote(view, votes, anchors[live], peaks.times, grid.frames)
            verified = (_verify(view, grid, sound, delta, start, start + BLOCK_FRAMES) for sound, delta in voted)
            candidates = [use for use in verified if use is not None and use.gain > cost + THRESHOLD]
        open_uses = (use for use in candidates if (use.sound, use.delta) not in refused)
        best = max(open_uses, key=lambda use: use.gain, default=None)
        if best is None:
            return
        refused.add((best.sound, best.delta))
        whole = _extend(view, grid, best)
        rivals = [delta for sound, delta in voted if sound == best.sound]
        # What resembles does so at many alignments: once it is known, the weaker ones are not asked.
        if not _is_new(whole, kin):
            continue
        if not _stands_out(view, grid, whole, rivals):
            kin.append(whole)
            continue
        if _is_new(whole, uses):
            uses.append(whole)
            if len(uses) >= MAX_MATCHES:
                return
        # Explained either way: what is not new is another copy of what was found.
        grid.explain(whole.matched)
        candidates = None


def _vote(
    view: IndexView,
    hits: Postings,
    anchors: npt.NDArray[np.int64],
    times: npt.NDArray[np.uint32],
    frames: int,
) -> list[tuple[int, int]]:
    """The alignments with the most votes above chance: sound and delta, best first. One vote a peak and cell."""
    if len(anchors) == 0:
        return []
    span = 1 << 33
    cell = (hits.times - times[anchors] + frames) // CELL_FRAMES
    key = hits.sounds * span + cell
    order = np.argsort(key, kind="stable")
    key, anchors = key[order], anchors[order]
    first = np.flatnonzero(np.concatenate([[True], key[1:] != key[:-1]]))
    cells, count = key[first], np.diff(np.append(first, len(key)))
    following = np.append(np.where(cells[1:] == cells[:-1] + 1, count[1:], 0), 0)
    both = count + following
    # Chance: the sound's votes spread over all its alignments.
    sounds, inverse = np.unique(cells // span, return_inverse=True)
    total = np.bincount(inverse, weights=count)
    length = np.asarray([view.entry(int(sound)).frames for sound in sounds])
    expected = 2 * (total / np.maximum(1.0, (length + frames) / CELL_FRAMES))[inverse]
    gain = _surprise(both, expected)
    # Of neighbours that share a cell, the better one.
    before = np.concatenate([[0.0], np.where(cells[1:] == cells[:-1] + 1, gain[:-1], 0.0)])
    after = np.append(np.where(cells[1:] == cells[:-1] + 1, gain[1:], 0.0), 0.0)
    gain = np.where((gain >= before) & (gain > after), gain, 0.0)
    top = np.argsort(-gain, kind="stable")[:VOTED]
    # One vote a peak and cell: several hashes of a peak that agree are not independent.
    voices = np.asarray([len(np.unique(anchors[first[at] : first[at] + both[at]])) for at in top])
    gain = _surprise(voices, expected[top])
    best = np.argsort(-gain, kind="stable")[:VERIFIED]
    return [
        (int(cells[at] // span), int(cells[at] % span) * CELL_FRAMES - frames + CELL_FRAMES - 1)
        for at in top[best[voices[best] >= 3]]
    ]


def _surprise(count: npt.NDArray[Any], expected: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Log-likelihood ratio of a Poisson count against its expectation; 0 below it."""
    ratio = np.maximum(count / np.maximum(expected, 1e-3), 1.0)
    return np.asarray(count * np.log(ratio) - count + count / ratio)


def _aligned(
    view: IndexView, sound: int, delta: int, low: int, high: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Where in the upload (frames in [low, high)) the sound's peaks are expected, and their bands."""
    times, bins = view.peaks(sound)
    first, last = np.searchsorted(times, [max(0, low + delta), max(0, high + delta)])
    at = times[first:last].astype(np.int64) - delta
    inside = (at >= low) & (at < high)  # What a damaged index holds may be out of order.
    return at[inside], _bands(bins[first:last][inside])


def _chance(
    picture: npt.NDArray[np.bool_], grid: _Grid, times: npt.NDArray[np.int64], bands: npt.NDArray[np.int64]
) -> npt.NDArray[np.float64]:
    """[peaks] with what probability each would be there if the sound was not.

    Two ways to be there by chance, both measured on these two sounds. At other times: a shared key, a held note, a
    busy upload. At other bands of the same moment: beats that fall together, where there are peaks everywhere.
    """
    moved = times[None, :] + LAGS[:, None]
    inside = (moved >= 0) & (moved < grid.frames)
    hit = picture[grid.cells(np.clip(moved, 0, grid.frames - 1), bands[None, :])] & inside
    number = inside.sum(axis=1)
    enough = number >= min(len(times), max(MIN_MATCHED, len(times) // 3))
    elsewhen = CHANCE_UNKNOWN
    if enough.sum() >= 8:
        elsewhen = max(MIN_CHANCE, float(np.quantile(hit.sum(axis=1)[enough] / number[enough], 0.84)))
    other = bands[None, :] + SHIFTS[:, None]
    inside = (other >= 0) & (other < BINS)
    hit = picture[grid.cells(times[None, :], np.clip(other, 0, BINS - 1))] & inside
    count, number = hit.sum(axis=0), inside.sum(axis=0)
    elsewhere = (count + PRIOR * elsewhen) / (number + PRIOR)
    return np.clip(np.maximum(elsewhere, elsewhen), MIN_CHANCE, 0.6)


def _weights(hit: npt.NDArray[np.bool_], chance: npt.NDArray[np.float64], survival: float) -> npt.NDArray[np.float64]:
    """Log-likelihood ratio of each peak, there or not."""
    alive = np.clip(survival, 1.3 * chance, 0.95)
    return INDEPENDENT * np.where(hit, np.log(alive / chance), np.log((1 - alive) / (1 - chance)))


def _stretch(weights: npt.NDArray[np.float64]) -> tuple[float, int, int]:
    """The stretch with the highest sum: the sum, first and last index."""
    total = np.concatenate([[0.0], np.cumsum(weights)])
    gain = total - np.minimum.accumulate(total)
    last = int(np.argmax(gain))
    first = int(np.argmin(total[: last + 1]))
    return float(gain[last]), first, last - 1


def _verify(view: IndexView, grid: _Grid, sound: int, delta: int, low: int, high: int) -> _Use | None:
    """Judge an alignment within [low, high) by what is unexplained there. None: nothing to say."""
    high = min(high, grid.frames)
    best: tuple[float, int] | None = None
    for by in range(-JITTER, JITTER + 1):
        times, bands = _aligned(view, sound, delta + by, low, high)
        matched = int(grid.rest[grid.cells(times, bands)].sum())
        if matched >= MIN_MATCHED and (best is None or matched > best[0]):
            best = (matched, delta + by)
    if best is None:
        return None
    return _judge(view, grid, sound, best[1], low, high)


def _judge(view: IndexView, grid: _Grid, sound: int, delta: int, low: int, high: int) -> _Use | None:
    times, bands = _aligned(view, sound, delta, low, high)
    cells = grid.cells(times, bands)
    hit = grid.rest[cells]
    chance = _chance(grid.rest, grid, times, bands)
    gain, first, last = max(_stretch(_weights(hit, chance, survival)) for survival in SURVIVAL)
    part = slice(first, last + 1)
    there = hit[part]
    if there.sum() < MIN_MATCHED or len(np.unique(times[part][there] // 10)) < MIN_CELLS:
        return None
    return _Use(sound, delta, gain, int(times[first]), int(times[last]), cells[part][there])


def _extend(view: IndexView, grid: _Grid, use: _Use) -> _Use:
    """Follow an alignment through the whole upload, as far as the sound goes on being there."""
    times, bands = _aligned(view, use.sound, use.delta, 0, grid.frames)
    cells = grid.cells(times, bands)
    hit = grid.rest[cells]
    inside = (times >= use.start) & (times <= use.end)
    chance = _chance(grid.rest, grid, times, bands)
    survival = float(hit[inside].mean())
    weights = _weights(hit, chance, survival)
    # What a second of missing sound costs.
    drop = DROP_S * 30.0 * -float(np.median(_weights(np.zeros(len(times), dtype=np.bool_), chance, survival)))
    middle = int(np.flatnonzero(inside)[0] + np.argmax(np.cumsum(weights[inside])))
    last = middle + _reach(weights[middle:], drop) - 1
    first = last - _reach(weights[: last + 1][::-1], drop) + 1
    part = slice(first, last + 1)
    gain = float(weights[part].sum())
    there = hit[part]
    if gain < use.gain:
        return use
    return _Use(use.sound, use.delta, gain, int(times[first]), int(times[last]), cells[part][there])


def _reach(weights: npt.NDArray[np.float64], drop: float) -> int:
    """How many of these weights to take from the front: up to the highest sum before it falls by `drop`."""
    total = np.cumsum(weights)
    peak = np.maximum.accumulate(total)
    fallen = np.flatnonzero(peak - total > drop)
    end = int(fallen[0]) if len(fallen) else len(total)
    return int(np.argmax(total[:end])) + 1 if end else 1


def _stands_out(view: IndexView, grid: _Grid, use: _Use, rivals: list[int]) -> bool:
    """Whether the sound is there at this alignment more than at any other nearby, or that was voted for.

    Two pieces with the same beat, chords and samples agree wherever a bar falls on a bar; the same recording agrees
    at one place. Where the sound itself repeats (a loop) it agrees at another as well: that counts for nothing.
    """
    middle = (use.start + use.end) // 2
    start, end = max(use.start, middle - RIVAL_SPAN), min(use.end, middle + RIVAL_SPAN)
    times, bands = _aligned(view, use.sound, use.delta, start, end + 1)
    share = float(grid.rest[grid.cells(times, bands)].mean()) if len(times) else 0.0
    if share >= NEARLY_ALL:
        return True
    none = np.zeros(len(times), dtype=np.uint8)
    own = _Grid(Peaks(times.astype(np.uint32), (bands * BIN_STEPS).astype(np.uint16), none), grid.frames)
    highest = chance = MIN_CHANCE
    far = [delta - use.delta for delta in rivals if abs(delta - use.delta) > RIVAL_LAGS.max()]
    for lags in (RIVAL_LAGS, *(np.asarray([lag]) for lag in far)):
        low, high = int(lags.min()), int(lags.max())
        there, bands = _aligned(view, use.sound, use.delta, start + low, end + high + 1)
        moved = there[:, None] - lags[None, :]
        inside = (moved >= start) & (moved <= end)
        number = inside.sum(axis=0)
        cells = grid.cells(np.clip(moved, start, end), bands[:, None])
        shares, repeats = (
            (picture[cells] & inside).sum(axis=0) / np.maximum(number, 1) for picture in (grid.rest, own.all)
        )
        enough = number >= max(MIN_MATCHED, 0.5 * len(times))
        if len(lags) > 1 and enough.any():
            chance = float(np.median(shares[enough]))
        counts = enough & (shares > REPEATS * (repeats * share + (1 - repeats) * chance))
        highest = max(highest, float(np.max(shares, where=counts, initial=0.0)))
    highest = min(highest, 0.99)
    return share / (1 - share) >= STANDS_OUT * highest / (1 - highest)


def _is_new(use: _Use, uses: list[_Use]) -> bool:
    """Whether a use says what those found before do not."""
    for other in uses:
        both = min(use.end, other.end) - max(use.start, other.start)
        if both <= 0:
            continue
        if use.sound == other.sound and both > MAX_OVERLAP * (min(use.end - use.start, other.end - other.start) + 1):
            return False
    return True


def _described(view: IndexView, fingerprint: Fingerprint, use: _Use, cost: float) -> SoundMatch:
    """A use in the words of the contract."""
    entry = view.entry(use.sound)
    # A frame's time is its middle.
    half = WINDOW / HOP * HOP_S / 2
    start, end = use.start * HOP_S + half, use.end * HOP_S + half
    shift = use.delta * HOP_S
    length = entry.frames * HOP_S + 2 * half
    edge = max(0.0, -shift)
    start = edge if start - edge < SNAP_S else start
    edge = min(fingerprint.duration_s, length - shift)
    end = edge if edge - end < SNAP_S else end
    score = 1.0 / (1.0 + math.exp(-max(-50.0, min(50.0, (use.gain - cost - THRESHOLD) / SCORE_SCALE))))
    found = (round(start, 3), round(max(end, start), 3))
    offset = round(max(0.0, start + shift), 3)
    return SoundMatch(entry.sound_id, entry.kind, entry.title, round(score, 4), found, offset)
