"""Loudness and true peak of a stream (ITU-R BS.1770-4), with state between blocks and memory that does not grow.

Gating follows the standard exactly; the two passes it needs are made over a histogram of block loudness whose bins
keep their exact energy, as libebur128's histogram mode does.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
from pyloudnorm import IIRfilter
from scipy.signal import firwin, lfilter

Samples = npt.NDArray[np.float32]

SILENCE_LUFS = -70.0
"""Absolute gate."""
RELATIVE_GATE_LU = -10.0
STEP_S = 0.1
"""Gating blocks are 0.4 s and start every 0.1 s (75 % overlap)."""
STEPS_A_BLOCK = 4
BIN_LU = 0.02
"""Width of a histogram bin; only where the relative gate falls is rounded to it."""
MAX_LUFS = 30.0
OFFSET_LU = -0.691

OVERSAMPLING = 4
PHASE_TAPS = 12
"""Taps of each phase of the interpolator, as in BS.1770 annex 2."""
PEAK_CHUNK = 256
"""Samples that are passed over together when they cannot hold a new peak."""
_FRONT, _SURROUND = 1.0, 1.41
_WEIGHTS = {
    5: (_FRONT, _FRONT, _FRONT, _SURROUND, _SURROUND),
    6: (_FRONT, _FRONT, _FRONT, 0.0, _SURROUND, _SURROUND),
    8: (_FRONT, _FRONT, _FRONT, 0.0, _FRONT, _FRONT, _SURROUND, _SURROUND),
}
"""Channel weights in FFmpeg's order; 5.1 and 7.1 leave the low-frequency channel out."""


def channel_weights(channels: int) -> npt.NDArray[np.float64]:
    """Weights of BS.1770 table 3 for FFmpeg's default layout of so many channels."""
    return np.array(_WEIGHTS.get(channels, (_FRONT,) * channels), dtype=np.float64)


class Gate:
    """The loudness of every gating block so far. Outlives a change of rate or channels in the stream."""

    def __init__(self) -> None:
        bins = int((MAX_LUFS - SILENCE_LUFS) / BIN_LU) + 1
        self._counts = np.zeros(bins, dtype=np.int64)
        self._energy = np.zeros(bins, dtype=np.float64)
        self._blocks = 0
        self._short_energy, self._short_samples = 0.0, 0

    def add(self, mean: float) -> float:
        """Take one block's mean square. Its loudness, LUFS (-inf: silent)."""
        self._blocks += 1
        loudness = _lufs(mean)
        if loudness > SILENCE_LUFS:
            index = min(int((loudness - SILENCE_LUFS) / BIN_LU), self._counts.size - 1)
            self._counts[index] += 1
            self._energy[index] += mean
        return loudness

    def add_short(self, energy: float, samples: int) -> None:
        """Take sound that may turn out to be shorter than a gating block."""
        if not self._blocks:
            self._short_energy += energy
            self._short_samples += samples

    def integrated(self) -> float | None:
        """Gated loudness, LUFS; None if nothing was above the absolute gate. A sound below 0.4 s is taken whole."""
        if not self._blocks and self._short_samples:
            loudness = _lufs(self._short_energy / self._short_samples)
            return loudness if loudness > SILENCE_LUFS else None
        counts, energy = self._above(RELATIVE_GATE_LU)
        return _lufs(float(energy.sum()) / int(counts.sum())) if counts.any() else None

    def loudness_range(self) -> float | None:
        """Between the 10th and 95th percentiles of momentary loudness above -20 LU, LU: how dynamic it is."""
        counts, _ = self._above(-20.0)
        if not counts.any():
            return None
        low, high = np.searchsorted(np.cumsum(counts) / int(counts.sum()), (0.10, 0.95))
        return float(high - low) * BIN_LU

    def _above(self, relative_lu: float) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        """Counts and energies of the bins above the relative gate."""
        total = int(self._counts.sum())
        if total == 0:
            return self._counts, self._energy
        gate = _lufs(float(self._energy.sum()) / total) + relative_lu
        first = max(0, math.ceil((gate - SILENCE_LUFS) / BIN_LU))
        return self._counts[first:], self._energy[first:]


