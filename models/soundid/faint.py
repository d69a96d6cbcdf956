"""Sounds of which noise or voices leave so few peaks that hardly any pair votes for them: found by phase among many.

Of the alignments with a few votes each, which are mostly chance, all are correlated with the upload's whitened
waveform, at the catalogue's speed, and only the few that stand out go on to be judged. A correlation needs no peaks,
so a sound that is far below what is laid over it stands out as well.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from models.soundid.coherence import SAMPLES_PER_FRAME, Waveform
from models.soundid.features import Peaks
from models.soundid.proposals import AS_IT_IS, CELL_FRAMES, Alignment, propose
from models.soundid.view import IndexView
from models.soundid.whitening import unpacked

VOTES = 4
"""Votes that an alignment needs to be correlated."""
CORRELATED = 300
"""Alignments that are correlated at most, those with the most surprising votes first."""
PIECES = 4
"""The upload is correlated in so many pieces: over a second or two no recorder's clock is off by a sample."""
LAGS = round((CELL_FRAMES + 2) * SAMPLES_PER_FRAME)
"""Lags that are looked at to either side, samples: votes tell an alignment to a cell."""
CHANCE = 3.357
"""Median of the sum of `PIECES` squares of standard normal variates: what noise gives."""
STANDS_OUT = 5.0
"""Summed square of the pieces' correlations, in units of its median over the lags, from which on one is judged."""
JUDGED = 6
"""Alignments that are handed on, the best first."""


def faint(view: IndexView, peaks: Peaks, waveform: Waveform, low: float, high: float, most: int) -> list[Alignment]:
    """The alignments of frames [low, high) of an upload, as it is, that stand out by phase, the best first.

    Args:
        view: the index.
        peaks: of the upload, in those frames.
        waveform: the upload's.
        low: first frame.
        high: last frame, which is not of it.
        most: postings that are read at most.
    """
    from scipy.fft import irfft, rfft

    start, length = round(low * SAMPLES_PER_FRAME), int((high - low) * SAMPLES_PER_FRAME) // PIECES
    reach = length + 2 * LAGS
    if length <= 2 * LAGS:
        return []
    played = waveform.played(Alignment(0, 1.0, 0.0, 0.0, 0.0, AS_IT_IS), start, PIECES * length)
    pieces = played.reshape(PIECES, length)
    level = np.sqrt((pieces**2).sum(axis=1, keepdims=True))
    size = _fast(reach)
    spectrum = np.conj(rfft(pieces / np.maximum(level, 1.0), size, axis=1))
    found = []
    for alignment in propose(view, peaks, AS_IT_IS, most, VOTES, min(CORRELATED, view.at_hand)):
        first = start + round(alignment.offset * SAMPLES_PER_FRAME) - LAGS
        line = unpacked(view.signs(alignment.sound), first, first + PIECES * length + 2 * LAGS)
        sound = np.lib.stride_tricks.sliding_window_view(line, reach)[::length]
        power = (irfft(rfft(sound, size, axis=1) * spectrum, size, axis=1)[:, : 2 * LAGS + 1] ** 2).sum(axis=0)
        lag = int(power.argmax())
        outstanding = float(power[lag]) / max(CHANCE, float(np.median(power)))
        if outstanding >= STANDS_OUT:
            exact = replace(alignment, offset=alignment.offset + (lag - LAGS) / SAMPLES_PER_FRAME)
            found.append((outstanding, exact))
    found.sort(key=lambda one: -one[0])
    return [alignment for _, alignment in found[:JUDGED]]


def _fast(size: int) -> int:
    """The least of the lengths that a Fourier transform is quick for, from a size on."""
    whole = 1 << (size - 1).bit_length()
    return next((length for length in (5 * whole // 8, 3 * whole // 4) if length >= size), whole)
