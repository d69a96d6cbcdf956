"""Bandwidth, noise and clipping of a stream, from its spectrum and its amplitudes, in memory that does not grow."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.fft import rfft

Samples = npt.NDArray[np.float32]

WINDOW_S = 0.043
"""Length of a window, s: 2048 samples at 48 kHz, and the nearest power of two at other rates."""
WINDOWS_PER_CHUNK = 24
"""Windows looked at in each call, spread over it."""
MAX_CHANNELS = 2
"""Channels whose spectrum is taken."""

LOWEST_HZ = 150.0
"""Below are rumble and few bins, Hz."""
MIN_BAND_BINS = 8
"""A band has at least this many bins, so that the median across it means something."""
BANDS = 16
"""At most."""
QUIETEST_DB, LOUDEST_DB = -150, 30
"""Range of the band levels' histogram, 1 dB each."""
SILENT_DB = -100.0
"""Windows below are digital silence, which tells nothing of noise, dB of full scale."""
NOISE_PERCENTILE = 0.1
"""What a band falls to a tenth of the time is its noise (minimum statistics, Martin 2001)."""
NOISE_BIAS_DB = 1.0
"""The tenth percentile of a band's median lies this much below the mean of its noise, dB (measured on white noise)."""
MIN_SNR_DB, MAX_SNR_DB = -10.0, 60.0

BANDWIDTH_STEP_HZ = 100.0
"""Resolution of the bandwidth, Hz."""
BANDWIDTH_RANGE_DB = 62.0
"""What lies further below the strongest part, after +6 dB an octave, is not heard as sound, dB."""

ROLL_OFF, ABOVE_ROLL_OFF = 0.9994, 1.25
"""The bandwidth is at most this much above where so much of the tilted power is reached."""
INAUDIBLE_DB = -60.0
"""A bin of the long-term spectrum this far below the whole sound is not heard beside it, dB."""
BAND_AUDIBLE_DB = -62.0
"""A band this far below the whole sound is not heard, dB."""
QUIETEST_FLOOR_DB = -70.0
MAX_BAND_SNR_DB = 40.0
CLEAR_DB = 2.0
"""A band that does not rise this far above its own floor is nothing but steady noise, dB."""

CLIFF_DB, CLIFF_STAYS_DB = 15.0, 10.0
"""A cliff falls by more than the first within twice `CLIFF_FAR_HZ`, and all above stays below by the second, dB."""
CLIFF_NEAR_HZ, CLIFF_FAR_HZ = 150.0, 700.0
CLIFF_LOWEST_HZ = 2_500.0
"""Lower cliffs are of the sound itself: a drum, a hum, Hz."""
FLOOR_DB = -150.0

RAIL = 0.99
"""Samples beyond are at the rail of full scale."""
NEAR_RAIL = 0.79
"""Coding moves a clipped sample by up to 2 dB: beyond this it may have been at the rail."""
AUDIBLE = 0.005
"""Quieter samples are pauses."""
AMPLITUDE_BINS = 400
"""Over amplitudes 0 to 2: each 0.005 wide."""


