"""Effects at other speeds: proposed by votes of pairs of peaks under a bank of speeds, judged by their waveforms.

An effect is a handful of peaks, too few votes to be sure among a catalogue of songs, enough among effects alone. Their
common pitch tells the speed to about a part in a thousand, correlation of short pieces along a line of lags the rest.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import cache

import numpy as np
import numpy.typing as npt

from models.soundid.coherence import SAMPLES_PER_FRAME, Waveform
from models.soundid.disk_view import Postings, affordable, gather
from models.soundid.features import BIN_STEPS, BINS_PER_OCTAVE, Peaks
from models.soundid.jit import compiled
from models.soundid.pairs import HASH_BITS, catalogue_pairs
from models.soundid.proposals import Alignment, Playing, propose
from models.soundid.refinement import refine
from models.soundid.segment import sounds_at
from models.soundid.view import IndexView
from models.soundid.whitening import unpacked

POSTINGS = 150_000
"""Postings that are read at most of one speed."""
BLOCK_FRAMES, STEP_FRAMES = 900, 450
"""Votes are counted in blocks of 9 s every 4.5 s: any effect lies within one."""
MIN_GAIN = 5.0
"""What votes must be worth for an alignment to be judged, nats."""
MORE_FRAMES = 300
"""Added to the length among which an effect's votes would be spread by chance."""
RANK = 9
"""Peaks that vote: those that fewer than so many neighbours exceed."""
JUDGED = 16
"""Alignments of a block that are judged, the best first."""
SAME_FRAMES = 15
"""Proposals of one effect that begin so near to each other are one."""
PIECE = 400
"""Samples of a piece of the effect, about: 75 ms."""
LAGS = 200
"""Lags that are looked at on either side, samples: 38 ms."""
DRIFT = 0.008
"""Greatest error of the speed."""
DRIFT_STEP = 0.5
"""Steps in which the drift of a piece's lag over the whole effect is tried, samples."""

MEDIAN = 0.6745
"""Median of the absolute value of what is normally distributed, standard deviations."""


@cache
def speeds() -> tuple[Playing, ...]:
    """The speeds that are tried, 0.76 to 1.31, 3 % apart; the effect's own is not among them."""
    factors = [math.exp(0.03 * step) for step in range(-9, 10) if step]
    return tuple(Playing(factor, 12 * math.log2(factor)) for factor in factors)


