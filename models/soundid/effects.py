"""Effects - a click, a horn, a crash of 0.2 to 4 s - in an upload: too short for the vote of landmarks to be sure.

Each effect's whitened waveform is a matched filter, run over the upload's (`effect_filters`). Noise, voices and music
are far from any of it, unless the effect lies above `whitening.CUTOFF_HZ`. Of many effects those are tried that votes
of peaks propose; other speeds are proposed so always (`effect_speeds`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from models.soundid.coherence import REACH, SAMPLES_PER_FRAME, Waveform, at_its_highest
from models.soundid.effect_filters import HEARD, MAX_HEARD, Answer, Effect, Filters
from models.soundid.effect_speeds import EffectVotes, judged, speeds
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
TOGETHER = 8
"""Filters that are run at once: a transform of several rows takes less time a row."""
KEPT = 256
"""Effects, and transforms of effects, that are kept: 64 MB of the longer transforms."""
HEARD_CHANGED = 8.0
"""And of an effect at another speed, of which far fewer lags are looked at."""
HEARD_SCALE = 1.0
"""Units above it in which the odds grow by e."""
EXPLAINED = 0.5
"""Share of an effect's correlation which, if another that is there too explains it, makes it the other's echo."""
FITS_BETTER = 5.0
"""Standard deviations of chance by which an effect's signs MUST be nearer to the upload's than those of a rival."""
MAX_OVERLAP = 0.5
"""Share of an effect at another speed that may lie within what was heard already."""
FAR_LESS = 0.5
"""An effect that is so much weaker than itself at another lag, or than another one at another speed, is none."""


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
        answers = self._answers(Filters(line), self._tried(peaks))
        kept: list[Answer] = []
        # Of two effects that share a part the one that is there correlates more: with the same noise, whatever its own.
        for answer in sorted(answers, key=lambda one: -abs(one.correlation)):
            rivals = [other for other in kept if _explained(answer, other) or _explained(other, answer)]
            if rivals and all(_fits_better(line, answer, other) for other in rivals):
                kept = [other for other in kept if other not in rivals]
            elif any(_explained(answer, other) for other in rivals):
                continue
            if len(kept) < MAX_HEARD:
                kept.append(answer)
        found = [_described(answer, len(line)) for answer in kept]
        return self._faster_or_slower(peaks, waveform, found)[:MAX_HEARD]

    def _answers(self, filters: Filters, tried: Iterable[int]) -> list[Answer]:
        """What the filters of these effects answer, of about the same length some at a time."""
        by_length: dict[int, list[Effect]] = {}
        for number in tried:
            effect = self._effect(self.sounds[number])
            by_length.setdefault(filters.length(len(effect.line)), []).append(effect)
        found: list[Answer] = []
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


def _explained(answer: Answer, other: Answer) -> bool:
    """Whether a filter answers because of another effect that is there: they share a part, or their tones."""
    mine, its = answer.effect.line, other.effect.line
    begin, end = max(answer.lag, other.lag), min(answer.lag + len(mine), other.lag + len(its))
    if end <= begin:
        return False
    if answer.effect.sound == other.effect.sound and answer.strength < FAR_LESS * other.strength:
        return True
    shared = float(mine[begin - answer.lag : end - answer.lag] @ its[begin - other.lag : end - other.lag])
    return abs(other.correlation * shared) / math.sqrt(len(its) * len(mine)) > EXPLAINED * abs(answer.correlation)


def _fits_better(line: npt.NDArray[np.float32], answer: Answer, other: Answer) -> bool:
    """Whether the upload's signs are rather an effect's than its rival's, where both lie, or go on as it does.

    Most of what goes on after the other has ended may be too soft to count, and the whole then correlates less.
    """
    if answer.effect.sound == other.effect.sound:
        return False
    first, last = max(answer.lag, 0), min(answer.lag + len(answer.effect.line), len(line))
    begin, end = max(first, other.lag), min(last, other.lag + len(other.effect.line))
    mine, its = (one.effect.line[begin - one.lag : end - one.lag] for one in (answer, other))
    differ = mine != math.copysign(1.0, answer.correlation * other.correlation) * its
    better = _agreement(line, answer, begin, end) - _agreement(line, other, begin, end)
    better /= 2.0 * math.sqrt(max(1, int(differ.sum())))
    beyond = _agreement(line, answer, first, begin) + _agreement(line, answer, end, last)
    beyond *= answer.strength / abs(answer.correlation) / math.sqrt(max(1, begin - first + last - end))
    return better >= FITS_BETTER or (beyond >= FITS_BETTER and better > -FITS_BETTER / 2)


def _agreement(line: npt.NDArray[np.float32], answer: Answer, begin: int, end: int) -> float:
    """Correlation with an effect of samples `begin` to `end` of the upload, where it is highest between the lags."""
    if end <= begin:
        return 0.0
    outside = (max(0, REACH - begin), max(0, end + REACH - len(line)))
    around = np.pad(line[max(0, begin - REACH) : end + REACH], outside)
    correlated = np.correlate(around, answer.effect.line[begin - answer.lag : end - answer.lag], "valid")
    return math.copysign(1.0, answer.correlation) * at_its_highest(correlated, REACH)


def _far_less(one: Heard, others: list[Heard]) -> bool:
    return any(one.strength < FAR_LESS * other.strength and _overlap(one, other) > MAX_OVERLAP for other in others)


def _overlap(one: Heard, other: Heard) -> float:
    both = min(one.end, other.end) - max(one.begin, other.begin)
    return both / max(1e-6, min(one.end - one.begin, other.end - other.begin))


def _described(answer: Answer, size: int) -> Heard:
    begin, end = max(0, answer.lag), min(size, answer.lag + len(answer.effect.line))
    alignment = Alignment(answer.effect.sound, 1.0, 0.0, -answer.lag / SAMPLES_PER_FRAME, answer.strength, AS_IT_IS)
    return Heard(alignment, begin / SAMPLES_PER_FRAME, end / SAMPLES_PER_FRAME, answer.strength)
