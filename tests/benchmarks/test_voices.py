from __future__ import annotations

import random

import numpy as np
import pytest

from benchmarks.voices import Heard, figures, fit, label, told
from benchmarks.voices_corpus import Voice, nobody, worn
from models.sounds.synthetic_voices import NOBODY, PERSON, POOLED, row
from models.sounds.whisper_languages import LANGUAGES


def heard(group: str, language: str | None, whisper: str, seed: int, mark: int) -> Heard:
    """What Whisper takes for `whisper`, of a voice that shows itself in one channel."""
    rng = np.random.default_rng(seed)
    pooled = rng.normal(0, 0.1, POOLED).astype(np.float32)
    pooled[mark] += 3.0
    probabilities = np.full(len(LANGUAGES), 1e-3, np.float32)
    probabilities[LANGUAGES.index(whisper)] = 0.9
    return Heard(f"{group} {seed}", group, language, row(pooled, probabilities))


def test_a_map_learns_who_speaks() -> None:
    rows = [heard("espeak-ng", "tr", "en", seed, 0) for seed in range(12)]
    rows += [heard("recorded fr", "fr", "fr", seed, 1) for seed in range(12)]
    rows += [heard("espeak-ng", None, "th", seed, 2) for seed in range(12)]
    assert {label(one) for one in rows} == {"tr", PERSON, NOBODY}
    fitted = fit(rows)
    new = [heard("espeak-ng", "tr", "en", 99, 0), heard("recorded it", "it", "it", 99, 1)]
    new += [heard("espeak-ng", None, "th", 99, 2)]
    assert told(new, None) == ["en", "it", "th"]
    assert told(new, fitted) == ["tr", "it", None]


def test_figures_tell_wrong_from_unknown() -> None:
    rows = [heard("espeak-ng", language, "en", 1, 0) for language in ("tr", "tr", "sv", None)]
    assert figures(rows, ["tr", None, "no", None]) == {"clips": 4, "right": 0.5, "wrong": 0.25}


@pytest.mark.parametrize("seed", range(6))
def test_worn_voices_keep_their_length_and_about_their_level(seed: int) -> None:
    sound = np.random.default_rng(seed).normal(0, 0.1, 32_000).astype(np.float32)
    again = worn(sound, random.Random(seed))
    assert len(again) == len(sound) and again.dtype == np.float32 and np.isfinite(again).all()
    assert 0.3 < again.std() / sound.std() < 1.5


def test_nobody_is_reversed_vocoded_or_many() -> None:
    sound = np.random.default_rng(0).normal(0, 0.1, 32_000).astype(np.float32)
    spoken = [Voice(f"{n}", "espeak-ng", "it", np.roll(sound, 100 * n)) for n in range(6)]
    made = list(nobody(spoken))
    assert len(made) == 6 and {one.language for one in made} == {None}
    assert np.array_equal(made[0].sound, spoken[0].sound[::-1])
    assert all(len(one.sound) == 32_000 and np.isfinite(one.sound).all() for one in made)
