"""What is asked of the matcher in the sound identity benchmark, in processes of their own, and what is counted."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from models.soundid.fingerprint import Fingerprint
from models.soundid.index import DiskIndex
from models.soundid.matcher import Matcher
from models.soundid.uses import SoundMatch

from .distortions import conditions
from .recordings import CATALOGUE, RATE, STRANGERS, effects, floats, tracks, twins
from .sound_effects import EffectQuery, alike, effect_conditions, effect_queries, over_music
from .sound_queries import OFFSET_S, Query, negatives, pairs_in_turn, queries, same_place, to_matcher

RANGE_S = 0.3
"""How far an end of a range may be off, s."""
SHORT_S = 0.5
"""Shorter effects are counted apart."""


@dataclass
class Answered:
    """What came of the questions of one row."""

    asked: int = 0
    hits: int = 0
    strict_offset: int = 0
    right_offset: int = 0
    right_speed: int = 0
    right_pitch: int = 0
    wrong: int = 0
    cpu_s: float = 0.0
    scores: list[tuple[float, bool]] = field(default_factory=list)
    """Of each use that was named, and whether it was right."""

    def add(self, query: Query, found: Sequence[SoundMatch], seconds: float, cpu_s: float) -> None:
        """Count one question."""
        self.asked += 1
        self.cpu_s += cpu_s
        mine = [use for use in found if use.sound_id == query.recording]
        self.scores += [(use.score, use.sound_id == query.recording) for use in found]
        self.wrong += len(found) - len(mine)
        if not mine:
            return
        self.hits += 1
        use = max(mine, key=lambda one: one.range[1] - one.range[0])
        said = use.offset_s - use.range[0] * use.speed
        self.strict_offset += abs(said - query.start_s) <= OFFSET_S
        self.right_offset += same_place(_TRACKS[query.recording], query.start_s, said, seconds * query.speed)
        self.right_speed += abs(use.speed / query.speed - 1) <= 0.01
        self.right_pitch += abs(use.pitch_semitones - query.semitones) <= 0.25

    def data(self) -> dict[str, Any]:
        """For the results' file."""
        hits = max(1, self.hits)
        low, high = interval(self.hits, self.asked)
        return {
            "asked": self.asked,
            "found": round(self.hits / self.asked, 4),
            "found_low": round(low, 4),
            "found_high": round(high, 4),
            "right_offset": round(self.right_offset / hits, 4),
            "strict_offset": round(self.strict_offset / hits, 4),
            "right_speed": round(self.right_speed / hits, 4),
            "right_pitch": round(self.right_pitch / hits, 4),
            "wrong_names": self.wrong,
            "cpu_ms": round(1000 * self.cpu_s / self.asked, 1),
            "scores": self.scores,
        }


def interval(hits: int, asked: int) -> tuple[float, float]:
    """95 % confidence interval of a share (Wilson 1927)."""
    z, share = 1.96, hits / asked
    middle = (share + z * z / (2 * asked)) / (1 + z * z / asked)
    half = z / (1 + z * z / asked) * np.sqrt(share * (1 - share) / asked + z * z / (4 * asked * asked))
    return float(middle - half), float(middle + half)


_TRACKS: dict[str, Any] = {}
_MATCHER: list[Matcher] = []


def open_index(folder: str) -> None:
    """In each process: the tracks (mapped) and the matcher."""
    _TRACKS.update(tracks(CATALOGUE))
    _MATCHER.append(Matcher(DiskIndex(folder)))
    _MATCHER[0].warm()


def _ask(wave: Any) -> tuple[list[SoundMatch], float]:
    samples = to_matcher(wave)
    began = time.process_time()
    found = _MATCHER[0].match(Fingerprint.of(samples))
    return found, time.process_time() - began


def row(job: tuple[int, str, float, int]) -> dict[str, Any]:
    """Questions of one row of the table: its number and name, their length in seconds, how many."""
    number, name, seconds, asked = job
    answered = Answered()
    for query in queries(_TRACKS, conditions()[name], number, seconds, asked):
        answered.add(query, *_ask_for(query.wave, seconds))
    return answered.data()


def cost(job: tuple[int, str, float, int]) -> tuple[str, float]:
    """A row's name, and CPU a question, ms. The questions are made before the first is asked."""
    number, name, seconds, asked = job
    waves = [query.wave for query in queries(_TRACKS, conditions()[name], number, seconds, asked)]
    return name, 1000 * sum(_ask(wave)[1] for wave in waves) / asked


def _ask_for(wave: Any, seconds: float) -> tuple[list[SoundMatch], float, float]:
    found, cpu_s = _ask(wave)
    return found, seconds, cpu_s


