from __future__ import annotations

import numpy as np
import pytest

from models.protocol import Evidence
from models.sounds.edges import Outline, sounding
from models.sounds.outline import OutlineEncoder, levels_db

RATE = 16_000
TIMES = np.arange(24) * 0.48


def sound(start_s: float, end_s: float, bed: float = 0.001, seconds: float = 12.0) -> np.ndarray:
    rng = np.random.default_rng(3)
    wave = bed * rng.standard_normal(int(seconds * RATE))
    first, last = int(start_s * RATE), int(end_s * RATE)
    wave[first:last] += 0.2 * np.sin(2 * np.pi * 700 * np.arange(last - first) / RATE)
    return wave.astype(np.float32)


def outline(wave: np.ndarray) -> Outline:
    evidence = Evidence(len(wave) / RATE, np.zeros((0, 1, 1, 3), np.uint8), np.zeros(0), (), wave)
    found = Outline.of(OutlineEncoder().encode(evidence))
    assert found is not None
    return found


def test_levels_are_those_of_a_full_scale_sine() -> None:
    levels = levels_db(np.sin(2 * np.pi * 700 * np.arange(RATE) / RATE).astype(np.float32))
    assert levels.shape == (50, 6)
    assert levels[25, 2] == pytest.approx(1.8, abs=0.3)  # the main lobe's power, summed
    assert levels[25, 5] < -60
    assert levels_db(np.zeros(0, np.float32)).shape == (0, 6)
    assert levels_db(np.zeros(1000, np.float32)) == pytest.approx(-100)


@pytest.mark.parametrize(("start_s", "end_s"), [(3.1, 4.3), (3.4, 3.7), (2.95, 6.6)])
def test_a_range_is_put_at_the_edges_of_its_sound(start_s: float, end_s: float) -> None:
    run = (int((start_s - 0.3) / 0.48), int((end_s - 0.1) / 0.48) + 1)
    begin, end = outline(sound(start_s, end_s)).refined(run, TIMES, (TIMES[run[0]] + 0.24, TIMES[run[1] - 1] + 0.72))
    assert begin == pytest.approx(start_s, abs=0.06)
    assert end == pytest.approx(end_s, abs=0.06)


def test_where_nothing_stands_out_the_guess_stays() -> None:
    assert outline(sound(0, 12)).refined((6, 9), TIMES, (3.1, 4.6)) == (3.1, 4.6)
    assert outline(np.zeros(12 * RATE, np.float32)).refined((6, 9), TIMES, (3.1, 4.6)) == (3.1, 4.6)


def test_an_edge_far_away_is_another_sounds() -> None:
    begin, end = outline(sound(1.0, 4.3)).refined((6, 9), TIMES, (3.1, 4.6))
    assert begin == 3.1
    assert end == pytest.approx(4.3, abs=0.06)


def test_pauses_are_filled_and_the_encoder_is_kept_exactly() -> None:
    there = np.zeros(100, bool)
    there[10:20] = there[30:40] = there[80:81] = True
    assert sounding(there) == [(10, 40), (80, 81)]
    evidence = Evidence(1.0, np.zeros((0, 1, 1, 3), np.uint8), np.zeros(0), (), np.full(RATE, np.nan, np.float32))
    scores = OutlineEncoder().encode(evidence).scores
    assert scores.shape == (50, 6) and np.isfinite(scores).all()
    assert (scores.astype(np.float16).astype(np.float32) == scores).all()
