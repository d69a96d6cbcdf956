"""Effects - a click, a horn, a crash of 0.2 to 4 s - in an upload: too short for the vote of landmarks to be sure.

Each effect's whitened waveform is a matched filter, run over the upload's. Both are one bit a sample, so that what
chance gives is known, the root of the effect's length; a tonal effect raises its own chance, which shows at its other
lags. Noise, voices and music are far from any of it, unless the effect lies above `whitening.CUTOFF_HZ`. Of many
effects those are tried that votes of peaks propose; other speeds are proposed so always (`effect_speeds`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from models.soundid.coherence import SAMPLES_PER_FRAME, Waveform
from models.soundid.effect_speeds import MEDIAN, EffectVotes, judged, speeds
from models.soundid.features import Peaks
from models.soundid.proposals import AS_IT_IS, Alignment
from models.soundid.view import IndexView
from models.soundid.whitening import Signs, unpacked

LONGEST_FRAMES = 450
"""A longer sound is long enough for the vote of landmarks."""
SHORTEST_SIGNS = 480
"""A shorter effect (0.09 s) has nothing to be told by."""
MOST = 128
"""Effects whose filters are run over one upload."""
BLOCK = 65_536
"""Samples of a Fourier transform; what is left of it by a filter's length is so many lags."""
HEARD = 9.5
"""Correlation in units of chance from which on an effect is believed: the operating point."""
HEARD_CHANGED = 8.0
"""And of an effect at another speed, of which far fewer lags are looked at."""
HEARD_SCALE = 1.0
"""Units above it in which the odds grow by e."""
STRIDE = 7
"""Of so many lags one is looked at where they are judged together."""
ROUND = 4096
"""Lengths of effects are rounded up to multiples of so many samples."""
LEAST_PART = 0.5
"""So much of an effect must lie within the upload."""
EXPLAINED = 0.5
"""Share of an effect's correlation which, if another that is there too explains it, makes it the other's echo."""
MAX_OVERLAP = 0.5
"""Share of an effect at another speed that may lie within what was heard already."""
FAR_LESS = 0.5
"""An effect that is so much weaker than itself at another lag, or than another one at another speed, is none."""
MAX_HEARD = 24
"""Uses of effects that one upload can have."""


@dataclass(frozen=True)
class Effect:
    """An effect in the words of the matched filter: its number in the view, its signs as -1 and 1."""

    sound: int
    line: npt.NDArray[np.float32]


@dataclass(frozen=True)
class Heard:
    """An effect that was heard: alignment, where (frames of the upload), correlation in units of chance (where the
    speed is not its own, so much more than that takes as `strength` is more than `HEARD`)."""

    alignment: Alignment
    begin: float
    end: float
    strength: float

    @property
    def odds(self) -> float:
        """Natural logarithm of the odds that it is true."""
        return (self.strength - HEARD) / HEARD_SCALE


@dataclass(frozen=True)
class _Answer:
    """A lag, samples, at which a filter answers: its correlation in units of noise's chance, and of its own."""

    effect: Effect
    lag: int
    correlation: float
    strength: float


class Effects:
    """The effects of one view of an index."""

    def __init__(self, view: IndexView, before: Effects | None = None) -> None:
        """Get them ready; what was ready before, of another view, is used again where it is of the same effects."""
        self.view = view
        self.sounds = [sound for sound in view.effects(LONGEST_FRAMES) if 8 * len(view.signs(sound)) >= SHORTEST_SIGNS]
        """Their numbers in the view."""
        self._seqs = [view.entry(sound).seq for sound in self.sounds]
        self._votes: EffectVotes
        if before is not None and before._seqs == self._seqs:
            self._votes = before._votes
        else:
            self._votes = EffectVotes(view, self.sounds)

    def heard(self, peaks: Peaks, signs: Signs, waveform: Waveform) -> list[Heard]:
        """The effects in an upload, given its peaks, its signs and the waveform of these; the surest first."""
        line = unpacked(signs, 0, 8 * len(signs))
        if not self.sounds or len(line) < SHORTEST_SIGNS:
            return []
        filters = _Filters(line)
        answers = [
            answer for number in self._tried(peaks) for answer in filters.answers(self._effect(self.sounds[number]))
        ]
        kept: list[_Answer] = []
        for answer in sorted(answers, key=lambda one: -one.strength):
            if not any(_explained(answer, other) for other in kept):
                kept.append(answer)
            if len(kept) == MAX_HEARD:
                break
        found = [_described(answer, len(line)) for answer in kept]
        return self._faster_or_slower(peaks, waveform, found)[:MAX_HEARD]

    def _effect(self, sound: int) -> Effect:
        signs = self.view.signs(sound)
        return Effect(sound, unpacked(signs, 0, 8 * len(signs)))

    def _tried(self, peaks: Peaks) -> Iterable[int]:
        """The effects whose filters are run: all, or of many those that have most votes."""
        if len(self.sounds) <= MOST:
            return range(len(self.sounds))
        proposed = self._votes.proposed(peaks, (AS_IT_IS,), MOST)
        return list(dict.fromkeys(alignment.sound for alignment in sorted(proposed, key=lambda one: -one.gain)))[:MOST]

    def _faster_or_slower(self, peaks: Peaks, waveform: Waveform, found: list[Heard]) -> list[Heard]:
        """And the effects that are played at other speeds, where nothing was heard yet."""
        others = []
        for proposed in self._votes.proposed(peaks, speeds()):
            alignment = self._votes.exact(proposed, peaks)
            sound = self.sounds[alignment.sound]
            signs = self.view.signs(sound)
            strength, alignment = judged(waveform, signs, alignment)
            if strength >= HEARD_CHANGED:
                begin = -alignment.offset / alignment.tempo
                end = begin + 8 * len(signs) / SAMPLES_PER_FRAME / alignment.tempo
                end = min(end, waveform.samples / SAMPLES_PER_FRAME)
                alignment = replace(alignment, sound=sound)
                others.append(Heard(alignment, max(0.0, begin), end, strength - HEARD_CHANGED + HEARD))
        found = [one for one in found if not _far_less(one, others)]
        # Effects that share a part are about as coherent; the right one has more of the votes.
        others = [one for one in others if not _far_less(one, others)]
        for one in sorted(others, key=lambda other: -other.alignment.gain):
            if not any(_overlap(one, other) > MAX_OVERLAP for other in found):
                found.append(one)
        return found


