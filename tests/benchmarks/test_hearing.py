from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from scipy.signal import resample_poly

from benchmarks.hearing_events import BED_DBFS, Said, bins, calibration_error, pink, write_calibration
from benchmarks.hearing_music import (
    AUBIO,
    TRACKS,
    Agreed,
    Beat,
    alike,
    aubio_tempo,
    beat,
    metronomic,
    shares,
    told_tempo,
)
from models.sounds.event_calibration import FITTED, load_event_calibration


def test_calibration_error_is_the_mean_gap_of_the_bins() -> None:
    said = [Said(0.9, True)] * 9 + [Said(0.9, False)] + [Said(0.3, True)] * 10
    assert calibration_error(said) == pytest.approx(0.35)
    assert bins(said)[0] == (pytest.approx(0.3), 1.0, 10)
    assert calibration_error([]) is None


def test_what_is_fitted_is_read_again(tmp_path: Path) -> None:
    known = load_event_calibration()
    write_calibration(known, 88, tmp_path / "calibration.toml")
    assert load_event_calibration(tmp_path / "calibration.toml") == known
    assert "88 of them" in (tmp_path / "calibration.toml").read_text()
    assert FITTED.is_file()


@pytest.mark.parametrize("pattern", [0, 1, 2])
@pytest.mark.parametrize("bpm", [78.0, 104.0, 126.0])
def test_a_beat_has_its_tempo(bpm: float, pattern: int) -> None:
    told = told_tempo(beat(bpm, pattern, np.random.default_rng(0)))
    assert Beat("", bpm, told).octave


def test_shares_count_unknown_as_wrong() -> None:
    figures = shares([Beat("a", 120, 121), Beat("b", 120, 60), Beat("c", 120, 90), Beat("d", 120, None)])
    assert figures == {"tracks": 4, "told": 3, "octave": 0.5, "exact": 0.25}


def test_tempi_are_alike_within_four_percent_and_octaves() -> None:
    assert alike(124.0, 120.0) and alike(61.0, 120.0) and alike(238.0, 120.0)
    assert not alike(126.0, 120.0) and not alike(90.0, 120.0) and not alike(120.0, 0.0)
    assert not alike(61.0, 120.0, (1.0,))


def test_tracks_are_taken_while_the_judges_agree_until_there_are_enough() -> None:
    found = Agreed()
    for number in range(TRACKS + 5):
        found.take(f"{number}", 120.0, 120.0, True)
        found.take("disputed", 120.0, 120.0, False)
        found.take("unknown", 120.0, None, True)
    assert len(found.beats) == TRACKS and found.looked == 3 * TRACKS - 2
    assert found.disagreed == found.unknown == TRACKS - 1


@pytest.mark.skipif(shutil.which(AUBIO) is None, reason="aubio is not installed")
def test_aubio_hears_a_beat() -> None:
    wave = resample_poly(beat(120.0, 3, np.random.default_rng(0)), 441, 160).astype(np.float32)
    assert alike(aubio_tempo(wave), 120.0)
    assert aubio_tempo(np.zeros(5 * 44_100, np.float32)) == 0.0


def test_the_bed_has_its_level() -> None:
    bed = pink(32_000, np.random.default_rng(1))
    assert 20 * np.log10(bed.std()) == pytest.approx(BED_DBFS, abs=0.1)


@pytest.mark.slow
def test_synthesised_beats_reach_their_bar() -> None:
    figures = shares(metronomic())
    assert figures["octave"] >= 0.95 and figures["exact"] >= 0.85
