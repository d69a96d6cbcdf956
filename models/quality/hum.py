"""Hum of the mains: steady lines at the multiples of 50 or 60 Hz.

A bass note comes and goes; hum is always there. So a line's level is what it falls to a fifth of the time, and lines
count only where they stand out of what is beside them, several at once.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from scipy.signal import firwin, upfirdn

Samples = npt.NDArray[np.float32]

LOW_RATE_HZ = 1_600.0
"""The sound is looked at up to a bit below half of this, Hz."""
WINDOW_S = 1.28
"""Long enough to tell a line at 50 Hz from a bass note at 49, s."""
MAINS_HZ = (50.0, 60.0)
PARTIALS = 10
MAX_WINDOWS = 600
"""Windows kept; of more, every second one is kept, ..."""
STANDS_OUT_DB = 8.0
"""A line is this much above the median of what is beside it."""
BESIDE_HZ = (3.5, 18.0)
"""Where beside a line its surroundings are looked at, Hz."""
LEAST_LINES = 3
"""Fewer lines are a note, not hum."""
STEADY_PERCENTILE = 20.0
USUAL_PERCENTILE = 70.0
SWELLS_DB = 5.0
"""A line that is usually this far above its steady level is played, dB."""
SILENT_DB = -90.0


class HumMeter:
    """Lines of the mains in one stream at one rate."""

    def __init__(self, sample_rate: int) -> None:
        self._factor = max(1, int(sample_rate / LOW_RATE_HZ))
        self._rate = sample_rate / self._factor
        taps = firwin(4 * self._factor + 1, 0.8 / self._factor) if self._factor > 1 else np.ones(1)
        self._taps = np.asarray(taps, dtype=np.float32)
        self._size = max(16, round(WINDOW_S * self._rate))
        window = np.hanning(self._size + 1)[:-1]
        self._window = window
        self._scale = 2.0 / float(np.square(window).sum() * self._size)
        self._pending = np.zeros(0, dtype=np.float32)
        self._spectra: list[npt.NDArray[np.float32]] = []
        self._stride, self._count = 1, 0

    def add(self, samples: Samples) -> None:
        """Hear [channels, samples]: their mean."""
        mono = samples.mean(axis=0) if samples.shape[0] > 1 else samples[0]
        low = upfirdn(self._taps, mono, 1, self._factor)[: -(-mono.size // self._factor)]
        self._pending = np.concatenate([self._pending, low])
        hop = self._size // 4
        while self._pending.size >= self._size:
            self._look(self._pending[: self._size])
            self._pending = self._pending[hop:]

    def _look(self, part: npt.NDArray[np.float32]) -> None:
        self._count += 1
        if self._count % self._stride:
            return
        power = np.square(np.abs(np.fft.rfft(part * self._window))) * self._scale
        self._spectra.append(power.astype(np.float32))
        if len(self._spectra) > MAX_WINDOWS:
            self._spectra, self._stride = self._spectra[::2], self._stride * 2

    def level_db(self) -> float | None:
        """Level of the hum, dB of full scale; None: there is none, or too little sound to tell."""
        if len(self._spectra) < 3:
            return None
        spectra = np.stack(self._spectra)
        heard = spectra[spectra.sum(axis=1) > 10.0 ** (SILENT_DB / 10.0)]
        if len(heard) < 3:
            return None
        steady, usual = np.percentile(heard, (STEADY_PERCENTILE, USUAL_PERCENTILE), axis=0)
        best = max(self._lines(steady, usual, mains) for mains in MAINS_HZ)
        return 10.0 * math.log10(best) if best > 0.0 else None

    def _lines(self, steady: npt.NDArray[np.float64], usual: npt.NDArray[np.float64], mains: float) -> float:
        """Power of the lines of these mains; 0 if there are too few."""
        step = self._rate / self._size
        found, lines = 0.0, 0
        for number in range(1, PARTIALS + 1):
            hertz = number * mains
            if hertz + BESIDE_HZ[1] > 0.4 * self._rate:
                break
            bin_hz = np.arange(steady.size) * step
            off = np.abs(bin_hz - hertz)
            near = off <= 1.01 * step
            line = float(steady[near].sum())
            if float(usual[near].sum()) > 10.0 ** (SWELLS_DB / 10.0) * line:
                continue
            beside = steady[(off >= BESIDE_HZ[0]) & (off <= BESIDE_HZ[1])]
            if line > 10.0 ** (STANDS_OUT_DB / 10.0) * float(np.median(beside)):
                lines += 1
                found += line
        return found if lines >= LEAST_LINES else 0.0
