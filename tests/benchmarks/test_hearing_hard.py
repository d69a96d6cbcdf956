from __future__ import annotations

import numpy as np
import pytest

from benchmarks.hearing_hard import at_bars, babble, vocoded
from benchmarks.hearing_speech import Asked, chance_of
from models.protocol import WAVEFORM_RATE
from models.sounds.whisper_languages import LANGUAGES


def asked(truth: str | None, guess: str | None, chance: float) -> Asked:
    return Asked("one", truth, None, 3.0, guess, chance)


def test_each_bar_tells_right_wrong_and_where_there_is_none() -> None:
    speech = [asked("pt", "pt", 0.45), asked("pl", "hu", 0.35), asked("sv", None, 0.0)]
    rows = {row["bar"]: row for row in at_bars(speech, [asked(None, "nl", 0.6), asked(None, None, 0.0)])}
    assert rows[0.5] == {"bar": 0.5, "right": 0, "wrong": 0, "without": 1}
    assert rows[0.3] == {"bar": 0.3, "right": 1, "wrong": 1, "without": 1}


def test_a_chance_is_among_spoken_languages_and_pools_both_ways_to_write_norwegian() -> None:
    scores = np.zeros((1, len(LANGUAGES)), np.float32)
    for name, value in (("no", 0.2), ("nn", 0.2), ("da", 0.1), ("la", 0.5)):
        scores[0, LANGUAGES.index(name)] = value
    assert chance_of("no", scores) == pytest.approx(0.8)
    assert chance_of(None, scores) == 0.0


def test_a_vocoder_keeps_the_envelope_and_no_tone() -> None:
    time = np.arange(2 * WAVEFORM_RATE) / WAVEFORM_RATE
    tone = (np.sin(2 * np.pi * 440 * time) * (time < 1)).astype(np.float32)
    made = vocoded(tone)
    half = WAVEFORM_RATE
    assert np.abs(made[: half - 2000]).mean() > 20 * np.abs(made[half + 2000 :]).mean()
    spectrum = np.square(np.abs(np.fft.rfft(made[:half])))
    assert spectrum[438:443].sum() < 0.2 * spectrum.sum()
    assert np.abs(babble([tone, tone[:8000]])).max() == pytest.approx(0.5)
    assert len(babble([tone, tone[:8000]])) == 8000
