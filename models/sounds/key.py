"""The key of music, from the waveform, cheaply enough for the decoder's process.

Spectral peaks are folded into twelve pitch classes as Gomez 2006 ("Tonal Description of Polyphonic Audio": harmonic
pitch class profiles, each peak also counting for the tones whose harmonic it may be), after the tuning is found. The
key is the one whose profile correlates best with it (Krumhansl and Schmuckler's method, Krumhansl 1990), with the
profiles that Albrecht and Shanahan 2013 ("The Use of Large Corpora to Train a New Type of Key-Finding Algorithm")
counted.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

RATE = 16_000
"""Of the waveform, Hz."""
FFT = 4096
HOP = 4096
"""0.26 s: keys are slower than chords."""
LOWEST_HZ, HIGHEST_HZ = 80.0, 2000.0
"""Below, a semitone is narrower than a bin; above, there are mostly harmonics."""
HARMONICS = 5
DECAY = 0.6
"""Weight of each harmonic against the one before."""
PEAKS = 40
"""Strongest peaks of a frame that count."""
LONGEST_S = 120.0
"""Sound looked at, from the start."""
SHORTEST_S = 4.0
QUIET = 1e-4
"""Peak amplitude under which there is nothing to measure: -80 dBFS."""
A4_HZ = 440.0

NAMES = ("C", "C#", "D", "Eb", "E", "F", "F#", "G", "Ab", "A", "Bb", "B")
MAJOR = (0.238, 0.006, 0.111, 0.006, 0.137, 0.094, 0.016, 0.214, 0.009, 0.080, 0.008, 0.081)
MINOR = (0.220, 0.006, 0.104, 0.123, 0.019, 0.103, 0.012, 0.214, 0.062, 0.022, 0.061, 0.052)
"""Shares of the pitch classes from the tonic on."""

Samples = npt.NDArray[np.float32]


class KeyObserver:
    """An observer of the decoder's pass (`media.types.Observer`): `{"key", "correlation", "margin"}`, see
    `find_key`."""

    name = "key"

    def frame(self, view: Any) -> None:
        """Not needed."""

    def sound(self, block: Any) -> None:
        """Not needed: the waveform at the end is enough."""

    def result(self, waveform: Samples) -> Mapping[str, Any]:
        """Measure the finished waveform, mono at 16 kHz."""
        key, correlation, margin = find_key(waveform)
        return {"key": key, "correlation": correlation, "margin": margin}


def find_key(waveform: Samples) -> tuple[str | None, float, float]:
    """Key ("A minor"), its profile's correlation, and by how much it beats the best key that shares no tonic triad.

    No key: (None, 0, 0).
    """
    sound = np.asarray(waveform[: int(LONGEST_S * RATE)], dtype=np.float32)
    if len(sound) < SHORTEST_S * RATE or not np.isfinite(sound).all() or np.abs(sound).max() < QUIET:
        return None, 0.0, 0.0
    chroma = pitch_classes(sound)
    if chroma.std() < 1e-9:
        return None, 0.0, 0.0
    correlations = _profiles() @ (chroma - chroma.mean()) / (12 * chroma.std())
    order = np.argsort(-correlations, kind="stable")
    best = int(order[0])
    margin = float(correlations[best] - correlations[order[1]])
    name = f"{NAMES[best % 12]} {'major' if best < 12 else 'minor'}"
    return name, round(float(correlations[best]), 4), round(margin, 4)


def pitch_classes(sound: Samples) -> npt.NDArray[np.float64]:
    """[12] shares of the pitch classes from C on, in the sound's own tuning."""
    hertz, strength = _peaks(sound)
    chroma = np.zeros(12)
    if len(hertz) == 0:
        return chroma
    pitch = 12 * np.log2(hertz / A4_HZ) + 9  # in semitones above C
    tuning = np.angle((strength * np.exp(2j * np.pi * pitch)).sum()) / (2 * np.pi)
    for harmonic in range(1, HARMONICS + 1):
        fundamental = pitch - tuning - 12 * np.log2(harmonic)
        off = fundamental - np.round(fundamental)
        weight = strength * DECAY ** (harmonic - 1) * np.cos(np.pi * off) ** 2
        np.add.at(chroma, np.round(fundamental).astype(int) % 12, weight)
    return chroma / max(chroma.sum(), 1e-12)


def _peaks(sound: Samples) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Frequency (Hz) and strength of the peaks of all frames. A frame counts by the root of its highest magnitude."""
    frames = np.lib.stride_tricks.sliding_window_view(sound, FFT)[::HOP]
    window = np.hanning(FFT + 1)[:-1].astype(np.float32)
    magnitudes = np.abs(np.fft.rfft(frames * window)).astype(np.float64)
    low, high = int(LOWEST_HZ * FFT / RATE), int(HIGHEST_HZ * FFT / RATE)
    middle, before, after = (
        magnitudes[:, low:high],
        magnitudes[:, low - 1 : high - 1],
        magnitudes[:, low + 1 : high + 1],
    )
    is_peak = (middle > before) & (middle >= after)
    height = np.where(is_peak, middle, 0.0)
    least = np.partition(height, -PEAKS, axis=1)[:, -PEAKS][:, None]
    frame, at = np.nonzero(is_peak & (height >= np.maximum(least, 1e-3 * height.max(axis=1, keepdims=True) + 1e-9)))
    # A parabola through the logarithms of three bins finds the frequency between them.
    left, peak, right = (np.log(part[frame, at] + 1e-12) for part in (before, middle, after))
    bend = left - 2 * peak + right
    shift = np.where(bend < 0, 0.5 * (left - right) / np.where(bend < 0, bend, -1.0), 0.0)
    strength = np.sqrt(middle[frame, at])
    total = np.bincount(frame, strength, minlength=len(frames))
    loudness = np.sqrt(magnitudes.max(axis=1))
    strength = strength / total[frame] * (loudness / max(loudness.max(), 1e-12))[frame]
    return (at + low + shift) * RATE / FFT, strength


@lru_cache(maxsize=1)
def _profiles() -> npt.NDArray[np.float64]:
    """[24, 12], major keys from C on, then minor ones; each with mean 0 and deviation 1."""
    rows = np.array([np.roll(profile, tonic) for profile in (MAJOR, MINOR) for tonic in range(12)])
    rows = rows - rows.mean(axis=1, keepdims=True)
    return np.asarray(rows / rows.std(axis=1, keepdims=True))
