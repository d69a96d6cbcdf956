"""Dropouts, and how much of the dynamics is left: the stream's level in steps of a few milliseconds."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

Samples = npt.NDArray[np.float32]

STEP_S = 0.004
"""Length of a step, s."""
STEEP = 2
"""Steps within which a gap begins, and ends: speech and music fall and rise more slowly on at least one side."""
FALL = 10.0 ** (-26.0 / 10.0)
"""A gap's side falls to below this share of the power."""
INSIDE = 10.0 ** (-23.0 / 10.0)
"""... and all of the gap stays below this share of what is beside it."""
SHORTEST, LONGEST = 1, 22
"""Steps a gap lasts between its sides; longer ones are pauses."""
AUDIBLE = 10.0 ** (-50.0 / 10.0)
"""Mean square of sound that can be interrupted."""

BLOCK_S = 0.2
"""Kurtosis is taken of blocks this long, s."""
LOUD = 0.1
"""Blocks of at least this share of the loudest one's power are judged."""
CRUSHED_PERCENTILE = 10.0
MAX_BLOCKS = 4_096
"""Blocks kept; of more, every second one is kept, ..."""


class StepMeter:
    """Gaps with steep sides, and the kurtosis of one stream at one rate."""

    def __init__(self, sample_rate: int) -> None:
        self._step = max(1, round(STEP_S * sample_rate))
        self._block = max(1, round(BLOCK_S * sample_rate))
        self._left = np.zeros(0, dtype=np.float32)
        self._tail = np.zeros(0, dtype=np.float64)
        self._shapes: list[tuple[float, float]] = []
        self._stride, self._blocks = 1, 0
        self._gaps = 0
        self._steps = self._new = 0
        self._last_rise = -1

    def add(self, samples: Samples) -> None:
        """Hear [channels, samples]: their mean for gaps, the louder channel for its dynamics."""
        mono = samples.mean(axis=0) if samples.shape[0] > 1 else samples[0]
        self._shape(samples)
        joined = np.concatenate([self._left, mono])
        count = joined.size // self._step
        self._left = joined[count * self._step :]
        if not count:
            return
        power = np.square(joined[: count * self._step].reshape(count, self._step)).mean(axis=1).astype(np.float64)
        self._steps += count
        self._new = count
        levels = np.concatenate([self._tail, power])
        self._find(levels, self._tail.size)
        self._tail = levels[-(LONGEST + 2 * STEEP) :]

    def _find(self, levels: npt.NDArray[np.float64], known: int) -> None:
        """Count the gaps whose end is seen only now: `known` levels were there before."""
        if levels.size <= STEEP:
            return
        early, late = levels[:-STEEP], levels[STEEP:]
        falls = np.flatnonzero((late < FALL * early) & (early > AUDIBLE))
        rises = np.flatnonzero((early < FALL * late) & (late > AUDIBLE))
        for rise in rises[rises + STEEP >= known].tolist():
            if rise <= self._last_rise - self._steps_before(known):
                continue
            at = falls[(falls < rise) & (falls >= rise - LONGEST)]
            if not at.size:
                continue
            fall = int(at[-1])
            inside = levels[fall + STEEP : rise + 1]
            beside = min(levels[fall], levels[rise + STEEP])
            if inside.size >= SHORTEST and inside.max() < INSIDE * beside:
                self._gaps += 1
                self._last_rise = rise + STEEP + self._steps_before(known)

    def _steps_before(self, known: int) -> int:
        """Number, in the whole stream, of the first level at hand."""
        return self._steps - self._new - known

    def _shape(self, samples: Samples) -> None:
        """Powers and fourth moments of the blocks of the louder channel."""
        if samples.shape[0] > 1:
            samples = samples[[int(np.argmax(np.square(samples).mean(axis=1)))]]
        count = samples.shape[1] // self._block
        if count:
            blocks = samples[0, : count * self._block].reshape(count, self._block)
            # About the mean: a constant offset is not heard, and would pass for a square wave.
            squares = np.square(blocks - blocks.mean(axis=1, keepdims=True))
            power, fourth = squares.mean(axis=1), np.square(squares).mean(axis=1)
            for mean, moment in zip(power.tolist(), fourth.tolist(), strict=True):
                self._blocks += 1
                if self._blocks % self._stride or mean <= 1e-10:
                    continue
                self._shapes.append((mean, moment / mean**2))
                if len(self._shapes) > MAX_BLOCKS:
                    self._shapes, self._stride = self._shapes[::2], self._stride * 2

    def dropouts_per_s(self) -> float | None:
        """Gaps a second; None: nothing was heard."""
        return self._gaps / (self._steps * STEP_S) if self._steps else None

    def dynamics_db(self) -> float | None:
        """The blocks' kurtosis, dB, where it is lowest (10th percentile) in the loud ones; None: nothing was heard.

        What drives a limiter is the loud: quiet parts come through whole. 0 is a square wave, 1.8 a sine, 4.8 noise;
        speech and music lie above 3.
        """
        if not self._shapes:
            return None
        loudest = max(mean for mean, _ in self._shapes)
        ratios = [ratio for mean, ratio in self._shapes if mean > LOUD * loudest]
        return 10.0 * math.log10(float(np.percentile(ratios, CRUSHED_PERCENTILE)))
