"""Verifying an alignment: is the sound there, peak by peak, more than chance would have it, and from when to when?

Chance is measured on the same two sounds at other times and other bands; the best-scoring stretch is the range, as in
local sequence alignment (Karlin and Altschul, PNAS 1990).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from models.soundid.features import BIN_STEPS, BINS, Peaks
from models.soundid.proposals import HALF_WINDOW, Alignment
from models.soundid.view import IndexView

NEAR_FRAMES, NEAR_BINS = 1, 1
"""A peak of the sound is there if the upload has one within so many frames and bands."""
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


@dataclass(frozen=True)
class Evidence:
    """What the peaks say for an alignment."""

    gain: float
    """Log-likelihood ratio, nats, before the cost of the search."""
    begin: float
    end: float
    """First and last matched time in the upload, frames."""
    share: float
    """Share of the sound's peaks that are there."""


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


def expected_peaks(
    view: IndexView, alignment: Alignment, low: float, high: float
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Where in the upload (frames in [low, high)) the sound's peaks are expected, and their bands."""
    times, bins = view.peaks(alignment.sound)
    edges = [alignment.tempo * (edge + HALF_WINDOW) + alignment.offset - HALF_WINDOW for edge in (low, high)]
    first, last = np.searchsorted(times, [max(0.0, edges[0]), max(0.0, edges[1])])
    at = (times[first:last] + HALF_WINDOW - alignment.offset) / alignment.tempo - HALF_WINDOW
    frames = np.rint(at).astype(np.int64)
    bands = np.rint((bins[first:last] + alignment.steps) / BIN_STEPS).astype(np.int64)
    # What a damaged index holds may be out of order.
    inside = (frames >= low) & (frames < high) & (bands >= 0) & (bands < BINS)
    return frames[inside], bands[inside]


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


def verify(view: IndexView, grid: Grid, alignment: Alignment, low: float, high: float) -> Evidence | None:
    """Judge an alignment within [low, high) by what is unexplained there. None: nothing to say."""
    times, bands = expected_peaks(view, alignment, max(0.0, low), min(high, grid.frames))
    if len(times) < MIN_MATCHED:
        return None
    hit = grid.rest[grid.cells(times, bands)]
    chance = _chance(grid.rest, grid, times, bands)
    gain, first, last = max(_stretch(_weights(hit, chance, survival)) for survival in SURVIVAL)
    part = slice(first, last + 1)
    there = hit[part]
    if there.sum() < MIN_MATCHED or len(np.unique(times[part][there] // 10)) < MIN_CELLS:
        return None
    return Evidence(gain, float(times[first]), float(times[last] + 1), float(there.mean()))


def extend(view: IndexView, grid: Grid, alignment: Alignment, evidence: Evidence) -> Evidence:
    """Follow an alignment through the whole upload, as far as the sound goes on being there."""
    times, bands = expected_peaks(view, alignment, 0.0, grid.frames)
    hit = grid.rest[grid.cells(times, bands)]
    inside = (times >= evidence.begin) & (times < evidence.end)
    chance = _chance(grid.rest, grid, times, bands)
    survival = float(hit[inside].mean())
    weights = _weights(hit, chance, survival)
    # What a second of missing sound costs.
    drop = DROP_S * 30.0 * -float(np.median(_weights(np.zeros(len(times), dtype=np.bool_), chance, survival)))
    middle = int(np.flatnonzero(inside)[0] + np.argmax(np.cumsum(weights[inside])))
    last = middle + _reach(weights[middle:], drop) - 1
    first = last - _reach(weights[: last + 1][::-1], drop) + 1
    gain = float(weights[first : last + 1].sum())
    if gain < evidence.gain:
        return evidence
    return Evidence(gain, float(times[first]), float(times[last] + 1), survival)


def _reach(weights: npt.NDArray[np.float64], drop: float) -> int:
    """How many of these weights to take from the front: up to the highest sum before it falls by `drop`."""
    total = np.cumsum(weights)
    peak = np.maximum.accumulate(total)
    fallen = np.flatnonzero(peak - total > drop)
    end = int(fallen[0]) if len(fallen) else len(total)
    return int(np.argmax(total[:end])) + 1 if end else 1


def explain(view: IndexView, grid: Grid, alignment: Alignment, begin: float, end: float) -> None:
    """Take out of the grid what the sound explains in [begin, end)."""
    times, bands = expected_peaks(view, alignment, max(0.0, begin), min(end, grid.frames))
    cells = grid.cells(times, bands)
    grid.explain(cells[grid.rest[cells]])
