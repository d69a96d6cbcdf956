"""Verifying an alignment: is the sound there, peak by peak, more than chance would have it, and from when to when?

Chance is measured on the same two sounds at other times and other bands; the best-scoring stretch is the range, as in
local sequence alignment (Karlin and Altschul, PNAS 1990).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from models.soundid.features import BIN_STEPS, BINS, Peaks
from models.soundid.view import IndexView

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


@dataclass(frozen=True)
class Use:
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


class Grid:
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
    picture: npt.NDArray[np.bool_], grid: Grid, times: npt.NDArray[np.int64], bands: npt.NDArray[np.int64]
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


def verify(view: IndexView, grid: Grid, sound: int, delta: int, low: int, high: int) -> Use | None:
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


def _judge(view: IndexView, grid: Grid, sound: int, delta: int, low: int, high: int) -> Use | None:
    times, bands = _aligned(view, sound, delta, low, high)
    cells = grid.cells(times, bands)
    hit = grid.rest[cells]
    chance = _chance(grid.rest, grid, times, bands)
    gain, first, last = max(_stretch(_weights(hit, chance, survival)) for survival in SURVIVAL)
    part = slice(first, last + 1)
    there = hit[part]
    if there.sum() < MIN_MATCHED or len(np.unique(times[part][there] // 10)) < MIN_CELLS:
        return None
    return Use(sound, delta, gain, int(times[first]), int(times[last]), cells[part][there])


def extend(view: IndexView, grid: Grid, use: Use) -> Use:
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
    return Use(use.sound, use.delta, gain, int(times[first]), int(times[last]), cells[part][there])


def _reach(weights: npt.NDArray[np.float64], drop: float) -> int:
    """How many of these weights to take from the front: up to the highest sum before it falls by `drop`."""
    total = np.cumsum(weights)
    peak = np.maximum.accumulate(total)
    fallen = np.flatnonzero(peak - total > drop)
    end = int(fallen[0]) if len(fallen) else len(total)
    return int(np.argmax(total[:end])) + 1 if end else 1


def stands_out(view: IndexView, grid: Grid, use: Use, rivals: list[int]) -> bool:
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
    own = Grid(Peaks(times.astype(np.uint32), (bands * BIN_STEPS).astype(np.uint16), none), grid.frames)
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
