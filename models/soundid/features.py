"""From a waveform to spectral peaks: the landmarks that survive what platforms do to sound.

A short-time Fourier transform is mapped to logarithmic frequency, each band is whitened by its own recent mean, and
local maxima are kept under a quota for each octave and second, so that no source (speech sits in two octaves) takes
all of them. Every step looks at most `CONTEXT_FRAMES` around a frame: an excerpt has the peaks of the whole, and the
sound is worked through in chunks with the same result to the bit.

After Wang, "An industrial-strength audio search algorithm" (ISMIR 2003); logarithmic frequency after Six and Leman,
"Panako" (ISMIR 2014), so that speed and pitch are shifts of the same axis; the quota by rank is our own.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

RATE = 16_000
"""Sample rate of every waveform, Hz."""
HOP = 160
"""Samples between frames: 10 ms."""
WINDOW = 2048
"""Samples in a frame: 128 ms. Half of that finds fewer tones under noise."""
HOP_S = HOP / RATE
BINS_PER_OCTAVE = 36
LOWEST_HZ = 80.0
BINS = 221
"""Bands, up to 5.6 kHz: phone speakers and low bit rates keep little above."""
BIN_STEPS = 8
"""A peak's band is kept in eighths of a band (1/24 semitone)."""

ZONES = 6
"""Zones that share the quota, about an octave each."""
QUERY_RANK = 15
"""Peaks kept in a zone within any second: those that fewer than so many neighbours exceed."""
REFERENCE_RANK = 6
"""The strongest of them, which a catalogue holds: a query has more, so that it has these under noise."""
RANK_FRAMES = 50
"""Half of the second within which peaks are ranked, frames."""
PEAK_FRAMES = 4
"""A peak is the maximum within so many frames on either side, ..."""
PEAK_BINS = 2
"""... and within so many bands."""
MEAN_FRAMES = 150
"""Half of the window whose mean whitens a band, frames."""
AROUND_BINS = 18
"""Half of the bands whose mean power over that window a band is compared with: an octave in all."""
PRESSED = 0.3
"""Share of that power below which levels are pressed flat."""
PROMINENCE = 0.7
"""A peak exceeds the mean of its band by this much, natural log of power (3 dB)."""
FLOOR_POWER = 1e-9
"""Added to every power (-90 dBFS); no peak lies less than 10 dB above it."""

SMOOTH_FRAMES = 15
"""Window over which level changes are judged, frames."""
ACTIVITY_FRAMES = 50
"""Half of the window over which activity is judged, frames."""
ACTIVE_CHANGE = 0.4
"""Standard deviation of the level of the livelier bands around their mean, natural log of power (1.7 dB): steady
noise has about 0.25, a held tone 0.0."""
ACTIVE_LEVEL = 1e-6
"""Power below which sound counts as silence (-60 dBFS)."""

LOUDEST = 100.0
"""Samples are clipped here, 40 dB over full scale."""
CHUNK_FRAMES = 4096
BATCH_FRAMES = 128
CONTEXT_FRAMES = 2 * MEAN_FRAMES + ACTIVITY_FRAMES + SMOOTH_FRAMES + PEAK_FRAMES + 8


@dataclass(frozen=True)
class Peaks:
    """Spectral peaks in order of time.

    Attributes:
        times: uint32 [n], frames of `HOP_S`.
        bins: uint16 [n], band in steps of 1/`BIN_STEPS`, counted from `LOWEST_HZ`.
        ranks: uint8 [n], how many peaks of its zone within half a second are stronger; below `QUERY_RANK`.
    """

    times: npt.NDArray[np.uint32]
    bins: npt.NDArray[np.uint16]
    ranks: npt.NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.times)

    def where(self, keep: npt.NDArray[Any]) -> Peaks:
        """The peaks that a mask or an index chooses."""
        return Peaks(self.times[keep], self.bins[keep], self.ranks[keep])


@dataclass(frozen=True)
class Features:
    """What one waveform gave.

    Attributes:
        peaks: see `Peaks`.
        frames: frames looked at.
        sounding_s: time above silence, s.
        active_s: time that is neither silent nor steady (hum, hiss, a held tone), s.
    """

    peaks: Peaks
    frames: int
    sounding_s: float
    active_s: float


