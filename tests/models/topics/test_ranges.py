import numpy as np
import pytest

from models.topics.ranges import frame_edges, hysteresis, shot_numbers, smooth


def test_hysteresis_opens_high_and_closes_low():
    scores = np.array([0.0, 0.4, 0.6, 0.4, 0.4, 0.1, 0.4, 0.4, 0.9])
    assert hysteresis(scores, 0.5, 0.35) == [(1, 5), (6, 9)]
    assert hysteresis(scores, 0.95, 0.35) == []
    assert hysteresis(np.zeros(0), 0.5, 0.3) == []


def test_smoothing_stops_at_a_cut():
    times = np.arange(8) * 0.5
    shots = [(0.0, 2.0), (2.0, 4.0)]
    values = np.repeat([[0.0], [1.0]], 4, axis=0)
    assert np.array_equal(smooth(values, times, shot_numbers(times, shots), 1.0), values)
    assert smooth(values, times, shot_numbers(times, []), 1.0)[3, 0] == pytest.approx(0.4)


def test_edges_are_half_way_or_at_the_cut():
    times = np.array([0.0, 1.0, 2.0])
    assert frame_edges(times, [(0.0, 1.2), (1.2, 3.0)], 3.0).tolist() == [0.0, 0.5, 1.2, 3.0]
    assert frame_edges(times, [], 3.0).tolist() == [0.0, 0.5, 1.5, 3.0]
    assert frame_edges(np.array([0.0]), [], 0.0).tolist() == [0.0, 0.0]
