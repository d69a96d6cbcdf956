"""Matched filters of effects, run over an upload: where each may be.

Effect and upload are one bit a sample of their whitened waveforms, so that what chance gives is known, the root of the
effect's length; a tonal effect raises its own chance, which shows at its other lags.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from models.soundid.coherence import at_its_highest
from models.soundid.effect_speeds import MEDIAN
from models.soundid.jit import compiled

LENGTHS = (32_768, 40_960, 65_536)
"""Samples of a Fourier transform; what a filter's length leaves of it is so many lags."""
HEARD = 9.5
"""Correlation in units of chance from which on an effect is believed: the operating point."""
BETWEEN_LAGS = 0.7
"""Share of its correlation that may be left at the nearest lag."""
STRIDE = 7
"""Of so many lags one is looked at where they are judged together."""
LEAST_PART = 0.5
"""So much of an effect must lie within the upload."""
MAX_HEARD = 24
"""Uses of effects that one upload can have."""


@dataclass(frozen=True, eq=False)
class Effect:
    """An effect in the words of the matched filter: its number in the view, its signs as -1 and 1."""

    sound: int
    line: npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Answer:
    """A lag, samples, at which a filter answers: its correlation in units of noise's chance, and of its own."""

    effect: Effect
    lag: int
    correlation: float
    strength: float


class Filters:
    """An upload, ready for matched filters: overlapped blocks of it, transformed (overlap-save)."""

    def __init__(self, line: npt.NDArray[np.float32]) -> None:
        self._line = line
        self._blocks: dict[tuple[int, int], npt.NDArray[np.complex64]] = {}

    def length(self, size: int) -> int:
        """Of the transforms for an effect of so many samples: all of a short upload in one, and few lengths in all."""
        return next((length for length in LENGTHS if self._whole(length, size)), LENGTHS[-1])

    def _whole(self, length: int, size: int) -> bool:
        """Whether one transform gives all lags: what goes around at its end meets the zeros before the upload."""
        return length >= len(self._line) + -(-size // 2)

    def block(self, start: int, length: int) -> npt.NDArray[np.complex64]:
        """Transform of the upload from a sample on, which may lie before its first."""
        from scipy.fft import rfft

        if (start, length) not in self._blocks:
            part = self._line[max(0, start) : max(0, start + length)]
            padded = np.zeros(length, dtype=np.float32)
            padded[max(0, -start) : max(0, -start) + len(part)] = part
            self._blocks[start, length] = rfft(padded)
        return self._blocks[start, length]

    def answers(self, effects: Sequence[Effect], spectra: Sequence[npt.NDArray[np.complex64]]) -> list[Answer]:
        """The lags at which effects may be there. One by one their transforms, conjugate, all of one length."""
        from scipy.fft import irfft

        length = 2 * (len(spectra[0]) - 1)
        lowest = [-int((1 - LEAST_PART) * len(one.line)) for one in effects]
        highest = [len(self._line) - int(LEAST_PART * len(one.line)) for one in effects]
        longest = max(len(one.line) for one in effects)
        first, last = min(lowest), max(highest)
        step = length if self._whole(length, longest) else length - longest
        parts = []
        product = np.empty((len(effects), len(spectra[0])), dtype=np.complex64)
        for start in range(first, max(first + 1, last), step):
            for row, spectrum in zip(product, spectra, strict=True):
                np.multiply(self.block(start, length), spectrum, out=row)
            parts.append(irfft(product, length, axis=1, overwrite_x=True)[:, :step])
        correlated = np.concatenate(parts, axis=1) if len(parts) > 1 else parts[0]
        found: list[Answer] = []
        for effect, row, low, high in zip(effects, correlated, lowest, highest, strict=True):
            if low < high:
                found += _peaks(
                    effect, _level(row[low - first : high - first], low, len(effect.line), len(self._line)), low
                )
        return found


@compiled
def _level(correlated: npt.NDArray[np.float32], low: int, size: int, whole: int) -> npt.NDArray[np.float32]:
    """Correlation in units of noise's chance, at the lags from `low` on, of which some leave a part outside."""
    level = correlated * np.float32(1.0 / np.sqrt(size))
    for first, last in ((0, -low), (whole - size - low + 1, len(correlated))):
        for at in range(max(0, first), min(last, len(correlated))):
            within = min(low + at + size, whole) - max(low + at, 0)
            level[at] = correlated[at] / np.float32(np.sqrt(max(1, within)))
    return level


def _peaks(effect: Effect, correlated: npt.NDArray[np.float32], first: int) -> list[Answer]:
    """The lags from `first` on at which what is there exceeds chance far enough; [lags], in units of noise's chance."""
    level = np.abs(correlated)
    # Of the middle lag, not of the mean square: an effect that is there answers itself strongly around where it is.
    some = level[::STRIDE]
    chance = max(1.0, float(np.partition(some, len(some) // 2)[len(some) // 2]) / MEDIAN)
    found: list[Answer] = []
    reach = len(effect.line) // 2
    at = int(level.argmax())
    while level[at] >= BETWEEN_LAGS * HEARD * chance and len(found) < MAX_HEARD:
        highest = at_its_highest(correlated, at)
        if abs(highest) >= HEARD * chance:
            found.append(Answer(effect, first + at, highest, abs(highest) / chance))
        # The tones of an effect answer themselves at other lags too.
        level[max(0, at - reach) : at + reach] = 0
        at = int(level.argmax())
    return found