@cache
def _window() -> npt.NDArray[np.float32]:
    """Hann window, scaled so that a full-scale sine has power 1 in its bin."""
    window = np.hanning(WINDOW + 1)[:-1]
    return np.asarray(window / (window.sum() / 2), dtype=np.float32)


@cache
def _filterbank() -> list[tuple[int, int, npt.NDArray[np.float32]]]:
    """For each zone the linear bins that its bands touch (first, last) and [linear bins, bands]. Gaussians, never
    narrower than a linear bin's main lobe, so that a peak between two linear bins is found between them. By zone,
    because most bands touch few bins."""
    centres = LOWEST_HZ * 2.0 ** (np.arange(BINS) / BINS_PER_OCTAVE) / (RATE / WINDOW)
    widths = np.maximum(0.7, 0.5 * centres * (2.0 ** (1 / BINS_PER_OCTAVE) - 1))
    linear = np.arange(int(np.ceil(centres[-1] + 4 * widths[-1])) + 1)
    bank = np.exp(-0.5 * ((linear[:, None] - centres[None, :]) / widths[None, :]) ** 2)
    # The far tails are denormal numbers, which many processors multiply a hundred times slower.
    bank = np.asarray(np.where(bank > 1e-6, bank, 0.0) / bank.sum(axis=0), dtype=np.float32)
    zones = []
    for bands in np.array_split(np.arange(BINS), ZONES):
        touched = np.flatnonzero(bank[:, bands].any(axis=1))
        first, last = int(touched[0]), int(touched[-1]) + 1
        zones.append((first, last, np.ascontiguousarray(bank[first:last, bands])))
    return zones


def _bands(waveform: npt.NDArray[np.float32], first: int, last: int) -> npt.NDArray[np.float32]:
    """[last - first, BINS] band power of those frames."""
    from scipy.fft import rfft

    samples = waveform[first * HOP : (last - 1) * HOP + WINDOW]
    frames = np.lib.stride_tricks.sliding_window_view(samples, WINDOW)[::HOP]
    zones = _filterbank()
    power = np.empty((len(frames), BINS), dtype=np.float32)
    for begin in range(0, len(frames), BATCH_FRAMES):  # small enough for the cache
        part = slice(begin, begin + BATCH_FRAMES)
        spectrum = rfft(frames[part] * _window(), axis=1)[:, : zones[-1][1]]
        linear = spectrum.real**2 + spectrum.imag**2
        np.concatenate([linear[:, low:high] @ bank for low, high, bank in zones], axis=1, out=power[part])
    return power


