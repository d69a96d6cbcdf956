"""The whitened waveform, one bit a sample: what tells the same recording from anything that only resembles it.

Two recordings of one piece agree in their peaks; only the same recording agrees in phase. Each band is divided by its
own recent level and each frame by its own, so that every band and moment says as much as any other and neither a bass
nor a voice decides alone; of the result the sign is kept, which costs a correlation a fifth (2/pi in power) and
the keeping one bit.
"""

from __future__ import annotations

from functools import cache

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
def _lowpass() -> npt.NDArray[np.float32]:
    from scipy.signal import firwin

    return np.asarray(firwin(TAPS, CUTOFF_HZ, fs=RATE), dtype=np.float32)


def whiten(waveform: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """The whitened waveform.

    Args:
        waveform: float32 [samples], mono at `RATE`, finite.

    Returns:
        float32 [ceil(samples / DECIMATION)], sample k at the time of sample k * `DECIMATION`.
    """
    from scipy.fft import irfft, rfft
    from scipy.signal import upfirdn

    size = -(-len(waveform) // DECIMATION)
    if size == 0:
        return np.zeros(0, dtype=np.float32)
    # Half the filter is cut from the front, so that it delays nothing.
    padded = np.concatenate([waveform, np.zeros(TAPS, dtype=np.float32)])
    low = upfirdn(
        _lowpass(), np.concatenate([np.zeros(-(TAPS // 2) % DECIMATION, dtype=np.float32), padded]), 1, DECIMATION
    )
    low = low[-(-(TAPS // 2) // DECIMATION) :][:size]
    hop = FRAME // 2
    window = np.sqrt(np.hanning(FRAME + 1)[:-1]).astype(np.float32)
    padded = np.concatenate([np.zeros(hop, dtype=np.float32), low, np.zeros(FRAME, dtype=np.float32)])
    frames = np.lib.stride_tricks.sliding_window_view(padded, FRAME)[::hop]
    bins = slice(int(LOWEST_HZ / SIGN_RATE * FRAME), int(CUTOFF_HZ / SIGN_RATE * FRAME))
    around = int(LEVEL_S * SIGN_RATE / hop / 2)
    out = np.zeros((len(frames) + 1) * hop, dtype=np.float32)
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
        flat = np.zeros((stop - start, power.shape[1]), dtype=np.complex64)
        flat[:, bins] = (spectrum[start - first : stop - first] / np.sqrt(level))[:, bins]
        loud = np.sqrt((flat.real**2 + flat.imag**2).mean(axis=1, keepdims=True))
        pieces = irfft(flat * (loud + QUIET) ** -FRAME_POWER, FRAME, axis=1) * window
        out[start * hop : stop * hop] += pieces[:, :hop].reshape(-1)
        out[(start + 1) * hop : (stop + 1) * hop] += pieces[:, hop:].reshape(-1)
    return out[hop : hop + size]


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
