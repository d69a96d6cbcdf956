"""Effects - a click, a horn, a crash of 0.2 to 4 s - in an upload: too short for the vote of landmarks to be sure.

Each effect's whitened waveform is a matched filter, run over the upload's. Both are one bit a sample, so that what
chance gives is known, the root of the effect's length; a tonal effect raises its own chance, which shows at its other
lags. Noise, voices and music are far from any of it, unless the effect lies above `whitening.CUTOFF_HZ`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from models.soundid.coherence import SAMPLES_PER_FRAME
from models.soundid.proposals import AS_IT_IS, Alignment
from models.soundid.view import IndexView
from models.soundid.whitening import unpacked

LONGEST_FRAMES = 450
"""A longer sound is long enough for the vote of landmarks."""
SHORTEST_SIGNS = 480
"""A shorter effect (0.09 s) has nothing to be told by."""
MOST = 128
"""Effects whose filters are run over one upload."""
BLOCK = 65_536
"""Samples of a Fourier transform; what is left of it by a filter's length is so many lags."""
HEARD = 9.0
"""Correlation in units of chance from which on an effect is believed: the operating point."""
HEARD_SCALE = 1.0
"""Units above it in which the odds grow by e."""
MEDIAN = 0.6745
"""Median of the absolute value of what is normally distributed, standard deviations."""
STRIDE = 7
"""Of so many lags one is looked at where they are judged together."""
LEAST_PART = 0.5
"""So much of an effect must lie within the upload."""
EXPLAINED = 0.5
"""Share of an effect's correlation which, if another that is there too explains it, makes it the other's echo."""
MAX_HEARD = 24
"""Uses of effects that one upload can have."""


@dataclass(frozen=True)
class Effect:
    """An effect in the words of the matched filter: its number in the view, its signs as -1 and 1."""

    sound: int
    line: npt.NDArray[np.float32]


@dataclass(frozen=True)
class Heard:
    """An effect that was heard: alignment, where (frames of the upload), correlation in units of chance."""

    alignment: Alignment
    begin: float
    end: float
    strength: float

    @property
    def odds(self) -> float:
        """Natural logarithm of the odds that it is true."""
        return (self.strength - HEARD) / HEARD_SCALE


@dataclass(frozen=True)
class _Peak:
    """A lag, samples, at which a filter answers: its correlation in units of noise's chance, and of its own."""

    effect: Effect
    lag: int
    correlation: float
    strength: float


class Effects:
    """The effects of one view of an index."""

    def __init__(self, view: IndexView) -> None:
        self.view = view
        lines = ((sound, view.signs(sound)) for sound in view.effects(LONGEST_FRAMES))
        self.known = [
            Effect(sound, unpacked(signs, 0, 8 * len(signs)))
            for sound, signs in lines
            if 8 * len(signs) >= SHORTEST_SIGNS
        ]

    @property
    def sounds(self) -> list[int]:
        """Their numbers in the view."""
        return [effect.sound for effect in self.known]

    def heard(self, upload: npt.NDArray[np.uint8]) -> list[Heard]:
        """The effects in an upload, given its signs; the surest first."""
        line = unpacked(upload, 0, 8 * len(upload))
        if not self.known or len(line) < SHORTEST_SIGNS:
            return []
        filters = _Filters(line)
        peaks = [peak for effect in self.known[:MOST] for peak in filters.answers(effect)]
        kept: list[_Peak] = []
        for peak in sorted(peaks, key=lambda one: -one.strength):
            if not any(_explained(peak, other) for other in kept):
                kept.append(peak)
            if len(kept) == MAX_HEARD:
                break
        return [_described(peak, len(line)) for peak in kept]


class _Filters:
    """An upload, ready for matched filters: overlapped blocks of it, transformed (overlap-save)."""

    def __init__(self, line: npt.NDArray[np.float32]) -> None:
        self._line = line
        self._blocks: dict[int, npt.NDArray[np.complex64]] = {}

    def _block(self, start: int) -> npt.NDArray[np.complex64]:
        from scipy.fft import rfft

        if start not in self._blocks:
            part = self._line[max(0, start) : max(0, start + BLOCK)]
            padded = np.zeros(BLOCK, dtype=np.float32)
            padded[max(0, -start) : max(0, -start) + len(part)] = part
            self._blocks[start] = rfft(padded)
        return self._blocks[start]

    def answers(self, effect: Effect) -> list[_Peak]:
        """The lags at which an effect may be there."""
        from scipy.fft import irfft, rfft

        size = len(effect.line)
        first, last = -int((1 - LEAST_PART) * size), len(self._line) - int(LEAST_PART * size)
        if last <= first:
            return []
        spectrum = np.conj(rfft(effect.line, BLOCK))
        # Steps are the same for effects of about one length, so that they share the upload's blocks.
        step = BLOCK - 4096 * -(-size // 4096)
        begin = 4096 * (first // 4096)
        parts = [irfft(self._block(start) * spectrum, BLOCK)[:step] for start in range(begin, last, step)]
        correlated = np.concatenate(parts)[first - begin : last - begin]
        lags = np.arange(first, last)
        within = np.minimum(np.minimum(lags + size, len(self._line) - lags), size)
        return _peaks(effect, correlated / np.sqrt(within, dtype=np.float32), first)


def _peaks(effect: Effect, correlated: npt.NDArray[Any], first: int) -> list[_Peak]:
    """The lags from `first` on at which what is there exceeds chance far enough; [lags], in units of noise's chance."""
    level = np.abs(correlated)
    # Of the middle lag, not of the mean square: an effect that is there answers itself strongly around where it is.
    chance = max(1.0, float(np.median(level[::STRIDE])) / MEDIAN)
    least = HEARD * chance
    found: list[_Peak] = []
    reach = len(effect.line) // 2
    at = int(level.argmax())
    while level[at] >= least and len(found) < MAX_HEARD:
        found.append(_Peak(effect, first + at, float(correlated[at]), float(level[at]) / chance))
        # The tones of an effect answer themselves at other lags too.
        level[max(0, at - reach) : at + reach] = 0
        at = int(level.argmax())
    return found


def _explained(peak: _Peak, other: _Peak) -> bool:
    """Whether a filter answers because of another effect that is there: they share a part, or their tones."""
    mine, its = peak.effect.line, other.effect.line
    begin, end = max(peak.lag, other.lag), min(peak.lag + len(mine), other.lag + len(its))
    if end <= begin:
        return False
    shared = float(mine[begin - peak.lag : end - peak.lag] @ its[begin - other.lag : end - other.lag])
    return abs(other.correlation * shared) / math.sqrt(len(its) * len(mine)) > EXPLAINED * abs(peak.correlation)


def _described(peak: _Peak, size: int) -> Heard:
    begin, end = max(0, peak.lag), min(size, peak.lag + len(peak.effect.line))
    alignment = Alignment(peak.effect.sound, 1.0, 0.0, -peak.lag / SAMPLES_PER_FRAME, peak.strength, AS_IT_IS)
    return Heard(alignment, begin / SAMPLES_PER_FRAME, end / SAMPLES_PER_FRAME, peak.strength)
