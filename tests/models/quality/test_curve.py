import numpy as np
import pytest

from models.quality.curve import Curve


def test_short_curve_is_kept_as_it_is() -> None:
    curve = Curve("a", "b")
    for index in range(5):
        curve.add(index * 0.5, index, None)
    assert curve.points() == {"times_s": [0.0, 0.5, 1.0, 1.5, 2.0], "a": [0, 1, 2, 3, 4], "b": [0.0] * 5}
    assert curve.known("b") == []


@pytest.mark.parametrize("count", [255, 256, 257, 511, 512, 513, 5000, 100_003])
def test_long_curve_stays_short_and_keeps_its_shape(count: int) -> None:
    curve = Curve("ramp")
    for index in range(count):
        curve.add(float(index), float(index))
    points = curve.points()
    assert len(points["times_s"]) == len(points["ramp"]) <= 256
    assert len(points["ramp"]) >= min(count, 128)
    assert np.all(np.diff(points["times_s"]) > 0)
    # Each point is the mean of the moments from its time to the next point's.
    stride = points["times_s"][1]
    np.testing.assert_allclose(points["ramp"][:-1], np.array(points["times_s"][:-1]) + (stride - 1) / 2)


def test_what_is_not_finite_is_unknown() -> None:
    curve = Curve("a")
    for value in (1.0, float("nan"), float("inf"), None, 3.0):
        curve.add(0.0, value)
    assert curve.known("a") == [1.0, 3.0]
    assert curve.points()["a"] == [1.0, 0.0, 0.0, 0.0, 3.0]