class EffectVotes:
    """The pairs of all effects of a view: a `PairTable` that counts the sounds among the effects."""

    def __init__(self, view: IndexView, sounds: Sequence[int]) -> None:
        self._peaks = [view.peaks(sound) for sound in sounds]
        pairs = [catalogue_pairs(Peaks(*peaks, np.zeros(len(peaks[0]), np.uint8))) for peaks in self._peaks]
        self._lengths = view.lengths(np.asarray(sounds, np.int64))
        starts = np.concatenate([[0], np.cumsum(self._lengths)])
        none = np.zeros(0, np.uint32)
        hashes = np.concatenate([none, *(pair.hashes for pair in pairs)])
        line = [
            peaks[0][pair.anchors] + np.uint32(start)
            for peaks, pair, start in zip(self._peaks, pairs, starts, strict=False)
        ]
        order = np.argsort(hashes, kind="stable")
        self._hashes = hashes[order]
        self._there = np.zeros(2**HASH_BITS, dtype=np.bool_)
        self._there[hashes] = True
        self._postings = np.concatenate([none, *line]).astype(np.uint32)[order]
        self._starts = starts.astype(np.uint32)
        self._sound_at = sounds_at(self._starts)

    @property
    def frames(self) -> int:
        """Length of all effects together."""
        return int(self._starts[-1])

    def lookup(
        self, hashes: npt.NDArray[np.uint32], most: int = POSTINGS, worth: npt.NDArray[np.float32] | None = None
    ) -> Postings:
        """See `PairTable.lookup`."""
        # Most hashes of a question are not there at all.
        rows = np.flatnonzero(self._there[hashes])
        begin, count = np.zeros(len(hashes), np.int64), np.zeros(len(hashes), np.int64)
        begin[rows] = np.searchsorted(self._hashes, hashes[rows], side="left")
        count[rows] = np.searchsorted(self._hashes, hashes[rows], side="right") - begin[rows]
        wanted = affordable(count, most, worth)
        return Postings(*gather(begin, count, wanted, self._postings, self._starts, self._sound_at, 0))

    def lengths(self, sounds: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Lengths of these effects, frames, and more: that all votes fall on one place is no chance of a short line."""
        return self._lengths[sounds] + MORE_FRAMES

    def peaks(self, sound: int) -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.uint16]]:
        """Times and bins of an effect's peaks."""
        return self._peaks[sound]

    def proposed(self, peaks: Peaks, playings: Sequence[Playing], most: int = JUDGED) -> list[Alignment]:
        """So many alignments of each block of an upload, the best first."""
        found: list[Alignment] = []
        peaks = peaks.where(peaks.ranks < RANK)
        last = int(peaks.times[-1]) if len(peaks) else 0
        for start in range(0, last + 1, STEP_FRAMES):
            first, end = np.searchsorted(peaks.times, [start, start + BLOCK_FRAMES])
            part = peaks.where(np.arange(first, end))
            votes = [one for playing in playings for one in propose(self, part, playing, POSTINGS)]
            kept = 0
            for one in sorted(votes, key=lambda vote: -vote.gain):
                if kept == most or one.gain < MIN_GAIN:
                    break
                if not any(_same(one, other) for other in found):
                    found.append(one)
                    kept += 1
        return found

    def exact(self, alignment: Alignment, peaks: Peaks) -> Alignment:
        """The alignment at the speed that the pitch of the common peaks tells."""
        begin = -alignment.offset / alignment.tempo
        end = (int(self._lengths[alignment.sound]) - alignment.offset) / alignment.tempo
        first, last = np.searchsorted(peaks.times, [max(0.0, begin - 15), max(0.0, end + 15)])
        refined = refine(self, peaks.where(np.arange(first, last)), alignment) if last > first else None
        if refined is None:
            return alignment
        tempo = 2.0 ** (refined[0].steps / (BIN_STEPS * BINS_PER_OCTAVE))
        if abs(tempo / alignment.tempo - 1.0) > 0.03:
            return alignment
        middle = 0.5 * (begin + end)
        here = refined[0].tempo * middle + refined[0].offset
        return replace(refined[0], tempo=tempo, offset=here - tempo * middle)


def _same(one: Alignment, other: Alignment) -> bool:
    return (
        one.sound == other.sound
        and abs(one.tempo / other.tempo - 1.0) < 0.05
        and abs(one.offset / one.tempo - other.offset / other.tempo) < SAME_FRAMES
    )


def judged(waveform: Waveform, signs: npt.NDArray[np.uint8], alignment: Alignment) -> tuple[float, Alignment]:
    """The correlation with an effect near an alignment, in units of chance, and the exact alignment."""
    strength, better = 0.0, alignment
    for reach in (DRIFT, DRIFT / 4):
        strength, lag, drift = _line(waveform, signs, better, reach)
        tempo = better.tempo * (1.0 + drift)
        better = replace(better, tempo=tempo, offset=better.offset * (1.0 + drift) + lag / SAMPLES_PER_FRAME)
    return strength, better


def _line(
    waveform: Waveform, signs: npt.NDArray[np.uint8], alignment: Alignment, reach: float
) -> tuple[float, float, float]:
    """Of the lines of lags from piece to piece the best: correlation in units of chance, lag at 0, drift."""
    from scipy.fft import irfft, next_fast_len, rfft

    size = 8 * len(signs)
    pieces = max(1, size // PIECE)
    piece = size // pieces
    played = waveform.played(alignment, 0, pieces * piece).reshape(pieces, piece)
    norm = float(np.sqrt((played**2).sum()))
    if norm < 1.0:
        return 0.0, 0.0, 0.0
    line = unpacked(signs, -LAGS, pieces * piece + LAGS)
    sound = np.lib.stride_tricks.sliding_window_view(line, piece + 2 * LAGS)[::piece][:pieces]
    length = next_fast_len(piece + 2 * LAGS, real=True)
    product = rfft(sound, length, axis=1) * np.conj(rfft(played, length, axis=1))
    correlated = np.asarray(irfft(product, length, axis=1)[:, : 2 * LAGS + 1] / norm, dtype=np.float32)
    steps = max(1, math.ceil(reach * size / DRIFT_STEP))
    best, chance, lag, drift = _best(correlated, steps, reach / steps * piece)
    return best / max(1.0, chance), float(lag - LAGS), float(drift) / piece


@compiled
def _best(correlated: npt.NDArray[np.float32], steps: int, step: float) -> tuple[float, float, int, float]:
    """Highest absolute sum along a line; chance among the sums without drift; the line's first lag and drift."""
    pieces, lags = correlated.shape
    best, best_lag, best_drift, chance = -1.0, lags // 2, 0.0, 1.0
    total = np.empty(lags, np.float32)
    for turn in range(2 * steps + 1):
        # From the middle outwards: of equals the smallest change.
        drift = ((turn + 1) // 2) * (1 if turn % 2 else -1) * step
        total[:] = 0
        for number in range(pieces):
            by = int(np.rint(drift * (number + 0.5)))
            for lag in range(max(0, -by), min(lags, lags - by)):
                total[lag] += correlated[number, lag + by]
        if turn == 0:
            chance = float(np.median(np.abs(total))) / MEDIAN
        for lag in range(lags):
            if abs(total[lag]) > best:
                best, best_lag, best_drift = abs(total[lag]), lag, drift
    return best, chance, best_lag, best_drift
