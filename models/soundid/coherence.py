"""Is it the same recording? The upload's whitened waveform against the sound's, at an alignment known to a frame.

Correlated block by block, so that the tempo need be known to a few parts in ten thousand only. What a correlation is
worth is told by its rank among those at the other lags of its block: tones that two pieces share correlate highly, but
at one lag as at another, and a drum from the same box at one block's lag, not at the next one's. A recording and
itself agree in every block at the same lag, or along a line where the tempo differs a little; chance does not, and how
unlikely it would is the evidence (Fisher's method of combining probabilities).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from models.soundid.features import HOP
from models.soundid.jit import compiled
from models.soundid.proposals import Alignment
from models.soundid.view import IndexView
from models.soundid.whitening import DECIMATION, Signs, unpacked

SAMPLES_PER_FRAME = HOP / DECIMATION
BLOCK = 1333
"""Samples of a block: a quarter of a second."""
LAGS = 160
"""Lags that are looked at on either side, samples: 30 ms."""
DRIFT = 20
"""Steps of `DRIFT_STEP` to either side by which the lag may change from block to block."""
DRIFT_STEP = 0.25
HOPELESS = 10.0
"""Evidence below which no finer look is taken, nats."""
OVERSAMPLED = 4
"""The upload's waveform is interpolated linearly between so many points a sample."""
PIECE_FRAMES = 10.0
"""Length of the pieces that say from when to when the sound is there, frames of the upload: 0.1 s."""
PIECE_LAGS = 3
"""Lags that are looked at on either side as the sound is followed, samples."""
FOLLOWED = 10
"""Pieces that are followed at a time."""
FOLLOWS = 5.0
"""Standard deviations above chance from which on they may move the lag."""
STRENGTH = (1.0, 4.0)
"""Least and greatest correlation of a piece that is expected where the sound is there, units of chance."""
DROP_S = 0.8
"""A sound that is missing for so long has ended, s."""
HALVES = 3.0
"""What looking at the halves as well costs, nats: ln 3, and room for music whose loud half is like another's."""
REACH = 8
"""Lags to either side that band-limited interpolation takes in."""
_AROUND = np.arange(-REACH, REACH + 1)
_BETWEEN = np.sinc(np.linspace(-0.5, 0.5, 9)[:, None] - _AROUND[None, :]).astype(np.float32)
"""[places, lags] band-limited interpolation half a sample to either side."""
MIN_BLOCKS = 6
MAX_BLOCKS = 240
"""Blocks that are judged: what agrees for a minute is no accident."""


@dataclass(frozen=True)
class Coherence:
    """How coherent an upload is with a sound.

    Attributes:
        nats: negative logarithm of the probability that chance agrees as well along one line; several are tried.
        strength: mean correlation of a block, in units of chance: of several alignments that are beyond doubt, the one
            with the most is the right one.
        alignment: with tempo and offset as exact as the waveforms tell.
    """

    nats: float
    strength: float
    alignment: Alignment