def _mean(values: npt.NDArray[np.float32], size: int) -> npt.NDArray[np.float32]:
    """Mean along time in a centred window of `size` frames; at the ends, of what there is."""
    # In double precision: what is quiet must not drown in the rounding of what was loud before it.
    total = np.zeros((len(values) + 1, *values.shape[1:]))
    np.cumsum(values, axis=0, out=total[1:])
    at = np.arange(len(values))
    low, high = np.maximum(at - size // 2, 0), np.minimum(at + size // 2 + 1, len(values))
    count = high - low
    return np.asarray((total[high] - total[low]) / count.reshape((-1,) + (1,) * (values.ndim - 1)), dtype=np.float32)


def _activity(power: npt.NDArray[np.float32]) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """[frames] above silence, and [frames] neither silent nor steady.

    Levels of third octaves, smoothed to 0.15 s, against their mean over 3 s: the livelier half of the bands speaks
    for the frame, so that a melody in one octave counts and a hum under it does not take away from it.
    """
    third = BINS_PER_OCTAVE // 3
    loud = power.max(axis=1) > ACTIVE_LEVEL
    # The lowest octave and a half are left out: their bands are too narrow for noise to average out.
    zones = np.add.reduceat(power, np.arange(5 * third, BINS, third), axis=1)
    level = np.log(_mean(zones, SMOOTH_FRAMES) + np.float32(ACTIVE_LEVEL))
    change = _mean((level - _mean(level, 2 * MEAN_FRAMES + 1)) ** 2, 2 * ACTIVITY_FRAMES + 1)
    lively = np.sort(change, axis=1)[:, change.shape[1] // 2 :].mean(axis=1)
    return loud, loud & (lively > ACTIVE_CHANGE**2)


def _local_peaks(
    power: npt.NDArray[np.float32],
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp], npt.NDArray[np.float32], npt.NDArray[np.uint16]]:
    """Frame, band, strength and refined band of each local maximum."""
    from scipy.ndimage import maximum_filter1d

    # What lies far below its surroundings is leakage, the codec's, or the first to drown in noise: it is pressed flat.
    around = _mean(_mean(power, 2 * MEAN_FRAMES + 1).T, 2 * AROUND_BINS + 1).T
    level = np.log(power + np.float32(PRESSED) * around + np.float32(FLOOR_POWER))
    white = level - _mean(level, 2 * MEAN_FRAMES + 1)
    highest = maximum_filter1d(white, 2 * PEAK_BINS + 1, axis=1, mode="nearest")
    highest = maximum_filter1d(highest, 2 * PEAK_FRAMES + 1, axis=0, mode="nearest")
    top = (white == highest) & (white > PROMINENCE) & (power > 10 * FLOOR_POWER)
    top[:, 0] = top[:, -1] = False
    frame, band = np.nonzero(top)
    strength = white[frame, band]
    below, above = white[frame, band - 1], white[frame, band + 1]
    bend = 2 * strength - below - above
    shift = np.where(bend > 1e-6, 0.5 * (above - below) / np.maximum(bend, 1e-6), 0.0)
    refined = np.rint((band + np.clip(shift, -0.5, 0.5)) * BIN_STEPS).astype(np.uint16)
    return frame, band, strength, refined


def _ranks(
    frame: npt.NDArray[np.intp], zone: npt.NDArray[np.intp], strength: npt.NDArray[np.float32]
) -> npt.NDArray[np.intp]:
    """For each peak, how many of its zone within `RANK_FRAMES` are stronger. Independent of where a clip begins."""
    rank = np.zeros(len(frame), dtype=np.intp)
    for one in range(ZONES):
        at = np.flatnonzero(zone == one)
        times, strengths = frame[at], strength[at]
        for step in range(1, len(at)):
            near = times[step:] - times[:-step] <= RANK_FRAMES
            if not near.any():
                break
            later = strengths[step:] > strengths[:-step]
            rank[at[:-step]] += near & later
            rank[at[step:]] += near & ~later
    return rank


def bounded(waveform: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """The waveform as float32 [samples] without what would spoil a sum: what is not finite counts as silence."""
    waveform = np.asarray(waveform, dtype=np.float32).reshape(-1)
    if len(waveform) and not np.abs(waveform).max() <= LOUDEST:  # also where it is not a number
        waveform = np.clip(np.nan_to_num(waveform, nan=0.0, posinf=0.0, neginf=0.0), -LOUDEST, LOUDEST)
    return waveform


def extract(waveform: npt.NDArray[np.float32]) -> Features:
    """Find the peaks of a sound.

    Args:
        waveform: float32 [samples], mono at `RATE`, nominally -1 to 1, `bounded`.

    Returns:
        Its features; no peaks for an empty, a silent or a very short waveform.
    """
    frames = max(0, (len(waveform) - WINDOW) // HOP + 1)
    sounding = active = 0
    parts: list[tuple[npt.NDArray[Any], ...]] = []
    for start in range(0, frames, CHUNK_FRAMES):
        stop = min(start + CHUNK_FRAMES, frames)
        low, high = max(0, start - CONTEXT_FRAMES), min(frames, stop + CONTEXT_FRAMES)
        piece = waveform[low * HOP : (high - 1) * HOP + WINDOW]
        power = _bands(piece, 0, high - low)
        loud, lively = _activity(power)
        sounding += int(loud[start - low : stop - low].sum())
        active += int(lively[start - low : stop - low].sum())
        frame, band, strength, refined = _local_peaks(power)
        core = (frame >= start - low) & (frame < stop - low)
        parts.append((frame[core] + low, band[core], strength[core], refined[core]))
    if not parts:
        none = np.zeros(0)
        return Features(Peaks(none.astype(np.uint32), none.astype(np.uint16), none.astype(np.uint8)), frames, 0.0, 0.0)
    frame, band, strength, refined = (np.concatenate(column) for column in zip(*parts, strict=True))
    rank = _ranks(frame, band * ZONES // BINS, strength)
    keep = rank < QUERY_RANK
    peaks = Peaks(frame[keep].astype(np.uint32), refined[keep], rank[keep].astype(np.uint8))
    return Features(peaks, frames, sounding * HOP_S, active * HOP_S)
