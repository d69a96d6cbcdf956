"""Sound measures, taken at the stream's own rate while the decoder makes its one pass.

The waveform that the networks hear is mono at 16 kHz: what a person hears of clipping, treble and loudness is gone from
it. So the blocks are measured as they come. The memory used does not grow with duration.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from models.quality.curve import Curve
from models.quality.hum import HumMeter
from models.quality.loudness import STEP_S, Gate, LoudnessMeter, TruePeakMeter
from models.quality.spectrum import AmplitudeHistogram, SpectrumMeter
from models.quality.steps import StepMeter

Samples = npt.NDArray[np.float32]

CHUNK_S = 1.0
"""Blocks are gathered to this length before they are measured, s: a coder's blocks of 20 ms would cost a call each."""
MAX_CHANNELS = 8
"""Further channels are not heard."""
MAX_AMPLITUDE = 8.0
"""Louder samples (a broken decoder, a hostile file) are limited to this."""
MIN_RATE, MAX_RATE = 1_000, 768_000
"""Rates outside are not sound, Hz."""
QUIETEST_LUFS = -70.0


class Block(Protocol):
    """What is used of a block of decoded sound: see `media.types.SoundBlock`."""

    @property
    def native(self) -> npt.NDArray[np.float32]: ...  # noqa: D102
    @property
    def sample_rate(self) -> int: ...  # noqa: D102
    @property
    def time_s(self) -> float: ...  # noqa: D102


class SoundMeasures:
    """Observer of the decoder's pass: `result()` holds what `models.quality.tagger` reads.

    Result, all plain numbers (None: nothing to tell it from):
        seconds, sample_rate (Hz), channels, loudness_lufs (integrated, BS.1770-4), loudness_range_lu,
        true_peak_dbtp, clipping_share (of the samples), bandwidth_hz, snr_db, hum_db (level of the mains' lines, dB of
        full scale; None: none), dropouts_per_s, dynamics_db (`steps.StepMeter`), rail_share and
        clarity_db (`spectrum`),
        curves (`times_s`, momentary_lufs: lists of at most 256; silence is -70).
    """

    name = "sound_measures"

    def __init__(self) -> None:
        self._gate = Gate()
        self._curve = Curve("momentary_lufs")
        self._amplitudes = AmplitudeHistogram()
        self._pending: list[Samples] = []
        self._pending_samples = 0
        self._form = (0, 0)
        self._seconds = 0.0
        self._loudness: LoudnessMeter | None = None
        self._peak: TruePeakMeter | None = None
        self._spectrum: SpectrumMeter | None = None
        self._hum: HumMeter | None = None
        self._steps: StepMeter | None = None

    def frame(self, view: Any) -> None:
        """The picture tells nothing of the sound."""

    def sound(self, block: Block) -> None:
        """Hear one block."""
        native = block.native
        if native.ndim != 2 or native.size == 0 or not MIN_RATE <= block.sample_rate <= MAX_RATE:
            return
        form = (int(block.sample_rate), min(int(native.shape[0]), MAX_CHANNELS))
        if form != self._form:
            self._flush()
            self._start(*form)
        chunk = max(1, int(CHUNK_S * form[0]))
        for start in range(0, native.shape[1], chunk):
            part = native[: form[1], start : start + chunk]
            self._pending.append(np.array(part, dtype=np.float32))
            self._pending_samples += part.shape[1]
            if self._pending_samples >= chunk:
                self._flush()

    def _start(self, sample_rate: int, channels: int) -> None:
        self._form = (sample_rate, channels)
        self._loudness = LoudnessMeter(sample_rate, channels, self._gate)
        self._peak = TruePeakMeter(sample_rate, channels, self._peak.peak if self._peak else 0.0)
        # The spectrum of the last form is the one reported: few streams change, none that a phone made.
        self._spectrum = SpectrumMeter(sample_rate)
        self._hum = HumMeter(sample_rate)
        self._steps = StepMeter(sample_rate)

    def _flush(self) -> None:
        if not self._pending or self._loudness is None or self._peak is None or self._spectrum is None:
            return
        if self._hum is None or self._steps is None:
            return
        samples = np.concatenate(self._pending, axis=1)
        self._pending, self._pending_samples = [], 0
        # One comparison finds all of it: NaN is not below any limit.
        if not np.abs(samples).max() <= MAX_AMPLITUDE:
            samples = np.nan_to_num(samples, nan=0.0, posinf=0.0, neginf=0.0)
            np.clip(samples, -MAX_AMPLITUDE, MAX_AMPLITUDE, out=samples)
        self._seconds += samples.shape[1] / self._form[0]
        momentary = self._loudness.add(samples)
        for steps_ago, loudness in zip(range(len(momentary), 0, -1), momentary, strict=True):
            # A block is 0.4 s long; the curve shows it at its middle.
            time_s = max(0.0, self._seconds - steps_ago * STEP_S - 0.1)
            self._curve.add(time_s, max(QUIETEST_LUFS, loudness))
        self._peak.add(samples)
        self._amplitudes.add(samples)
        self._spectrum.add(samples)
        self._hum.add(samples)
        self._steps.add(samples)

    def result(self, waveform: Any) -> Mapping[str, Any]:
        """The observation; empty when no sound came."""
        self._flush()
        if self._peak is None or self._spectrum is None or self._hum is None or self._steps is None:
            return {}
        return {
            "seconds": round(self._seconds, 3),
            "sample_rate": self._form[0],
            "channels": self._form[1],
            "loudness_lufs": _rounded(self._gate.integrated(), 2),
            "loudness_range_lu": _rounded(self._gate.loudness_range(), 2),
            "true_peak_dbtp": _rounded(self._peak.dbtp(), 2),
            "clipping_share": round(self._amplitudes.clipping_share(), 6),
            "bandwidth_hz": _rounded(self._spectrum.bandwidth_hz(), 0),
            "snr_db": _rounded(self._spectrum.snr_db(), 1),
            "hum_db": _rounded(self._hum.level_db(), 1),
            "dropouts_per_s": _rounded(self._steps.dropouts_per_s(), 3),
            "dynamics_db": _rounded(self._steps.dynamics_db(), 2),
            "rail_share": round(self._amplitudes.rail_share(), 6),
            "floor_db": _rounded(self._spectrum.floor_db(), 2),
            "clarity_db": _rounded(self._spectrum.clarity_db(), 2),
            "curves": self._curve.points(digits=2),
        }


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None or not math.isfinite(value) else round(value, digits)