class _Filters:
    """An upload, ready for matched filters: overlapped blocks of it, transformed (overlap-save)."""

    def __init__(self, line: npt.NDArray[np.float32]) -> None:
        self._line = line
        self._blocks: dict[tuple[int, int], npt.NDArray[np.complex64]] = {}

    def _block(self, start: int, length: int) -> npt.NDArray[np.complex64]:
        from scipy.fft import rfft

        if (start, length) not in self._blocks:
            part = self._line[max(0, start) : max(0, start + length)]
            padded = np.zeros(length, dtype=np.float32)
            padded[max(0, -start) : max(0, -start) + len(part)] = part
            self._blocks[start, length] = rfft(padded)
        return self._blocks[start, length]

    def _correlated(self, line: npt.NDArray[np.float32], first: int, last: int) -> npt.NDArray[np.float32]:
        """[last - first] sums of products at these lags, of which some are negative."""
        from scipy.fft import irfft, next_fast_len, rfft

        # Rounded, so that effects of about one length share the upload's transforms.
        size = ROUND * -(-len(line) // ROUND)
        whole = next_fast_len(len(self._line) + size, real=True)
        if whole <= BLOCK:
            product = irfft(self._block(0, whole) * np.conj(rfft(line, whole)), whole)
            return np.concatenate([product[first:], product[:last]])
        spectrum = np.conj(rfft(line, BLOCK))
        begin = ROUND * (first // ROUND)
        starts = range(begin, last, BLOCK - size)
        parts = [irfft(self._block(start, BLOCK) * spectrum, BLOCK)[: BLOCK - size] for start in starts]
        return np.concatenate(parts)[first - begin : last - begin]

    def answers(self, effect: Effect) -> list[_Answer]:
        """The lags at which an effect may be there."""
        size = len(effect.line)
        first, last = -int((1 - LEAST_PART) * size), len(self._line) - int(LEAST_PART * size)
        if last <= first:
            return []
        correlated = self._correlated(effect.line, first, last)
        lags = np.arange(first, last)
        within = np.minimum(np.minimum(lags + size, len(self._line) - lags), size)
        return _peaks(effect, correlated / np.sqrt(within, dtype=np.float32), first)


def _peaks(effect: Effect, correlated: npt.NDArray[Any], first: int) -> list[_Answer]:
    """The lags from `first` on at which what is there exceeds chance far enough; [lags], in units of noise's chance."""
    level = np.abs(correlated)
    # Of the middle lag, not of the mean square: an effect that is there answers itself strongly around where it is.
    chance = max(1.0, float(np.median(level[::STRIDE])) / MEDIAN)
    least = HEARD * chance
    found: list[_Answer] = []
    reach = len(effect.line) // 2
    at = int(level.argmax())
    while level[at] >= least and len(found) < MAX_HEARD:
        found.append(_Answer(effect, first + at, float(correlated[at]), float(level[at]) / chance))
        # The tones of an effect answer themselves at other lags too.
        level[max(0, at - reach) : at + reach] = 0
        at = int(level.argmax())
    return found


def _explained(answer: _Answer, other: _Answer) -> bool:
    """Whether a filter answers because of another effect that is there: they share a part, or their tones."""
    mine, its = answer.effect.line, other.effect.line
    begin, end = max(answer.lag, other.lag), min(answer.lag + len(mine), other.lag + len(its))
    if end <= begin:
        return False
    if answer.effect.sound == other.effect.sound and answer.strength < FAR_LESS * other.strength:
        return True
    shared = float(mine[begin - answer.lag : end - answer.lag] @ its[begin - other.lag : end - other.lag])
    return abs(other.correlation * shared) / math.sqrt(len(its) * len(mine)) > EXPLAINED * abs(answer.correlation)


def _far_less(one: Heard, others: list[Heard]) -> bool:
    return any(one.strength < FAR_LESS * other.strength and _overlap(one, other) > MAX_OVERLAP for other in others)


def _overlap(one: Heard, other: Heard) -> float:
    both = min(one.end, other.end) - max(one.begin, other.begin)
    return both / max(1e-6, min(one.end - one.begin, other.end - other.begin))


def _described(answer: _Answer, size: int) -> Heard:
    begin, end = max(0, answer.lag), min(size, answer.lag + len(answer.effect.line))
    alignment = Alignment(answer.effect.sound, 1.0, 0.0, -answer.lag / SAMPLES_PER_FRAME, answer.strength, AS_IT_IS)
    return Heard(alignment, begin / SAMPLES_PER_FRAME, end / SAMPLES_PER_FRAME, answer.strength)
