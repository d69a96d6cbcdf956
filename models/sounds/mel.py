"""Mel bands as librosa has them, without librosa: it takes seconds to import and compiles code."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import numpy.typing as npt

LINEAR_HZ = 200.0 / 3
"""Slaney's Auditory Toolbox (1998): linear below 1 kHz, by so many Hz a mel,"""
BREAK_HZ = 1000.0
LOG_STEP = math.log(6.4) / 27.0
"""logarithmic above it."""


def _to_mel(hz: float) -> float:
    return hz / LINEAR_HZ if hz < BREAK_HZ else BREAK_HZ / LINEAR_HZ + math.log(hz / BREAK_HZ) / LOG_STEP


def _to_hz(mel: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    at = BREAK_HZ / LINEAR_HZ
    return np.where(mel < at, mel * LINEAR_HZ, BREAK_HZ * np.exp(LOG_STEP * (np.maximum(mel, at) - at)))


@lru_cache(maxsize=4)
def slaney_bands(rate: int, fft: int, bands: int) -> npt.NDArray[np.float32]:
    """[fft / 2 + 1, bands] triangles from 0 to rate / 2, each of unit area: `librosa.filters.mel`, transposed."""
    edges = _to_hz(np.linspace(0.0, _to_mel(rate / 2), bands + 2))
    hz = np.fft.rfftfreq(fft, 1 / rate)[:, None]
    rising = (hz - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - hz) / (edges[2:] - edges[1:-1])
    triangles = np.maximum(np.minimum(rising, falling), 0.0) * 2 / (edges[2:] - edges[:-2])
    return triangles.astype(np.float32)
