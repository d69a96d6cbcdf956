"""Sounds of which noise or voices leave so few peaks that hardly any pair votes for them: found by phase among many.

Of the alignments with a few votes each, which are mostly chance, all are correlated with the upload's whitened
waveform, at the catalogue's speed, and only the few that stand out go on to be judged. A correlation needs no peaks,
so a sound that is far below what is laid over it stands out as well.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from models.soundid.coherence import SAMPLES_PER_FRAME, Waveform
from models.soundid.proposals import AS_IT_IS, CELL_FRAMES, Alignment, Ballot, counted
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
SIZE = 2048
"""Samples of a Fourier transform: a piece is cut into blocks that leave room for the lags in it."""
CHANCE = 3.357
"""Median of the sum of `PIECES` squares of standard normal variates: what noise gives."""
STANDS_OUT = 5.0
"""Summed square of the pieces' correlations, in units of its median over the lags, from which on one is judged."""
JUDGED = 6
"""Alignments that are handed on, the best first."""


def faint(view: IndexView, ballot: Ballot, waveform: Waveform, low: float, high: float) -> list[Alignment]:
    """The alignments of frames [low, high) of an upload, as it is, that stand out by phase, the best first.

    Args:
        view: the index.
        ballot: what the upload's peaks in those frames vote for, as it is.
        waveform: the upload's.
        low: first frame.
        high: last frame, which is not of it.
    """
    from scipy.fft import irfft, rfft

    start, length = round(low * SAMPLES_PER_FRAME), int((high - low) * SAMPLES_PER_FRAME) // PIECES
    blocks = -(-length // (SIZE - 2 * LAGS))
    block = length // max(1, blocks)
    if block < LAGS:
        return []
    whole = PIECES * blocks * block
    played = waveform.played(Alignment(0, 1.0, 0.0, 0.0, 0.0, AS_IT_IS), start, whole).reshape(PIECES, blocks, block)
    level = np.sqrt((played**2).sum(axis=(1, 2), keepdims=True))
    spectrum = np.conj(rfft(played / np.maximum(level, 1.0), SIZE, axis=2))
    found = []
    for alignment in counted(view, ballot, VOTES, min(CORRELATED, view.at_hand)):
        first = start + round(alignment.offset * SAMPLES_PER_FRAME) - LAGS
        line = unpacked(view.signs(alignment.sound), first, first + whole + 2 * LAGS)
        sound = np.lib.stride_tricks.sliding_window_view(line, block + 2 * LAGS)[::block]
        # A piece's blocks are added up before they are transformed back: only few lags are asked for.
        product = (rfft(sound.reshape(PIECES, blocks, -1), SIZE, axis=2) * spectrum).sum(axis=1)
        power = (irfft(product, SIZE, axis=1)[:, : 2 * LAGS + 1] ** 2).sum(axis=0)
        lag = int(power.argmax())
        outstanding = float(power[lag]) / max(CHANCE, float(np.partition(power, LAGS)[LAGS]))
        if outstanding >= STANDS_OUT:
            exact = replace(alignment, offset=alignment.offset + (lag - LAGS) / SAMPLES_PER_FRAME)
            found.append((outstanding, exact))
    found.sort(key=lambda one: -one[0])
    return [alignment for _, alignment in found[:JUDGED]]
