"""What can be wrong with a sound, at six levels each, from hardly heard to ruined.

The levels are set by what the fault is (decibels, hertz, gaps a second). Those of hum were raised once, after a first
run: they began at 40 dB under music, where nobody hears it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyloudnorm
from scipy.signal import butter, sosfiltfilt

from .distortions import at_ratio, encoded, pink
from .sound_sources import RATE, Wave, write_sound

HUM_PARTIALS = {50: 1.0, 100: 0.7, 150: 0.6, 250: 0.35, 350: 0.25, 450: 0.15, 550: 0.1}
"""Of a mains hum, Hz and amplitude: a transformer's."""
GAP_S = (0.02, 0.06)
"""Shortest and longest dropout, s."""
CRUSHED_LUFS = -24.0


@dataclass(frozen=True)
class SoundFault:
    """One kind of damage.

    Attributes:
        levels: six amounts, mild to grave.
        unit: what they are.
        spoil: the damaged waveform, from waveform and amount.
        counted: whether the bars count it.
    """

    levels: tuple[float, ...]
    unit: str
    spoil: Callable[[Wave, float], Wave]
    counted: bool = True

    def write(self, wave: Wave, amount: float, path: Path) -> None:
        """The damaged sound as an upload."""
        write_sound(self.spoil(wave, amount), path)


def _clipped(wave: Wave, share: float) -> Wave:
    """Recorded so loud that this share of the samples is cut off."""
    loud = np.abs(wave[np.abs(wave) > 1e-3])
    return np.clip(wave / float(np.quantile(loud, 1.0 - share)), -1.0, 1.0).astype(np.float32)


def _muffled(wave: Wave, hertz: float) -> Wave:
    return sosfiltfilt(butter(8, hertz, fs=RATE, output="sos"), wave).astype(np.float32)


def _hissing(wave: Wave, ratio_db: float) -> Wave:
    rng = np.random.default_rng(3)
    return at_ratio(wave, rng.normal(size=len(wave)), ratio_db).astype(np.float32)


def _rumbling(wave: Wave, ratio_db: float) -> Wave:
    return at_ratio(wave, pink(len(wave), np.random.default_rng(5)), ratio_db).astype(np.float32)


def _humming(wave: Wave, ratio_db: float) -> Wave:
    times = np.arange(len(wave)) / RATE
    hum = sum(level * np.sin(2 * np.pi * hertz * times + hertz) for hertz, level in HUM_PARTIALS.items())
    return at_ratio(wave, np.asarray(hum), ratio_db).astype(np.float32)


def _broken_up(wave: Wave, rate: float) -> Wave:
    """So many gaps a second, of silence, where something is to be heard."""
    rng = np.random.default_rng(9)
    made = wave.copy()
    heard = np.flatnonzero(np.abs(wave) > 0.1 * np.sqrt(np.mean(wave**2)))
    for _ in range(round(rate * len(wave) / RATE)):
        start = int(rng.choice(heard))
        made[start : start + int(rng.uniform(*GAP_S) * RATE)] = 0.0
    return made


def _crushed(wave: Wave, drive_db: float) -> Wave:
    """Driven into a soft limiter, and brought back to one loudness."""
    made = np.tanh(wave / float(np.abs(wave).max()) * 10 ** (drive_db / 20))
    loudness = pyloudnorm.Meter(RATE).integrated_loudness(made)
    return (made * 10 ** ((CRUSHED_LUFS - loudness) / 20)).astype(np.float32)


def _coded(wave: Wave, bit_rate: float) -> Wave:
    return encoded(wave, "libopus", int(bit_rate))[: len(wave)]


SOUND_FAULTS: Mapping[str, SoundFault] = {
    "clipping": SoundFault((0.001, 0.004, 0.015, 0.05, 0.12, 0.25), "of the samples", _clipped),
    "low bandwidth": SoundFault((12_000, 8_000, 5_500, 3_800, 2_500, 1_600), "Hz", _muffled),
    "noise": SoundFault((40, 32, 24, 16, 9, 2), "dB below the sound, white", _hissing),
    "hum": SoundFault((28, 22, 16, 10, 4, -2), "dB below the sound, 50 Hz and its multiples", _humming),
    "dropouts": SoundFault((0.5, 1.0, 2.0, 4.0, 7.0, 12.0), "gaps of 20 to 60 ms a second", _broken_up),
    "crushed dynamics": SoundFault((6, 12, 18, 24, 30, 36), "dB driven into a soft limiter", _crushed),
    "pink noise": SoundFault((40, 32, 24, 16, 9, 2), "dB below the sound", _rumbling, counted=False),
    "low bit rate": SoundFault((48_000, 32_000, 22_000, 15_000, 10_000, 6_000), "bits a second of Opus", _coded, False),
}
