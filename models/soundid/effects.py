"""Effects - a click, a horn, a crash of 0.2 to 4 s - in an upload: too short for the vote of landmarks to be sure.

Each effect's whitened waveform is a matched filter, run over the upload's. Both are one bit a sample, so that what
chance gives is known, the root of the effect's length; a tonal effect raises its own chance, which shows at its other
lags. Noise, voices and music are far from any of it, unless the effect lies above `whitening.CUTOFF_HZ`. Of many
effects those are tried that votes of peaks propose; other speeds are proposed so always (`effect_speeds`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from models.soundid.coherence import SAMPLES_PER_FRAME, Waveform, at_its_highest
from models.soundid.effect_speeds import MEDIAN, EffectVotes, judged, speeds
from models.soundid.features import Peaks
from models.soundid.jit import compiled
from models.soundid.proposals import AS_IT_IS, Alignment
from models.soundid.view import IndexView
from models.soundid.whitening import Signs, unpacked

LONGEST_FRAMES = 450
"""A longer sound is long enough for the vote of landmarks."""
SHORTEST_SIGNS = 480
"""A shorter effect (0.09 s) has nothing to be told by."""
MOST = 128
"""Effects whose filters are run over one upload."""
LENGTHS = (32_768, 40_960, 65_536)
"""Samples of a Fourier transform; what a filter's length leaves of it is so many lags."""
TOGETHER = 8
"""Filters that are run at once: a transform of several rows takes less time a row."""
KEPT = 256
"""Effects, and transforms of effects, that are kept: 64 MB of the longer transforms."""
HEARD = 9.5
"""Correlation in units of chance from which on an effect is believed: the operating point."""
BETWEEN_LAGS = 0.7
"""Share of its correlation that may be left at the nearest lag."""
HEARD_CHANGED = 8.0
"""And of an effect at another speed, of which far fewer lags are looked at."""
HEARD_SCALE = 1.0
"""Units above it in which the odds grow by e."""
STRIDE = 7
"""Of so many lags one is looked at where they are judged together."""
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
        self._ids = [view.entry(sound).sound_id for sound in self.sounds]
        self._lines: dict[int, Effect] = {}
        self._spectra: dict[tuple[int, int], npt.NDArray[np.complex64]] = {}
        self._votes: EffectVotes
        if before is not None and before._ids == self._ids:
            self._votes = before._votes
        else:
            self._votes = EffectVotes(view, self.sounds)

    def heard(self, peaks: Peaks, signs: Signs, waveform: Waveform) -> list[Heard]:
        """The effects in an upload, given its peaks, its signs and the waveform of these; the surest first."""
        line = unpacked(signs, 0, 8 * len(signs))
        if not self.sounds or len(line) < SHORTEST_SIGNS:
            return []
        answers = self._answers(_Filters(line), self._tried(peaks))
        kept: list[_Answer] = []
        # Of two effects that share a part the one that is there correlates more: with the same noise, whatever its own.
        for answer in sorted(answers, key=lambda one: -abs(one.correlation)):
            if not any(_explained(answer, other) for other in kept):
                kept.append(answer)
            if len(kept) == MAX_HEARD:
                break
        found = [_described(answer, len(line)) for answer in kept]
        return self._faster_or_slower(peaks, waveform, found)[:MAX_HEARD]

    def _answers(self, filters: _Filters, tried: Iterable[int]) -> list[_Answer]:
        """What the filters of these effects answer, of about the same length some at a time."""
        by_length: dict[int, list[Effect]] = {}
        for number in tried:
            effect = self._effect(self.sounds[number])
            by_length.setdefault(filters.length(len(effect.line)), []).append(effect)
        found: list[_Answer] = []
        for length, effects in by_length.items():
            effects.sort(key=lambda effect: len(effect.line))
            for first in range(0, len(effects), TOGETHER):
                some = effects[first : first + TOGETHER]
                found += filters.answers(some, [self._spectrum(effect, length) for effect in some])
        return found

    def _effect(self, sound: int) -> Effect:
        """An effect, kept."""
        found = self._lines.get(sound)
        if found is None:
            if len(self._lines) >= KEPT:
                self._lines.clear()
            signs = self.view.signs(sound)
            found = self._lines[sound] = Effect(sound, unpacked(signs, 0, 8 * len(signs)))
        return found

    def _spectrum(self, effect: Effect, length: int) -> npt.NDArray[np.complex64]:
        """Conjugate transform of an effect, kept."""
        from scipy.fft import rfft

        found = self._spectra.get((effect.sound, length))
        if found is None:
            if len(self._spectra) >= KEPT:
                self._spectra.clear()
            found = self._spectra[effect.sound, length] = np.conj(rfft(effect.line, length))
        return found

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

    def length(self, size: int) -> int:
        """Of the transforms for an effect of so many samples: all of a short upload in one, and few lengths in all."""
        return next((length for length in LENGTHS if self._whole(length, size)), LENGTHS[-1])

    def _whole(self, length: int, size: int) -> bool:
        """Whether one transform gives all lags: what goes around at its end meets the zeros before the upload."""
        return length >= len(self._line) + -(-size // 2)

    def block(self, start: int, length: int) -> npt.NDArray[np.complex64]:
        """Transform of the upload from a sample on, which may lie before its first."""
        from scipy.fft import rfft

        if (start, length) not in self._blocks:
            part = self._line[max(0, start) : max(0, start + length)]
            padded = np.zeros(length, dtype=np.float32)
            padded[max(0, -start) : max(0, -start) + len(part)] = part
            self._blocks[start, length] = rfft(padded)
        return self._blocks[start, length]

    def answers(self, effects: Sequence[Effect], spectra: Sequence[npt.NDArray[np.complex64]]) -> list[_Answer]:
        """The lags at which effects may be there. One by one their transforms, conjugate, all of one length."""
        from scipy.fft import irfft

        length = 2 * (len(spectra[0]) - 1)
        lowest = [-int((1 - LEAST_PART) * len(one.line)) for one in effects]
        highest = [len(self._line) - int(LEAST_PART * len(one.line)) for one in effects]
        longest = max(len(one.line) for one in effects)
        first, last = min(lowest), max(highest)
        step = length if self._whole(length, longest) else length - longest
        parts = []
        product = np.empty((len(effects), len(spectra[0])), dtype=np.complex64)
        for start in range(first, max(first + 1, last), step):
            for row, spectrum in zip(product, spectra, strict=True):
                np.multiply(self.block(start, length), spectrum, out=row)
            parts.append(irfft(product, length, axis=1, overwrite_x=True)[:, :step])
        correlated = np.concatenate(parts, axis=1) if len(parts) > 1 else parts[0]
        found: list[_Answer] = []
        for effect, row, low, high in zip(effects, correlated, lowest, highest, strict=True):
            if low < high:
                found += _peaks(
                    effect, _level(row[low - first : high - first], low, len(effect.line), len(self._line)), low
                )
        return found


@compiled
def _level(correlated: npt.NDArray[np.float32], low: int, size: int, whole: int) -> npt.NDArray[np.float32]:
    """Correlation in units of noise's chance, at the lags from `low` on, of which some leave a part outside."""
    level = correlated * np.float32(1.0 / np.sqrt(size))
    for first, last in ((0, -low), (whole - size - low + 1, len(correlated))):
        for at in range(max(0, first), min(last, len(correlated))):
            within = min(low + at + size, whole) - max(low + at, 0)
            level[at] = correlated[at] / np.float32(np.sqrt(max(1, within)))
    return level


def _peaks(effect: Effect, correlated: npt.NDArray[np.float32], first: int) -> list[_Answer]:
    """The lags from `first` on at which what is there exceeds chance far enough; [lags], in units of noise's chance."""
    level = np.abs(correlated)
    # Of the middle lag, not of the mean square: an effect that is there answers itself strongly around where it is.
    some = level[::STRIDE]
    chance = max(1.0, float(np.partition(some, len(some) // 2)[len(some) // 2]) / MEDIAN)
    found: list[_Answer] = []
    reach = len(effect.line) // 2
    at = int(level.argmax())
    while level[at] >= BETWEEN_LAGS * HEARD * chance and len(found) < MAX_HEARD:
        highest = at_its_highest(correlated, at)
        if abs(highest) >= HEARD * chance:
            found.append(_Answer(effect, first + at, highest, abs(highest) / chance))
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
