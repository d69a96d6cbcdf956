"""The seeded questions about effects: an effect somewhere in a clip, alone and under other sounds."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.signal import fftconvolve, resample_poly

from .distortions import Rng, piece, pink, resampled, talk
from .recordings import RATE, Wave, effects, floats
from .sound_queries import LEAST_LEVEL, SEED, Tracks

CLIP_S = 5.0
MUSIC_CLIP_S = 15.0
OVER_MUSIC = -6.0
"""Level of an effect against the music under it, dB."""
FLOOR = 1e-4
"""Level of the noise that every clip has: no recording is silent to the bit."""
LEVEL = 0.1
ALIKE = 0.9
"""Correlation at the best lag from which on two effects are one to the ear."""
ALIKE_STEP = 8
"""Told apart at 5.5 kHz."""


@dataclass(frozen=True)
class EffectQuery:
    """A clip with an effect in it.

    Attributes:
        effect: its name.
        length_s: how long it is in the catalogue.
        start_s, seconds: where it begins in the clip, and how long it sounds there.
        speed: it is played at.
        wave: the clip, at `RATE`.
    """

    effect: str
    length_s: float
    start_s: float
    seconds: float
    speed: float
    wave: Wave


@dataclass(frozen=True)
class EffectCondition:
    """What is done: the effect is played at a speed, under something so many dB below it where it sounds."""

    speed: float = 1.0
    other: Callable[[int, Rng], npt.NDArray[Any]] | None = None
    ratio_db: float = 0.0


def effect_conditions() -> dict[str, EffectCondition]:
    """The rows, by name."""
    return {
        "clean": EffectCondition(),
        "pink noise 10 dB": EffectCondition(other=pink, ratio_db=10.0),
        "speech 0 dB": EffectCondition(other=talk),
        "speed x 1.10": EffectCondition(speed=1.10),
    }


def effect_queries(
    known: Mapping[str, npt.NDArray[np.int16]], condition: EffectCondition, row: int, rounds: int
) -> Iterator[EffectQuery]:
    """Every effect so many times, each time somewhere else in a clip."""
    rng = np.random.default_rng([SEED, 2000, row])
    size = int(CLIP_S * RATE)
    for _ in range(rounds):
        for name in sorted(known):
            other = None if condition.other is None else condition.other(size, rng)
            yield _laid(name, floats(known[name]), condition, size, other, rng)


def over_music(
    music: Tracks, known: Mapping[str, npt.NDArray[np.int16]], rounds: int
) -> Iterator[tuple[str, EffectQuery]]:
    """Every effect so many times over a track that is louder: the track's name, and the clip."""
    rng = np.random.default_rng([SEED, 2001])
    names, size = sorted(music), int(MUSIC_CLIP_S * RATE)
    condition = EffectCondition(ratio_db=OVER_MUSIC)
    for _ in range(rounds):
        for name in sorted(known):
            track = names[rng.integers(len(names))]
            while len(music[track]) <= size:
                track = names[rng.integers(len(names))]
            under = piece(music[track], size, rng, least=2 * LEAST_LEVEL)
            yield track, _laid(name, floats(known[name]), condition, size, under, rng)


def _laid(
    name: str, effect: Wave, condition: EffectCondition, size: int, other: npt.NDArray[Any] | None, rng: Rng
) -> EffectQuery:
    wave = effect if condition.speed == 1.0 else resampled(effect, condition.speed)
    wave = wave * (LEVEL / np.std(wave))
    begin = int(rng.integers(0, size - len(wave)))
    clip = FLOOR * rng.normal(size=size)
    clip[begin : begin + len(wave)] += wave
    if other is not None:
        # Where the effect sounds; in a pause of the other the ratio is against all of it.
        level = max(float(np.std(other[begin : begin + len(wave)])), 0.2 * float(np.std(other)))
        clip += other * (LEVEL / level * 10 ** (-condition.ratio_db / 20))
    clip *= min(1.0, 0.9 / float(np.abs(clip).max()))
    return EffectQuery(
        name,
        len(effect) / RATE,
        begin / RATE,
        len(wave) / RATE,
        condition.speed,
        clip.astype(np.float32),
    )


@cache
def alike() -> dict[str, frozenset[str]]:
    """By effect those, itself among them, that are the same to the ear: naming one for another is no fault."""
    waves = {name: resample_poly(floats(wave), 1, ALIKE_STEP) for name, wave in effects().items()}
    same = {name: {name} for name in waves}
    names = sorted(waves)
    for number, name in enumerate(names):
        for other in names[:number]:
            if _similarity(waves[name], waves[other]) >= ALIKE:
                same[name].add(other)
                same[other].add(name)
    return {name: frozenset(group) for name, group in same.items()}


def _similarity(first: npt.NDArray[Any], second: npt.NDArray[Any]) -> float:
    """Greatest normalised correlation over all lags."""
    products = np.abs(fftconvolve(first, second[::-1]))
    return float(products.max() / np.sqrt(np.sum(first**2) * np.sum(second**2) + 1e-12))
