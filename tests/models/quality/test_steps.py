import numpy as np
import pytest

from models.quality.steps import StepMeter

RATE = 48_000


def _sound(seconds: float = 6.0) -> np.ndarray:
    """Noise that swells and fades, as speech does: pauses, but none with two steep sides."""
    times = np.arange(int(seconds * RATE)) / RATE
    return np.random.default_rng(0).normal(0.0, 0.1, times.size) * (0.02 + np.sin(2 * np.pi * 0.7 * times) ** 4)


def _meter(wave: np.ndarray, chunk: int = RATE) -> StepMeter:
    meter = StepMeter(RATE)
    for start in range(0, len(wave), chunk):
        meter.add(wave[None, start : start + chunk].astype(np.float32))
    return meter


def _with_gaps(wave: np.ndarray, count: int, seconds: float = 0.03) -> np.ndarray:
    made = wave.copy()
    loud = [
        start for start in range(RATE // 4, len(wave), RATE // 4) if np.std(wave[start - 400 : start + 2400]) > 0.02
    ]
    for start in loud[:count]:
        made[start : start + int(seconds * RATE)] = 0.0
    return made


@pytest.mark.parametrize("count", [0, 1, 5, 9])
@pytest.mark.parametrize("chunk", [RATE, 1_021])
def test_gaps_are_counted_however_the_sound_is_cut(count: int, chunk: int) -> None:
    found = _meter(_with_gaps(_sound(), count), chunk).dropouts_per_s()
    assert found == pytest.approx(count / 6.0, abs=0.01)


def test_a_rest_is_no_dropout() -> None:
    wave = _sound(4.0)
    wave[RATE : 2 * RATE] = 0.0
    assert _meter(wave).dropouts_per_s() == 0.0


def test_dynamics_of_known_waves() -> None:
    times = np.arange(2 * RATE) / RATE
    sine = 0.5 * np.sin(2 * np.pi * 441.0 * times)
    noise = np.random.default_rng(1).normal(0.0, 0.1, times.size)
    assert _meter(np.sign(sine)).dynamics_db() == pytest.approx(0.0, abs=0.05)
    assert _meter(sine).dynamics_db() == pytest.approx(10 * np.log10(1.5), abs=0.05)
    assert _meter(noise).dynamics_db() == pytest.approx(10 * np.log10(3.0), abs=0.1)


def test_a_limiter_takes_the_dynamics_away() -> None:
    wave = _sound()
    found = [_meter(np.tanh(wave * gain)).dynamics_db() for gain in (1, 10, 40, 200)]
    assert found == sorted(found, reverse=True)  # type: ignore[type-var]


@pytest.mark.parametrize("size", [0, 1, 100, 9_600])
def test_nothing_and_silence(size: int) -> None:
    meter = _meter(np.zeros(size))
    assert not meter.dropouts_per_s() and meter.dynamics_db() is None


def test_a_constant_offset_is_not_heard() -> None:
    wave = _sound()
    assert _meter(wave + 0.5).dynamics_db() == pytest.approx(_meter(wave).dynamics_db(), abs=0.02)