@dataclass
class Alarmed:
    """What came of strangers of one kind."""

    alarms: int = 0
    asked: int = 0
    cpu_s: float = 0.0
    scores: list[tuple[float, bool]] = field(default_factory=list)
    """Of each use that was named: none is right."""


def alarms(job: tuple[float, int, int, int]) -> dict[str, Alarmed]:
    """By kind. Every `of`-th question, beginning at `part`."""
    seconds, number, part, of = job
    counted: dict[str, Alarmed] = {}
    for turn, (kind, wave) in enumerate(negatives(tracks(STRANGERS, None), seconds, number)):
        if turn % of != part:
            continue
        found, cpu_s = _ask(wave)
        one = counted.setdefault(kind, Alarmed())
        one.alarms += bool(found)
        one.asked += 1
        one.cpu_s += cpu_s
        one.scores += [(use.score, False) for use in found]
    return counted


def in_turn(number: int) -> tuple[int, int]:
    """Clips of two sounds one after the other in which both are named with their ranges; and clips."""
    right = 0
    for parts, wave in pairs_in_turn(_TRACKS, number):
        found, _ = _ask(wave)
        named = 0
        for place, part in enumerate(parts):
            seconds = len(part.wave) / RATE
            begin = place * seconds
            named += any(
                use.sound_id == part.recording
                and abs(use.range[0] - begin) <= RANGE_S
                and abs(use.range[1] - begin - seconds) <= RANGE_S
                for use in found
            )
        right += named == 2
    return right, number


def near_duplicates(number: int) -> tuple[int, int]:
    """Excerpts of near-duplicates in whose answer the right one is, when both are known; and excerpts."""
    right = asked = 0
    rng = np.random.default_rng(7)
    for pair in twins():
        with tempfile.TemporaryDirectory() as folder:
            index = DiskIndex(folder)
            prints = [Fingerprint.of(to_matcher(floats(wave))) for wave in pair]
            index.add((place + 1, str(place), "song", None, made) for place, made in enumerate(prints))
            matcher = Matcher(index)
            for turn in range(number):
                truth = turn % 2
                start = int(rng.integers(0, len(pair[truth]) - 5 * RATE))
                wave = to_matcher(floats(pair[truth][start : start + 5 * RATE]))
                named = {use.sound_id for use in matcher.match(Fingerprint.of(wave))}
                right += str(truth) in named or not named
                asked += 1
    return right, asked


def effect_row(job: tuple[int, str, int]) -> dict[str, Any]:
    """Questions of one row of effects: which of the short and of the longer ones were named where they are."""
    number, name, rounds = job
    counted = {"short": [0, 0], "longer": [0, 0]}
    scores: list[tuple[float, bool]] = []
    wrong = right_range = hits = 0
    spent = 0.0
    for query in effect_queries(effects(), effect_conditions()[name], number, rounds):
        found, cpu_s = _ask(query.wave)
        spent += cpu_s
        named = _named(query, found)
        wrong += sum(use.sound_id not in alike()[query.effect] for use in found)
        scores += [(use.score, use.sound_id in alike()[query.effect]) for use in found]
        both = counted["short" if query.length_s < SHORT_S else "longer"]
        both[0] += bool(named)
        both[1] += 1
        hits += bool(named)
        right_range += any(_in_range(use, query.start_s, query.start_s + query.seconds) for use in named)
    asked = counted["short"][1] + counted["longer"][1]
    return {
        **counted,
        "right_range": round(right_range / max(1, hits), 4),
        "wrong_names": wrong,
        "cpu_ms": round(1000 * spent / asked, 1),
        "scores": scores,
    }


def effects_over_music(rounds: int) -> tuple[int, int, int]:
    """Clips of a track under an effect in which the effect is named with its range, those in which both are; clips."""
    heard = both = asked = 0
    for track, query in over_music(_TRACKS, effects(), rounds):
        found, _ = _ask(query.wave)
        end_s = len(query.wave) / RATE
        named = any(_in_range(use, query.start_s, query.start_s + query.seconds) for use in _named(query, found))
        known = any(use.sound_id == track and _in_range(use, 0.0, end_s) for use in found)
        heard += named
        both += named and known
        asked += 1
    return heard, both, asked


def _named(query: EffectQuery, found: Sequence[SoundMatch]) -> list[SoundMatch]:
    """Uses of the effect that is asked about, where it is."""
    begin, end = query.start_s, query.start_s + query.seconds
    return [
        use for use in found if use.sound_id in alike()[query.effect] and use.range[0] < end and use.range[1] > begin
    ]


def _in_range(use: SoundMatch, begin_s: float, end_s: float) -> bool:
    return abs(use.range[0] - begin_s) <= RANGE_S and abs(use.range[1] - end_s) <= RANGE_S
