from __future__ import annotations

import pickle
import time

import numpy as np
import pytest

from models.sounds.key import NAMES, KeyObserver, find_key

RATE = 16_000
CADENCES = {"major": ((0, 4), (5, 4), (7, 4), (0, 4)), "minor": ((0, 3), (5, 3), (7, 4), (0, 3))}


def chords(tonic: int, mode: str, cents: float = 0.0) -> np.ndarray:
    parts = []
    for root, third in CADENCES[mode] * 2:
        clock = np.arange(int(0.8 * RATE)) / RATE
        notes = (36 + root, 48 + root, 48 + root + third, 55 + root)
        hertz = [440 * 2 ** ((note + tonic - 69 + cents / 100) / 12) for note in notes]
        tones = [np.sin(2 * np.pi * f * n * clock) / n for f in hertz for n in range(1, 6)]
        parts.append(np.sum(tones, axis=0) * np.exp(-clock))
    return (0.1 * np.concatenate(parts)).astype(np.float32)


@pytest.mark.parametrize("mode", ["major", "minor"])
@pytest.mark.parametrize("tonic", range(12))
def test_a_cadence_has_its_key(tonic: int, mode: str) -> None:
    name, correlation, margin = find_key(chords(tonic, mode, cents=(tonic * 7) % 50 - 25))
    assert name == f"{NAMES[tonic]} {mode}"
    assert correlation > 0.8
    assert margin > 0.1


def test_an_a_major_scale() -> None:
    clock = np.arange(int(0.5 * RATE)) / RATE
    notes = [57 + step for step in (0, 2, 4, 5, 7, 9, 11, 12, 7, 4, 0, 0)]
    tones = [np.sin(2 * np.pi * 440 * 2 ** ((note - 69) / 12) * clock) * np.exp(-2 * clock) for note in notes]
    assert find_key((0.2 * np.concatenate(tones)).astype(np.float32))[0] == "A major"


@pytest.mark.parametrize(
    "sound",
    [
        np.zeros(0, np.float32),
        np.zeros(15 * RATE, np.float32),
        chords(0, "major")[: 3 * RATE],
        np.full(15 * RATE, np.nan, np.float32),
    ],
)
def test_no_key(sound: np.ndarray) -> None:
    assert find_key(sound) == (None, 0.0, 0.0)


def test_noise_is_not_clear() -> None:
    noise = np.random.default_rng(0).standard_normal(15 * RATE).astype(np.float32)
    assert find_key(noise)[1] < 0.7


def test_observer_is_cheap_and_picklable() -> None:
    observer = pickle.loads(pickle.dumps(KeyObserver))()
    sound = chords(9, "minor")
    observer.result(sound)
    started = time.process_time()
    assert observer.result(sound)["key"] == "A minor"
    assert time.process_time() - started < 0.1
