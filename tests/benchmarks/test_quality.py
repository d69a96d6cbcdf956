"""What the quality benchmark is made of: damage that grows with its level, and figures that say so."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from skimage import color, data

from benchmarks.picture_faults import FAULTS, LEVELS
from benchmarks.picture_peers import _features, ssim
from benchmarks.quality import PARTS, correlations
from benchmarks.quality_plots import curves_plot
from benchmarks.sound_faults import SOUND_FAULTS
from benchmarks.sound_sources import RATE
from models.quality.scores import PICTURE_WEIGHTS


def _trial(source: str, level: int, score: float, half: str = "dev") -> Any:
    return SimpleNamespace(source=source, fault="blur", level=level, score=score, half=half)


def _score(trial: Any) -> float:
    return float(trial.score)


def test_correlation_within_and_across() -> None:
    falling = [_trial("a", level, 1.0 - level / 10) for level in range(1, 7)]
    lower = [_trial("b", level, 0.3 - level / 100) for level in range(1, 7)]
    within, across = correlations([*falling, *lower], "blur", _score)
    assert within == pytest.approx(1.0) and 0.0 < across < 0.7


def test_what_tells_nothing_counts_as_nothing() -> None:
    flat = [_trial("a", level, 0.5) for level in range(1, 7)]
    falling = [_trial("b", level, 1.0 - level / 10, "test") for level in range(1, 7)]
    assert correlations([*flat, *falling], "blur", _score)[0] == pytest.approx(0.5)
    assert correlations([*flat, *falling], "blur", _score, "test")[0] == pytest.approx(1.0)


@pytest.mark.parametrize("name", [name for name, fault in FAULTS.items() if fault.spoil is not None])
def test_pictures_are_damaged_more_with_every_level(name: str) -> None:
    fault = FAULTS[name]
    assert len(fault.levels) == LEVELS
    photo = (color.rgb2gray(data.coffee()) * 255).astype(np.float32)[:180, :320]
    luma = np.stack([np.roll(photo, 2 * n, axis=1) for n in range(30)])
    away = [float(np.abs(np.clip(fault.spoil(luma, level), 0, 255) - luma).mean()) for level in fault.levels]  # type: ignore[misc]
    assert away[0] > 0.0 and away[-1] > 2 * away[0]
    assert all(np.diff(away) > 0) or name == "judder"


@pytest.mark.parametrize("name", ["clipping", "low bandwidth", "noise", "hum", "dropouts", "pink noise"])
def test_sounds_are_damaged_more_with_every_level(name: str) -> None:
    fault = SOUND_FAULTS[name]
    assert len(fault.levels) == LEVELS
    times = np.arange(4 * RATE) / RATE
    wave = np.random.default_rng(0).normal(0.0, 0.1, times.size) * (0.2 + np.sin(2 * np.pi * times) ** 2)
    wave = wave.astype(np.float32)

    def off(level: float) -> float:
        made = fault.spoil(wave, level)
        made = made * (np.sum(made * wave) / np.sum(made * made))
        return float(np.mean((made - wave) ** 2))

    away = [off(level) for level in fault.levels]
    assert all(np.diff(away) > 0), away


def test_every_damage_is_about_a_part() -> None:
    assert set(PARTS) == set(FAULTS) and set(PARTS.values()) <= set(PICTURE_WEIGHTS)


def test_peers_tell_more_damage_from_less() -> None:
    photo = (color.rgb2gray(data.coffee()) * 255).astype(np.uint8)
    noisy = np.clip(photo + np.random.default_rng(0).normal(0, 20, photo.shape), 0, 255).astype(np.uint8)
    assert ssim(photo, photo) == pytest.approx(1.0) and ssim(noisy, photo) < 0.8
    features = _features(photo / 255.0)
    assert len(features) == 18 and np.all(np.isfinite(features))
    # A photograph is more peaked than noise, once its contrast is evened out.
    assert features[0] < _features(noisy / 255.0)[0] < 4.0


def test_plots_are_the_same_bytes() -> None:
    curves = {"blur": {"a": [0.9, 0.8, 0.5], "<b>": [0.7, 0.6, 0.1]}}
    assert curves_plot(curves, "picture") == curves_plot(curves, "picture")
    assert "<b>" not in curves_plot(curves, "picture")
