"""The whitened waveform, one bit a sample: what tells the same recording from anything that only resembles it.

Two recordings of one piece agree in their peaks; only the same recording agrees in phase. Each band is divided by its
own recent level and each frame by its own, so that every band and moment says as much as any other and neither a bass
nor a voice decides alone; of the result the sign is kept, which costs a correlation a fifth (2/pi in power) and
the keeping one bit.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from models.soundid.features import RATE

DECIMATION = 3
SIGN_RATE = RATE / DECIMATION
"""Signs a second: 667 bytes, 2.4 MB an hour."""
CUTOFF_HZ = 2450.0
LOWEST_HZ = 100.0
TAPS = 129
FRAME = 512
"""Samples in a frame: 96 ms, half of it new in each."""
BINS = slice(int(LOWEST_HZ / SIGN_RATE * FRAME), int(CUTOFF_HZ / SIGN_RATE * FRAME))
LEVEL_S = 5.0
"""Window whose mean power a band is divided by, s."""
FLOOR = 1e-5
"""A band that lies further below the frame's mean power is not raised."""
FRAME_POWER = 0.7
"""Power of its own level that a frame is divided by: what is loud for a moment does not drown the rest."""
QUIET = 0.05
CHUNK_FRAMES = 4096

Signs = npt.NDArray[np.uint8]


@cache
def lowpass(taps: int, cutoff_hz: float) -> npt.NDArray[np.float32]:
    """A low-pass filter, float32 [taps]; `taps` MUST be odd."""
    from scipy.signal import firwin

    return np.asarray(firwin(taps, cutoff_hz, fs=RATE), dtype=np.float32)


def decimated(waveform: npt.NDArray[np.float32], taps: npt.NDArray[np.float32], factor: int) -> npt.NDArray[np.float32]:
    """float32 [ceil(samples / factor)], every so many-th sample of the filtered waveform, without any delay."""
    from scipy.signal import upfirdn

    # Half the filter is cut from the front.
    half = len(taps) // 2
    padded = np.concatenate([waveform, np.zeros(len(taps), dtype=np.float32)])
    line = upfirdn(np.concatenate([np.zeros(-half % factor, dtype=np.float32), taps]), padded, 1, factor)
    return np.asarray(line[-(-half // factor) :][: -(-len(waveform) // factor)], dtype=np.float32)


def flattened(
    line: npt.NDArray[np.float32], size: int, rate: float, bins: slice
) -> Iterator[tuple[int, npt.NDArray[np.complex64]]]:
    """Spectra of which every bin and every frame says as much as any other, some frames at a time.

    Frame k, of so many samples, begins k - 1 half frames after the line; its window is the root of Hann's.

    Yields:
        The number of the first frame, and complex64 [frames, bins].
    """
    from scipy.fft import rfft

    hop = size // 2
    window = np.sqrt(np.hanning(size + 1)[:-1]).astype(np.float32)
    padded = np.concatenate([np.zeros(hop, dtype=np.float32), line, np.zeros(size, dtype=np.float32)])
    frames = np.lib.stride_tricks.sliding_window_view(padded, size)[::hop]
    around = int(LEVEL_S * rate / hop / 2)
    for start in range(0, len(frames), CHUNK_FRAMES):
        stop = min(start + CHUNK_FRAMES, len(frames))
        first, last = max(0, start - around), min(len(frames), stop + around)
        spectrum = rfft(frames[first:last] * window, axis=1)
        power = spectrum.real**2 + spectrum.imag**2
        total = np.concatenate([np.zeros((1, power.shape[1])), np.cumsum(power, axis=0, dtype=np.float64)])
        at = np.arange(start, stop)
        begin, end = np.maximum(at - around, first) - first, np.minimum(at + around + 1, last) - first
        level = (total[end] - total[begin]) / (end - begin)[:, None]
        level = level + FLOOR * level.mean(axis=1, keepdims=True) + 1e-9
        flat = (spectrum[start - first : stop - first] / np.sqrt(level))[:, bins].astype(np.complex64)
        # Of the whole spectrum, what lies outside of the bins being nothing.
        loud = np.sqrt((flat.real**2 + flat.imag**2).sum(axis=1, keepdims=True) / power.shape[1])
        yield start, flat * (loud + QUIET) ** -FRAME_POWER


def overlapped(out: npt.NDArray[Any], pieces: npt.NDArray[Any], start: int) -> None:
    """Add frames up to a line, each half over the next; frame k of a waveform begins at k halves of the line."""
    hop, stop = pieces.shape[1] // 2, start + len(pieces)
    out[start * hop : stop * hop] += pieces[:, :hop].reshape(-1)
    out[(start + 1) * hop : (stop + 1) * hop] += pieces[:, hop:].reshape(-1)


def whiten(waveform: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """The whitened waveform.

    Args:
        waveform: float32 [samples], mono at `RATE`, finite.

    Returns:
        float32 [ceil(samples / DECIMATION)], sample k at the time of sample k * `DECIMATION`.
    """
    from scipy.fft import irfft

    low = decimated(waveform, lowpass(TAPS, CUTOFF_HZ), DECIMATION)
    if len(low) == 0:
        return low
    hop = FRAME // 2
    window = np.sqrt(np.hanning(FRAME + 1)[:-1]).astype(np.float32)
    out = np.zeros(len(low) + 3 * FRAME, dtype=np.float32)
    for start, flat in flattened(low, FRAME, SIGN_RATE, BINS):
        whole = np.zeros((len(flat), FRAME // 2 + 1), dtype=np.complex64)
        whole[:, BINS] = flat
        overlapped(out, irfft(whole, FRAME, axis=1) * window, start)
    return out[hop : hop + len(low)]


def signs(waveform: npt.NDArray[np.float32]) -> Signs:
    """Signs of the whitened waveform, eight to a byte, the first in the highest bit."""
    return np.packbits(whiten(waveform) > 0)


def unpacked(packed: Signs, first: int, last: int) -> npt.NDArray[np.float32]:
    """Signs `first` to `last` as -1 and 1; 0 before the beginning and after the end."""
    size = 8 * len(packed)
    low, high = min(max(first, 0), size), min(max(last, 0), size)
    out = np.zeros(max(0, last - first), dtype=np.float32)
    if high > low:
        bits = np.unpackbits(packed[low // 8 : -(-high // 8)])[low % 8 :][: high - low]
        out[low - first : high - first] = bits.astype(np.float32) * 2 - 1
    return out