class LoudnessMeter:
    """K-weights one stream at one rate and hands its gating blocks to a `Gate`."""

    def __init__(self, sample_rate: int, channels: int, gate: Gate) -> None:
        highest = 0.45 * sample_rate
        stages = (
            IIRfilter(4.0, 1 / np.sqrt(2), min(1500.0, highest), sample_rate, "high_shelf"),
            IIRfilter(0.0, 0.5, min(38.0, highest), sample_rate, "high_pass"),
        )
        self._stages = [(stage.passband_gain * stage.b, stage.a) for stage in stages]
        self._states = [np.zeros((channels, 2)) for _ in self._stages]
        self._weights = channel_weights(channels)
        self._gate = gate
        self._step_samples = max(1, round(STEP_S * sample_rate))
        self._step_energy, self._step_filled = 0.0, 0
        self._recent: list[float] = []

    def add(self, samples: Samples) -> list[float]:
        """Hear [channels, samples]. Momentary loudness, LUFS (-inf: silent), of every block that ended here."""
        signal = samples.astype(np.float64)
        for index, (b, a) in enumerate(self._stages):
            signal, self._states[index] = lfilter(b, a, signal, axis=1, zi=self._states[index])
            # Denormal numbers make the filter many times slower in silence.
            self._states[index][np.abs(self._states[index]) < 1e-25] = 0.0
        energy = self._weights @ np.square(signal)
        self._gate.add_short(float(energy.sum()), energy.size)
        return [
            self._gate.add(sum(self._recent) / STEPS_A_BLOCK)
            for _ in self._steps(energy)
            if len(self._recent) == STEPS_A_BLOCK
        ]

    def _steps(self, energy: npt.NDArray[np.float64]) -> Iterator[None]:
        """Pass the samples' energy into steps; one turn for every step that is full."""
        start = 0
        while start < energy.size:
            taken = min(self._step_samples - self._step_filled, energy.size - start)
            self._step_energy += float(energy[start : start + taken].sum())
            self._step_filled += taken
            start += taken
            if self._step_filled == self._step_samples:
                self._recent = [*self._recent[1 - STEPS_A_BLOCK :], self._step_energy / self._step_samples]
                self._step_energy, self._step_filled = 0.0, 0
                yield


def _lufs(energy: float) -> float:
    return OFFSET_LU + 10.0 * math.log10(energy) if energy > 0.0 else -math.inf


class TruePeakMeter:
    """True peak by 4 x oversampling (BS.1770 annex 2). Below 96 kHz; at higher rates 2 x, from 192 kHz none.

    Stretches that cannot hold a new peak are passed over: the interpolator cannot lift a sample by more than the sum of
    its taps' magnitudes, so almost all of a stream costs one comparison a sample.
    """

    def __init__(self, sample_rate: int, channels: int, peak: float = 0.0) -> None:
        self._factor = OVERSAMPLING if sample_rate < 96_000 else 2 if sample_rate < 192_000 else 1
        cutoff = min(1.0 / self._factor, 0.95)
        taps = firwin(PHASE_TAPS * self._factor + 1, cutoff, window=("kaiser", 6.0)) * self._factor
        # [phases, taps]; phase 0 is the sample itself.
        self._phases: npt.NDArray[Any] = np.stack(
            [taps[phase : phase + PHASE_TAPS * self._factor : self._factor] for phase in range(self._factor)]
        )
        self._lift = float(np.abs(self._phases).sum(axis=1).max())
        self._tail = np.zeros((channels, PHASE_TAPS), dtype=np.float32)
        self.peak = peak

    def add(self, samples: Samples) -> None:
        """Hear [channels, samples]."""
        magnitude = float(np.abs(samples).max(initial=0.0))
        self.peak = max(self.peak, magnitude)
        joined = np.concatenate([self._tail, samples], axis=1)
        self._tail = joined[:, -PHASE_TAPS:].copy()
        if self._factor == 1 or (magnitude == 0.0 and not self._tail.any()):
            return
        for channel in joined:
            self._interpolate(channel)

    def _interpolate(self, channel: npt.NDArray[np.float32]) -> None:
        reach = PHASE_TAPS
        chunks = np.arange(0, channel.size - reach, PEAK_CHUNK)
        if chunks.size == 0:
            return
        # A chunk's windows reach into the next chunk. Loudest first: a new peak spares the rest.
        magnitude = np.maximum.reduceat(np.abs(channel), chunks)
        magnitude = np.maximum(magnitude, np.append(magnitude[1:], 0.0))
        for index in np.argsort(-magnitude):
            if magnitude[index] * self._lift <= self.peak:
                return
            window = channel[chunks[index] : chunks[index] + PEAK_CHUNK + reach]
            frames = np.lib.stride_tricks.sliding_window_view(window, PHASE_TAPS)
            self.peak = max(self.peak, float(np.abs(frames @ self._phases[:, ::-1].T).max()))

    def dbtp(self) -> float | None:
        """Highest true peak so far, dBTP; None for digital silence."""
        return 20.0 * math.log10(self.peak) if self.peak > 0.0 else None
