"""The two octaves below speech, two bits a sample: so little that an upload is compared with everywhere in a catalogue.

Noise and voices that leave hardly a peak leave the bass: it lies below every voice, and in pink noise of the music's
own loudness it still stands out, where the beat of most music is. As in `whitening` each band is divided by its own
recent level and each frame by its own. The band is moved down to 0 Hz, where it is complex, and of its real and its
imaginary part the signs are kept: 31 bytes a second. A correlation is then two counts of bits (`bass_search`).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from models.soundid.features import RATE
from models.soundid.whitening import decimated, flattened, lowpass, overlapped

DECIMATION = 16
CUTOFF_HZ = 300.0
TAPS = 193
FRAME = 256
"""Samples at `RATE / DECIMATION` in a frame, half of it new in each."""
BANDS = slice(7, 23)
"""Of the frame's bins: 27 to 88 Hz."""
MOVED = 14
"""The bin that is moved to 0 Hz; even, so that a frame goes on in the phase in which the one before left off."""
KEPT_FRAME = 32
"""Samples of a frame once it is moved."""
BASS_RATE = RATE / DECIMATION * KEPT_FRAME / FRAME
"""Complex samples a second: 125."""
WORD = 32
"""Complex samples in a word of 64 bits, the first in its lowest two: the real part's sign, then the imaginary's."""

Bass = npt.NDArray[np.uint64]
NO_BASS = np.zeros(0, dtype=np.uint64)


def bass(waveform: npt.NDArray[np.float32]) -> Bass:
    """Signs of the bass.

    Args:
        waveform: float32 [samples], mono at `RATE`, finite.

    Returns:
        uint64 [words], `WORD` samples in each, sample k at k / `BASS_RATE` s. Where there is nothing at all, and after
        the end, signs are random: silence is like no other silence.
    """
    from scipy.fft import ifft

    size = -(-len(waveform) // round(RATE / BASS_RATE))
    words = -(-size // WORD)
    if words == 0:
        return np.zeros(0, dtype=np.uint64)
    low = decimated(waveform, lowpass(TAPS, CUTOFF_HZ), DECIMATION)
    window = np.sqrt(np.hanning(KEPT_FRAME + 1)[:-1]).astype(np.float32)
    places = (np.arange(BANDS.start, BANDS.stop) - MOVED) % KEPT_FRAME
    out = np.zeros(words * WORD + 3 * KEPT_FRAME, dtype=np.complex64)
    for start, flat in flattened(low, FRAME, RATE / DECIMATION, BANDS):
        moved = np.zeros((len(flat), KEPT_FRAME), dtype=np.complex64)
        moved[:, places] = flat
        overlapped(out, ifft(moved, axis=1) * window, start)
    # The first frame begins half a frame before the waveform.
    out = out[KEPT_FRAME // 2 :][: words * WORD]
    out[size:] = 0
    parts = np.stack([out.real, out.imag], axis=1)
    noise = np.random.default_rng(len(waveform)).standard_normal(parts.shape, dtype=np.float32)
    return np.packbits(np.where(parts == 0, noise, parts) > 0, bitorder="little").view("<u8").astype(np.uint64)
