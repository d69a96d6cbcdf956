"""Tempo, from the waveform, cheaply enough for the decoder's process.

Onset strength is the mean rise of the log-mel spectrum; the tempo is the strongest period of its autocorrelation under
a log-normal prior around 120 beats a minute (Ellis 2007, "Beat Tracking by Dynamic Programming"; the definitions of
librosa.feature.tempo). It is written out here because importing librosa takes seconds in every decoder process,
compiles code, and wants a cache on disk that the sandbox has not.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

RATE = 16_000
"""Of the waveform, Hz."""
FFT = 1024
HOP = 128
"""8 ms: at 180 beats a minute a period is then 41.7 hops, and its peak can be interpolated."""
BANDS = 40
LOWEST_HZ, HIGHEST_HZ = 30.0, 8000.0
DYNAMIC_RANGE_DB = 80.0
BLOCK_FRAMES = 2048
LONGEST_S = 120.0
"""Sound looked at, from the start."""
SHORTEST_S = 4.0
"""Below this a slow tempo has too few beats."""
MIN_BPM, MAX_BPM = 40.0, 220.0
PRIOR_BPM = 120.0
PRIOR_OCTAVES = 0.8
TWO_BEATS = 0.5
"""How much a period of two beats speaks for the beat beside the beat's own: a dotted rhythm may repeat more strongly
than the beat does, but not at twice its length. This and the prior's width are the best of 63 choices on synthesised
beats and on half of the corpus's music."""
QUIET = 1e-4
"""Peak amplitude under which there is nothing to measure: -80 dBFS."""

WEAKEST_ONSET_DB = 1.0
"""A sound whose strongest onset is weaker is one steady tone or hum."""

Samples = npt.NDArray[np.float32]


class TempoObserver:
    """An observer of the decoder's pass (`media.types.Observer`): `{"tempo_bpm": float | None, "confidence": 0..1}`."""

    name = "tempo"

    def frame(self, view: Any) -> None:
        """Not needed."""

    def sound(self, block: Any) -> None:
        """Not needed: the waveform at the end is enough."""

    def result(self, waveform: Samples) -> Mapping[str, Any]:
        """Measure the finished waveform, mono at 16 kHz."""
        tempo_bpm, confidence = estimate_tempo(waveform)
        return {"tempo_bpm": tempo_bpm, "confidence": confidence}


def estimate_tempo(waveform: Samples) -> tuple[float | None, float]:
    """Beats a minute, and how periodic the onsets are at it (0 to 1). No tempo: (None, 0)."""
    sound = np.asarray(waveform[: int(LONGEST_S * RATE)], dtype=np.float32)
    if len(sound) < SHORTEST_S * RATE or not np.isfinite(sound).all() or np.abs(sound).max() < QUIET:
        return None, 0.0
    onsets = onset_strength(sound)
    if onsets.max() < WEAKEST_ONSET_DB:
        return None, 0.0
    onsets = onsets - onsets.mean()
    shortest, longest = (int(60 * RATE / HOP / bpm) for bpm in (MAX_BPM, MIN_BPM))
    correlation = _autocorrelation(onsets, 2 * longest + 3)
    if correlation is None:
        return None, 0.0
    lags = np.arange(shortest, longest + 1)
    prior = np.exp(-0.5 * (np.log2(60 * RATE / HOP / lags / PRIOR_BPM) / PRIOR_OCTAVES) ** 2)
    one, two = np.maximum(correlation[lags], 0.0), _two_beats(correlation, lags)
    at = int(np.argmax((one + TWO_BEATS * two) * prior))
    best = int(lags[at])
    height = float(correlation[best])
    if height <= 0:
        return None, 0.0
    # Where every other beat sounds different, only two are alike.
    confidence = float(max(one[at], two[at]))
    before, after = correlation[best - 1], correlation[best + 1]
    bend = before - 2 * height + after
    lag = best + (0.5 * float((before - after) / bend) if bend < 0 else 0.0)
    return round(60 * RATE / HOP / lag, 2), round(min(confidence, 1.0), 4)


def _two_beats(correlation: npt.NDArray[np.float64], lags: npt.NDArray[np.intp]) -> npt.NDArray[np.float64]:
    """Correlation at twice each lag; the double of a lag between two hops may be two hops off."""
    near = lags[:, None] * 2 + np.arange(-2, 3)
    return np.maximum(correlation[np.minimum(near, len(correlation) - 1)].max(axis=1), 0.0)


def onset_strength(sound: Samples) -> npt.NDArray[np.float64]:
    """[frames], the mean rise in dB over the mel bands from each frame to the next."""
    frames = np.lib.stride_tricks.sliding_window_view(sound, FFT)[::HOP]
    window = np.hanning(FFT + 1)[:-1].astype(np.float32)
    power = np.concatenate(
        [
            np.square(np.abs(np.fft.rfft(frames[at : at + BLOCK_FRAMES] * window))) @ _mel_bands()
            for at in range(0, len(frames), BLOCK_FRAMES)
        ]
    )
    level = 10 * np.log10(np.maximum(power, 1e-10))
    level = np.maximum(level, level.max() - DYNAMIC_RANGE_DB)
    return np.maximum(np.diff(level, axis=0), 0.0).mean(axis=1)


def _autocorrelation(values: npt.NDArray[np.float64], lags: int) -> npt.NDArray[np.float64] | None:
    """Normalised to 1 at lag 0, and for the number of pairs at each lag. None if nothing varies."""
    size = 1 << (2 * len(values) - 1).bit_length()
    spectrum = np.fft.rfft(values, size)
    correlation = np.fft.irfft(spectrum * spectrum.conj(), size)[:lags]
    if correlation[0] <= 1e-9 * len(values):
        return None
    # Where few pairs are left, they say little.
    pairs = np.maximum(len(values) - np.arange(lags), len(values) // 4)
    scaled: npt.NDArray[np.float64] = correlation / correlation[0] * len(values) / pairs
    return scaled


@lru_cache(maxsize=1)
def _mel_bands() -> npt.NDArray[np.float64]:
    """[FFT / 2 + 1, BANDS] triangles, evenly spaced in mel (O'Shaughnessy 1987), each of unit area."""
    lowest, highest = (2595 * math.log10(1 + hz / 700) for hz in (LOWEST_HZ, HIGHEST_HZ))
    edges = 700 * (10 ** (np.linspace(lowest, highest, BANDS + 2) / 2595) - 1)
    hz = np.fft.rfftfreq(FFT, 1 / RATE)[:, None]
    rising = (hz - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - hz) / (edges[2:] - edges[1:-1])
    return np.maximum(np.minimum(rising, falling), 0.0) * 2 / (edges[2:] - edges[:-2])
