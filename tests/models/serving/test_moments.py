import numpy as np
import pytest

from models.serving.moments import hop_of, moments


def test_one_a_second():
    times = np.arange(30) * 0.5
    assert times[moments(times, [(0.0, 15.0)])].tolist() == [float(second) for second in range(15)]


def test_every_shot_has_one():
    times = np.arange(12) * 0.5
    shots = [(0.0, 1.2), (1.2, 1.9), (1.9, 6.0)]
    chosen = times[moments(times, shots, rate_hz=0.2)]
    assert any(1.2 <= time_s < 1.9 for time_s in chosen) and any(time_s >= 1.9 for time_s in chosen)


@pytest.mark.parametrize("count", [0, 1, 2, 500])
def test_never_too_many_and_always_in_order(count):
    chosen = moments(np.arange(count) * 1.0, [(0.0, float(count))], most=32)
    assert len(chosen) == min(count, 32) and (np.diff(chosen) > 0).all()


def test_how_long_a_moment_stands():
    assert hop_of(np.array([0.0, 1.0, 2.0, 5.0]), 6.0) == 1.0
    assert hop_of(np.array([0.0]), 3.0) == 3.0
