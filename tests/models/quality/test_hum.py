import numpy as np
import pytest

from models.quality.hum import HumMeter

RATE = 44_100


def _times(seconds: float, rate: int = RATE) -> np.ndarray:
    return np.arange(int(seconds * rate)) / rate


def _hum(mains: float, level_db: float, seconds: float = 6.0, rate: int = RATE) -> np.ndarray:
    lines = sum(np.sin(2 * np.pi * mains * n * _times(seconds, rate) + n) / n for n in (1, 2, 3, 5))
    return lines / np.sqrt(np.mean(lines**2)) * 10 ** (level_db / 20)


def _music(seconds: float = 6.0, rate: int = RATE) -> np.ndarray:
    """A bass line on the tones beside the mains, and chords."""
    wave = np.zeros(int(seconds * rate))
    length = rate // 2
    times = np.arange(length) / rate
    for number, start in enumerate(range(0, len(wave) - length + 1, length)):
        tone = (48.999, 58.27, 61.74, 51.913)[number % 4]
        for partial in range(1, 12):
            wave[start : start + length] += np.sin(2 * np.pi * tone * partial * times) * np.exp(-3 * times) / partial
    return wave / np.sqrt(np.mean(wave**2)) * 0.1


def _level(wave: np.ndarray, rate: int = RATE) -> float | None:
    meter = HumMeter(rate)
    for start in range(0, len(wave), rate):
        meter.add(wave[None, start : start + rate].astype(np.float32))
    return meter.level_db()


@pytest.mark.parametrize("mains", [50.0, 60.0])
@pytest.mark.parametrize("rate", [8_000, 44_100, 48_000])
def test_the_level_of_the_mains(mains: float, rate: int) -> None:
    noise = np.random.default_rng(0).normal(0.0, 1e-3, 6 * rate)
    assert _level(_hum(mains, -40.0, rate=rate) + noise, rate) == pytest.approx(-40.0, abs=2.0)


def test_hum_under_music() -> None:
    assert _level(_music() + _hum(50.0, -30.0)) == pytest.approx(-30.0, abs=4.0)


def test_music_and_noise_do_not_hum() -> None:
    assert _level(_music()) is None
    assert _level(np.random.default_rng(1).normal(0.0, 0.1, 6 * RATE)) is None


@pytest.mark.parametrize("seconds", [0.0, 0.1, 1.0])
def test_too_short_to_tell(seconds: float) -> None:
    assert _level(np.full(int(seconds * RATE), 0.1)) is None


def test_silence_does_not_hum() -> None:
    assert _level(np.zeros(6 * RATE)) is None


def test_memory_has_a_bound() -> None:
    meter = HumMeter(2_000)
    for _ in range(40):
        meter.add(np.ones((2, 60_000), np.float32))
    assert len(meter._spectra) <= 600
