"""The seeded questions of the sound identity benchmark: what is cut from where and changed how, and the answer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import av
import numpy as np
import numpy.typing as npt
from scipy.signal import fftconvolve

from .distortions import Distortion, at_ratio, babble, piece, pink, talk
from .recordings import RATE, Wave, floats

MATCHER_RATE = 16_000
SEED = 20261124
LONGEST_S = 10.0
LEAST_LEVEL = 0.01
"""An excerpt quieter than this (rms) is not asked about."""
OFFSET_S = 0.1
"""How far a start offset may be off, s."""
ALIKE = 0.9
"""Correlation from which on two places of one track are the same to the ear: a track that repeats itself to the sample
has no one right offset."""
NEGATIVES = ("music", "music and speech", "speech", "music and noise", "babble", "noise")

Tracks = Mapping[str, npt.NDArray[np.int16]]


@dataclass(frozen=True)
class Query:
    """A question with its answer."""

    recording: str
    start_s: float
    speed: float
    semitones: float
    wave: Wave
    """At `RATE`."""


def to_matcher(wave: Wave) -> Wave:
    """As the decoder would give it: 16 kHz."""
    resampler = av.AudioResampler("flt", "mono", MATCHER_RATE)
    frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(wave[None, :]), format="flt", layout="mono")
    frame.sample_rate = RATE
    parts = [made.to_ndarray().reshape(-1) for given in (frame, None) for made in resampler.resample(given)]
    return np.concatenate(parts).astype(np.float32)


def queries(tracks: Tracks, distortion: Distortion, row: int, seconds: float, number: int) -> Iterator[Query]:
    """So many excerpts of a row of the table; longer ones begin where shorter ones do, as far as the track goes."""
    names = sorted(tracks)
    rng = np.random.default_rng([SEED, row])
    longest = distortion.source_size(LONGEST_S)
    for _ in range(number):
        while True:
            name = names[rng.integers(len(names))]
            if len(tracks[name]) <= longest:
                continue
            start = int(rng.integers(0, len(tracks[name]) - longest))
            if np.std(floats(tracks[name][start : start + 5 * RATE])) > LEAST_LEVEL:
                break
        wave = distortion(tracks[name], start, seconds, rng.spawn(1)[0])
        yield Query(name, start / RATE, distortion.speed, distortion.semitones, wave)


def negatives(strangers: Tracks, seconds: float, number: int) -> Iterator[tuple[str, Wave]]:
    """Excerpts that hold nothing of the catalogue, by kind."""
    names, size = sorted(strangers), int(seconds * RATE)
    rng = np.random.default_rng([SEED, 999, int(seconds)])
    for turn in range(number):
        music = piece(strangers[names[rng.integers(len(names))]], size, rng)
        kind = ("music", "music", "music and speech", "speech", "music and noise", "babble", "music", "noise")[turn % 8]
        wave: npt.NDArray[np.floating]
        if kind == "music and speech":
            wave = at_ratio(music, talk(size, rng), rng.uniform(-8, 6))
        elif kind == "music and noise":
            wave = at_ratio(music, pink(size, rng), rng.uniform(0, 10))
        elif kind in ("speech", "babble"):
            wave = (talk if kind == "speech" else babble)(size, rng)
        elif kind == "noise":
            wave = pink(size, rng) if turn % 16 == 7 else rng.normal(size=size)
        else:
            wave = music
        yield kind, np.asarray(wave / np.abs(wave).max() * 0.8, dtype=np.float32)


def same_place(track: npt.NDArray[np.int16], first_s: float, second_s: float, seconds: float) -> bool:
    """Whether a track is to the ear the same at two places: within `OFFSET_S`, or a repetition."""
    if abs(first_s - second_s) <= OFFSET_S:
        return True
    step = 8  # 5.5 kHz is enough to tell
    size = int(seconds * RATE)
    slack = int(OFFSET_S * RATE)
    begin, other = int(first_s * RATE), int(second_s * RATE) - slack
    part = floats(track[begin : begin + size : step])
    around = floats(track[max(0, other) : other + size + 2 * slack : step])
    if len(part) < RATE // step or len(around) <= len(part):
        part = part[: max(1, len(around) - 2 * slack // step)]
    products = fftconvolve(around, part[::-1], "valid")
    power = np.convolve(around.astype(np.float64) ** 2, np.ones(len(part)), "valid")
    return bool((products / np.sqrt(power * float(np.sum(part**2)) + 1e-12)).max() >= ALIKE)


def pairs_in_turn(tracks: Tracks, number: int, seconds: float = 7.5) -> Iterator[tuple[Sequence[Query], Wave]]:
    """Two sounds one after the other."""
    names = sorted(tracks)
    rng = np.random.default_rng([SEED, 1000])
    size = int(seconds * RATE)
    for _ in range(number):
        parts = []
        while len(parts) < 2:
            name = names[rng.integers(len(names))]
            if len(tracks[name]) <= size or any(name == other.recording for other in parts):
                continue
            start = int(rng.integers(0, len(tracks[name]) - size))
            wave = floats(tracks[name][start : start + size])
            if min(np.std(wave[: RATE // 2]), np.std(wave[-RATE // 2 :])) > LEAST_LEVEL:
                parts.append(Query(name, start / RATE, 1.0, 0.0, wave))
        yield parts, np.concatenate([part.wave for part in parts])