class SpectrumMeter:
    """Long-term spectrum and the floor under it, of one stream at one rate."""

    def __init__(self, sample_rate: int) -> None:
        self._rate = sample_rate
        self._size = max(64, 2 ** round(math.log2(WINDOW_S * sample_rate)))
        window = np.hanning(self._size)
        self._window = window.astype(np.float32)
        self._scale = 2.0 / float(np.square(window).sum() * self._size)
        self._hz = np.fft.rfftfreq(self._size, 1.0 / sample_rate)
        self._power = np.zeros(self._hz.size, dtype=np.float64)
        self._windows = 0
        self._edges = _band_edges(self._hz)
        self._floor = np.zeros((max(0, self._edges.size - 1), LOUDEST_DB - QUIETEST_DB), dtype=np.int64)
        self._bands = np.zeros(len(self._floor), dtype=np.float64)

    def add(self, samples: Samples) -> None:
        """Hear [channels, samples]; a piece shorter than a window is filled up with silence."""
        samples = samples[:MAX_CHANNELS]
        if samples.shape[1] < self._size:
            samples = np.pad(samples, ((0, 0), (0, self._size - samples.shape[1])))
        last = samples.shape[1] - self._size
        count = min(WINDOWS_PER_CHUNK, 1 + last // (self._size // 2))
        starts = np.linspace(0, last, count).astype(int)
        frames = np.lib.stride_tricks.sliding_window_view(samples, self._size, axis=1)[:, starts]
        power = np.square(np.abs(rfft(frames * self._window, axis=-1))).astype(np.float64).mean(axis=0) * self._scale
        self._power += power.sum(axis=0)
        self._windows += count
        heard = power[power.sum(axis=1) > 10.0 ** (SILENT_DB / 10.0)]
        if not heard.size:
            return
        for band, (low, high) in enumerate(zip(self._edges[:-1], self._edges[1:], strict=True)):
            # Partials are peaks; noise lies between them. The median of noise is ln 2 of its mean.
            level = np.median(heard[:, low:high], axis=1) * ((high - low) / math.log(2.0))
            index = (10.0 * np.log10(level + 1e-15)).astype(int) - QUIETEST_DB
            self._bands[band] += float(heard[:, low:high].sum())
            np.add.at(self._floor[band], np.clip(index, 0, LOUDEST_DB - QUIETEST_DB - 1), 1)

    def snr_db(self) -> float | None:
        """How far the sound stands above its own floor, dB; None for digital silence."""
        if self._floor.size == 0 or not self._floor.any():
            return None
        noise = float(np.sum(10.0 ** (self._quiet_db() / 10.0)))
        heard = self._power[self._edges[0] : self._edges[-1]].sum() / (self._floor[0].sum())
        signal = max(float(heard) - noise, 1e-9 * noise)
        return min(MAX_SNR_DB, max(MIN_SNR_DB, 10.0 * math.log10(signal / noise)))

    def _quiet_db(self) -> npt.NDArray[np.float64]:
        """What each band falls to, dB."""
        cumulative = np.cumsum(self._floor, axis=1) / self._floor.sum(axis=1, keepdims=True)
        return np.asarray(np.argmax(cumulative >= NOISE_PERCENTILE, axis=1) + QUIETEST_DB + 0.5 + NOISE_BIAS_DB)

    def clarity_db(self) -> float | None:
        """How far each audible band stands above its own floor, mean over the bands, dB; None for digital silence.

        An ear hears hiss in the treble below a bass that is far louder: so bands count alike, and not by their power.
        """
        if self._floor.size == 0 or not self._floor.any():
            return None
        level_db = 10.0 * np.log10(self._bands / self._floor[0].sum() + 1e-18)
        whole_db = 10.0 * math.log10(float(self._bands.sum()) / int(self._floor[0].sum()) + 1e-18)
        heard = level_db > whole_db + BAND_AUDIBLE_DB
        above = np.clip(level_db - self._quiet_db(), 0.0, MAX_BAND_SNR_DB)
        return float(above[heard].mean()) if heard.any() else None

    def floor_db(self) -> float | None:
        """Level of the floor under the whole sound, dB, mean over the bands: all count alike. None: digital silence."""
        if self._floor.size == 0 or not self._floor.any():
            return None
        whole_db = 10.0 * math.log10(float(self._bands.sum()) / int(self._floor[0].sum()) + 1e-18)
        return float(np.maximum(self._quiet_db() - whole_db, QUIETEST_FLOOR_DB).mean())

    def bandwidth_hz(self) -> float | None:
        """Highest frequency that still belongs to the sound, Hz; None for digital silence."""
        if self._windows == 0 or self._power.sum() / self._windows < 10.0 ** (SILENT_DB / 10.0):
            return None
        width = max(1, round(BANDWIDTH_STEP_HZ / float(self._hz[1])))
        usable = self._power.size // width * width
        # The median in each step: a pilot tone is not bandwidth.
        level = np.median(self._power[:usable].reshape(-1, width), axis=1) / self._windows
        centre = self._hz[:usable].reshape(-1, width).mean(axis=1)
        audible = self._power.sum() / self._windows * 10.0 ** (INAUDIBLE_DB / 10.0)
        tilted = level * np.square(np.maximum(centre, 100.0))
        within = np.flatnonzero((tilted > tilted.max() * 10.0 ** (-BANDWIDTH_RANGE_DB / 10.0)) & (level > audible))
        if not within.size:
            within = np.array([int(np.argmax(tilted))])
        # Beside a steep low-pass the skirt is still above the limit; but next to nothing of the whole lies in it.
        summed = np.cumsum(tilted)
        most = float(centre[int(np.searchsorted(summed, ROLL_OFF * summed[-1]))])
        limits = [float(centre[within[-1]] + BANDWIDTH_STEP_HZ / 2), ABOVE_ROLL_OFF * most, self._rate / 2.0]
        cliff = _cliff(10.0 * np.log10(level + 1e-18), float(centre[1] - centre[0]), centre)
        if cliff is not None:
            limits.append(cliff)
        if (clear := self._highest_clear_hz()) is not None:
            limits.append(clear)
        return min(limits)

    def _highest_clear_hz(self) -> float | None:
        """Upper edge of the highest band that stands above its own floor: above it is nothing but hiss, Hz."""
        if self._floor.size == 0 or not self._floor.any():
            return None
        level_db = 10.0 * np.log10(self._bands / self._floor[0].sum() + 1e-18)
        above = level_db - self._quiet_db() > CLEAR_DB
        beside = np.concatenate([[False], above, [False]])
        clear = np.flatnonzero(above & (beside[:-2] | beside[2:]))  # one band alone rises by chance
        return float(self._hz[min(int(self._edges[clear[-1] + 1]), self._hz.size - 1)]) if clear.size else None


def _cliff(level_db: npt.NDArray[Any], step_hz: float, centre: npt.NDArray[Any]) -> float | None:
    """Where a low-pass filter (another rate's Nyquist, a coder's limit) cut the spectrum off, Hz; None: nowhere.

    Natural spectra fall gently; above a cliff are at most the mirror images of the lower part, well below its edge.
    """
    near, far = max(1, round(CLIFF_NEAR_HZ / step_hz)), max(2, round(CLIFF_FAR_HZ / step_hz))
    if level_db.size < 2 * far + 2:
        return None
    best, found = CLIFF_DB, None
    for index in range(max(far, int(CLIFF_LOWEST_HZ / step_hz)), level_db.size - near - 1):
        below = float(np.median(level_db[index - far : index - near + 1]))
        above = float(np.median(level_db[index + near : index + far + 1]))
        drop = below - max(above, FLOOR_DB)
        if drop > best and level_db[index + near :].max() < below - CLIFF_STAYS_DB:
            best, found = drop, float(centre[index])
    return found


def _band_edges(hz: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    """Bin indices that part the spectrum into bands, growing with frequency."""
    first = int(np.searchsorted(hz, LOWEST_HZ))
    edges = np.searchsorted(hz, np.geomspace(LOWEST_HZ, float(hz[-1]), BANDS + 1))
    kept = [first]
    for edge in edges[1:]:
        if edge - kept[-1] >= MIN_BAND_BINS:
            kept.append(int(edge))
    return np.array(kept if len(kept) > 1 else [], dtype=np.int64)


class AmplitudeHistogram:
    """How often each amplitude occurs: clipped sound piles up at one."""

    def __init__(self) -> None:
        self._counts = np.zeros(AMPLITUDE_BINS, dtype=np.int64)

    def add(self, samples: Samples) -> None:
        """Hear [channels, samples]."""
        index = np.minimum(np.abs(samples.reshape(-1)) * (AMPLITUDE_BINS / 2.0), AMPLITUDE_BINS - 1).astype(np.int16)
        self._counts += np.bincount(index, minlength=AMPLITUDE_BINS)

    def clipping_share(self) -> float:
        """Share of the samples that were cut off, 0 to 1."""
        total = int(self._counts.sum())
        if total == 0:
            return 0.0
        at_rail = int(self._counts[round(RAIL * AMPLITUDE_BINS / 2.0) :].sum())
        return max(at_rail, self._piled_up()) / total

    def rail_share(self) -> float:
        """Share of the audible samples that lie within 2 dB of full scale or beyond, 0 to 1."""
        audible = int(self._counts[round(AUDIBLE * AMPLITUDE_BINS / 2.0) :].sum())
        near = int(self._counts[round(NEAR_RAIL * AMPLITUDE_BINS / 2.0) :].sum())
        return near / audible if audible else 0.0

    def _piled_up(self) -> int:
        """Samples piled up at the top, wherever it is: sound that was clipped and then turned down."""
        used = np.flatnonzero(self._counts > 2)
        if used.size == 0 or used[-1] < 20:
            return 0
        top = int(used[-1])
        width = max(1, top // 50)
        pile = int(self._counts[top - width + 1 : top + 1].sum())
        below = int(self._counts[top - 3 * width + 1 : top - width + 1].sum()) / 2
        # Amplitudes get rarer towards the peak; even a pure tone's double at most by this much.
        clipped = int(pile - below) if pile > 4.0 * below else 0
        # More than half is no clipping but a wave that knows two levels: a square wave, an early game's sound.
        return clipped if clipped < 0.5 * int(self._counts.sum()) else 0
