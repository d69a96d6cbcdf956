from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from media.sampling import FrameSampler

PICTURE = np.zeros((1, 1, 3), np.uint8)


def run(duration_s: float, fps: float, cuts: list[float], cap: int = 96, rate: float = 2.0) -> tuple[list[float], int]:
    sampler = FrameSampler(rate, cap)
    waiting = sorted(cuts)
    converted = 0
    for index in range(round(duration_s * fps)):
        time_s = index / fps
        # A cut is known two frames after it.
        while waiting and waiting[0] <= time_s - 2 / fps:
            sampler.cut(waiting.pop(0))
        if sampler.wants(time_s):
            sampler.keep(time_s, PICTURE)
            converted += 1
        assert len(sampler.samples) <= 2 * cap
    return [sample.time_s for sample in sampler.samples], converted


def test_two_a_second_below_the_cap() -> None:
    times, converted = run(15.0, 30.0, [])
    np.testing.assert_allclose(times, np.arange(30) / 2, atol=1e-6)
    assert converted == 30


@pytest.mark.parametrize("minutes", [1, 10, 60])
def test_a_long_video_is_covered_evenly_and_bounded(minutes: int) -> None:
    times, converted = run(minutes * 60.0, 5.0, [])
    assert 48 <= len(times) <= 97
    gaps = np.diff(times)
    assert gaps.max() <= 2 * gaps.min() + 0.2
    assert times[-1] > minutes * 60 * 0.97
    assert converted < 96 * (2 + np.log2(minutes + 1))  # what was scaled for nothing is bounded too


def test_every_shot_has_a_frame() -> None:
    rng = np.random.default_rng(0)
    cuts = np.cumsum(rng.uniform(0.45, 20.0, 60)).tolist()
    times, _ = run(cuts[-1] + 5, 25.0, cuts)
    edges = [0.0, *cuts, cuts[-1] + 5]
    counts, _ = np.histogram(times, edges)
    assert counts.min() >= 1


@settings(max_examples=40, deadline=None)
@given(
    duration=st.floats(0.1, 400.0),
    fps=st.sampled_from([1.0, 7.0, 24.0]),
    cuts=st.lists(st.floats(0.0, 400.0), max_size=400),
    cap=st.integers(1, 20),
)
def test_never_more_than_twice_the_cap_and_always_ascending(duration, fps, cuts, cap) -> None:
    times, _ = run(duration, fps, cuts, cap)
    assert times == sorted(set(times))
    assert len(times) <= 2 * cap