class Waveform:
    """An upload's whitened waveform, ready to be played at any tempo."""

    def __init__(self, signs: Signs) -> None:
        from scipy.signal import resample_poly

        self.samples = 8 * len(signs)
        line = unpacked(signs, 0, self.samples)
        self._dense = np.asarray(resample_poly(line, OVERSAMPLED, 1) if len(line) else line, dtype=np.float32)

    def coherence(self, view: IndexView, alignment: Alignment, begin: float, end: float) -> Coherence:
        """Judge an alignment by times [begin, end) of the upload, frames."""
        first = _correlated(self, view.signs(alignment.sound), alignment, begin, end)
        if first is None:
            return Coherence(0.0, 0.0, alignment)
        nats, strength, lag, drift = _line(first, DRIFT, DRIFT_STEP)
        if nats < HOPELESS:
            return Coherence(nats, strength, alignment)
        exact = _corrected(alignment, begin, lag, drift)
        second = _correlated(self, view.signs(alignment.sound), exact, begin, end)
        if second is None:
            return Coherence(0.0, 0.0, alignment)
        nats, strength, lag, drift = _line(second, DRIFT // 2, DRIFT_STEP / 4)
        return Coherence(nats, strength, _corrected(exact, begin, lag, drift))

    def stretch(self, view: IndexView, alignment: Alignment, begin: float, end: float) -> tuple[float, float]:
        """From when to when, frames of the upload, the sound goes on around [begin, end), as far as it does.

        Piece by piece outwards, following the lag where it drifts, to the highest sum of log-likelihood ratios (there
        as strongly as in [begin, end), or not at all) before so much of the sound is missing that it has ended.
        """
        signs = view.signs(alignment.sound)
        core = self._pieces(signs, alignment, begin, int((end - begin) / PIECE_FRAMES), 0)[PIECE_LAGS]
        if len(core) == 0:
            return begin, end
        # An upload may be turned over.
        polarity = math.copysign(1.0, float(core.mean()))
        expected = min(max(abs(float(core.mean())), STRENGTH[0]), STRENGTH[1])
        middle = begin + len(core) // 2 * PIECE_FRAMES
        ends = []
        for side in (1, -1):
            total = highest = 0.0
            reached, lag, at = middle, 0, middle
            missing = DROP_S * 100 / PIECE_FRAMES * expected**2 / 2
            while 0 <= at <= self.samples / SAMPLES_PER_FRAME and highest - total < missing:
                here = at if side > 0 else at - FOLLOWED * PIECE_FRAMES
                found = polarity * self._pieces(signs, alignment, here, FOLLOWED, lag)
                if found.shape[1] == 0:
                    break
                summed = found.sum(axis=1) / math.sqrt(found.shape[1])
                if summed.max() > FOLLOWS:
                    lag += int(summed.argmax()) - PIECE_LAGS
                best = found[int(summed.argmax()) if summed.max() > FOLLOWS else PIECE_LAGS]
                for number, value in enumerate(best[::side], 1):
                    total += expected * float(value) - expected**2 / 2
                    if total > highest:
                        highest, reached = total, at + side * number * PIECE_FRAMES
                    if highest - total > missing:
                        break
                at += side * FOLLOWED * PIECE_FRAMES
            ends.append(reached)
        return max(0.0, ends[1]), min(ends[0], self.samples / SAMPLES_PER_FRAME)

    def _pieces(
        self, signs: Signs, alignment: Alignment, begin: float, count: int, lag: int
    ) -> npt.NDArray[np.float64]:
        """[lags, pieces] correlation of so many pieces from `begin` on, frames of the upload, in units of chance."""
        piece = max(1, int(PIECE_FRAMES * alignment.tempo * SAMPLES_PER_FRAME))
        start = round((alignment.tempo * begin + alignment.offset) * SAMPLES_PER_FRAME)
        if count <= 0:
            return np.zeros((2 * PIECE_LAGS + 1, 0))
        upload = self.played(alignment, start, count * piece)
        sound = unpacked(signs, start + lag - PIECE_LAGS, start + lag + count * piece + PIECE_LAGS)
        level = np.sqrt((upload.reshape(count, piece) ** 2).sum(axis=1))
        rows = [
            (sound[by : by + count * piece] * upload).reshape(count, piece).sum(axis=1)
            for by in range(2 * PIECE_LAGS + 1)
        ]
        return np.asarray(rows, dtype=np.float64) / np.maximum(level, 1.0)

    def played(self, alignment: Alignment, start: int, count: int) -> npt.NDArray[np.float32]:
        """The upload as it is at samples `start` to `start + count` of the sound; 0 outside of it."""
        begin = (start / SAMPLES_PER_FRAME - alignment.offset) / alignment.tempo * SAMPLES_PER_FRAME
        return _interpolated(self._dense, begin * OVERSAMPLED, OVERSAMPLED / alignment.tempo, count)


def _correlated(
    upload: Waveform, signs: Signs, alignment: Alignment, begin: float, end: float
) -> npt.NDArray[np.float32] | None:
    """[blocks, lags] correlation of each block in units of chance. None: they do not overlap by a block."""
    from scipy.fft import irfft, next_fast_len, rfft

    sound_end = 8 * len(signs) / SAMPLES_PER_FRAME
    begin = max(begin, 0.0, -alignment.offset / alignment.tempo)
    end = min(end, upload.samples / SAMPLES_PER_FRAME, (sound_end - alignment.offset) / alignment.tempo)
    start = round((alignment.tempo * begin + alignment.offset) * SAMPLES_PER_FRAME)
    length = int((end - begin) * alignment.tempo * SAMPLES_PER_FRAME)
    blocks = min(length // BLOCK, MAX_BLOCKS)
    if blocks < MIN_BLOCKS:
        return None
    played = upload.played(alignment, start, blocks * BLOCK).reshape(blocks, BLOCK)
    line = unpacked(signs, start - LAGS, start + blocks * BLOCK + LAGS)
    sound = np.lib.stride_tricks.sliding_window_view(line, BLOCK + 2 * LAGS)[::BLOCK][:blocks]
    size = next_fast_len(BLOCK + 2 * LAGS, real=True)
    product = rfft(sound, size, axis=1) * np.conj(rfft(played, size, axis=1))
    level = np.sqrt((played**2).sum(axis=1, keepdims=True))
    return np.asarray(irfft(product, size, axis=1)[:, : 2 * LAGS + 1] / np.maximum(level, 1.0), dtype=np.float32)


def _line(correlated: npt.NDArray[np.float32], steps: int, step: float) -> tuple[float, float, float, float]:
    """The line of lags along which the blocks agree best: evidence, strength, lag in the first block, change a block.

    Under chance each block's term is exponential, their sum a gamma variate (Fisher's method). Where a sound falls
    silent under what is laid over it, one half of the blocks says more than all.
    """
    evidence = _evidence(correlated)
    lag, drift = _best_line(evidence, steps, step)
    blocks = np.arange(len(evidence))
    lags = np.clip(lag + np.rint(drift * blocks).astype(np.int64), 0, evidence.shape[1] - 1)
    terms = evidence[blocks, lags]
    half = len(terms) // 2
    halves = max(_unlikely(terms[:half]), _unlikely(terms[half:])) - HALVES if half >= MIN_BLOCKS else 0.0
    return max(_unlikely(terms), halves), _strength(correlated, blocks, lags), float(lag) - LAGS, float(drift)


def _strength(correlated: npt.NDArray[np.float32], blocks: npt.NDArray[np.int64], lags: npt.NDArray[np.int64]) -> float:
    """Mean correlation along a line, where it is highest between its lag and the next ones: two recordings that differ
    little are told apart by it, and half a sample beside its peak it has lost a third."""
    around = np.clip(lags[:, None] + _AROUND[None, :], 0, correlated.shape[1] - 1)
    return abs(at_its_highest(correlated[blocks[:, None], around].mean(axis=0), len(_AROUND) // 2))


def at_its_highest(correlated: npt.NDArray[np.float32], lag: int) -> float:
    """The correlation of the largest magnitude within half a sample of a lag: band-limited interpolation."""
    between = _BETWEEN @ correlated[np.clip(lag + _AROUND, 0, len(correlated) - 1)]
    return float(between[np.abs(between).argmax()])


def _unlikely(terms: npt.NDArray[np.float32]) -> float:
    """Negative logarithm of the probability that chance gives so high a sum."""
    from scipy.special import gammaincc

    return -math.log(max(float(gammaincc(len(terms), float(terms.sum()))), 1e-300))


def _evidence(correlated: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """[blocks, lags] negative logarithm of the share of lags at which the block agrees as well."""
    lags = correlated.shape[1]
    order = np.argsort(-np.abs(correlated), axis=1)
    evidence = np.empty_like(correlated)
    np.put_along_axis(evidence, order, -np.log(np.arange(1, lags + 1, dtype=np.float32) / lags)[None, :], axis=1)
    return evidence


@compiled
def _best_line(evidence: npt.NDArray[np.float32], steps: int, step: float) -> tuple[int, float]:
    """Lag in the first block and change a block of the line with the highest sum."""
    blocks, lags = evidence.shape
    best, best_lag, best_drift = -1.0, lags // 2, 0.0
    total = np.empty(lags, np.float32)
    for turn in range(2 * steps + 1):
        # From the middle outwards: of equals the smallest change.
        drift = ((turn + 1) // 2) * (1 if turn % 2 else -1) * step
        total[:] = 0
        for block in range(blocks):
            by = int(np.rint(drift * block))
            for lag in range(max(0, -by), min(lags, lags - by)):
                total[lag] += evidence[block, lag + by]
        for lag in range(lags):
            if total[lag] > best:
                best, best_lag, best_drift = total[lag], lag, drift
    return best_lag, best_drift


def _corrected(alignment: Alignment, begin: float, lag: float, drift: float) -> Alignment:
    """The alignment with so much added at `begin`, samples of the sound, and so much more at each block after."""
    begin = max(begin, 0.0, -alignment.offset / alignment.tempo)
    change = drift / BLOCK * alignment.tempo
    offset = alignment.offset + lag / SAMPLES_PER_FRAME - change * begin
    return replace(alignment, tempo=alignment.tempo + change, offset=offset)


@compiled
def _interpolated(line: npt.NDArray[np.float32], begin: float, step: float, count: int) -> npt.NDArray[np.float32]:
    out = np.zeros(count, np.float32)
    last = len(line) - 1
    for number in range(count):
        place = begin + step * number
        if place >= 0 and place < last:
            left = int(place)
            part = np.float32(place - left)
            out[number] = line[left] * (1 - part) + line[left + 1] * part
    return out
