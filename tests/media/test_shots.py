from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from scenedetect.common import FrameTimecode
from scenedetect.detectors import AdaptiveDetector

from media.shots import LumaAdaptiveDetector, ShotDetector


def looks(seeds: list[int], frames: int, noise: float = 2.0) -> list[np.ndarray]:
    """Scenes of `frames` small looks each, moving and noisy."""
    found = []
    for seed in seeds:
        rng = np.random.default_rng(seed)
        scene = np.kron(rng.integers(0, 256, (9, 16)), np.ones((10, 10)))
        for step in range(frames):
            moved = np.roll(scene, step // 2, axis=1) + rng.normal(0, noise, scene.shape)
            found.append(np.clip(moved, 0, 255).astype(np.uint8))
    return found


def run(pictures: list[np.ndarray], fps: float) -> ShotDetector:
    detector = ShotDetector()
    for index, picture in enumerate(pictures):
        detector.see(index / fps, picture)
    return detector


def test_scores_and_cuts_are_those_of_the_stock_detector() -> None:
    ours = LumaAdaptiveDetector()
    stock = AdaptiveDetector(min_scene_len=0, window_width=2, luma_only=True)
    cuts = 0
    for index, look in enumerate(looks([1, 2, 3, 4], 12)):
        at = FrameTimecode(index, 25.0)
        found = ours.process_frame(at, look)
        expected = stock.process_frame(at, np.repeat(look[..., None], 3, axis=2))
        assert ours.score == pytest.approx(stock._frame_score)
        assert [cut.frame_num for cut in found] == [cut.frame_num for cut in expected]
        cuts += len(found)
    assert cuts == 3


@pytest.mark.parametrize("fps", [12, 25, 60])
def test_cuts_are_found_where_they_are(fps: int) -> None:
    detector = run(looks([1, 2, 3, 4], 2 * fps), fps)
    np.testing.assert_allclose(detector.cuts, [2, 4, 6], atol=1e-9)
    np.testing.assert_allclose(detector.shots(8.0), [(0, 2), (2, 4), (4, 6), (6, 8)], atol=1e-9)


def test_motion_noise_and_fades_are_no_cuts() -> None:
    calm = looks([1], 100, noise=12.0)
    fade = [np.full((90, 160), level, np.uint8) for level in range(0, 250, 5)]
    assert run(calm, 25).cuts == [] and run(fade, 25).cuts == []


def test_a_flash_does_not_start_many_shots() -> None:
    pictures = looks([1], 100)
    pictures[50] = np.full_like(pictures[50], 255)
    assert len(run(pictures, 25).cuts) <= 1


def test_sparse_frames_are_cut_by_a_fixed_threshold() -> None:
    assert run(looks([1, 2, 3], 1), 1).cuts == [1.0, 2.0]
    assert run(looks([1], 3), 1).cuts == []


def test_shots_cover_the_video_without_gaps() -> None:
    detector = run(looks([1, 2, 3], 30), 25)
    shots = detector.shots(3.6)
    assert shots[0][0] == 0 and shots[-1][1] == 3.6
    assert all(before[1] == after[0] for before, after in pairwise(shots))
    assert ShotDetector().shots(5.0) == []


def test_a_change_of_resolution_is_no_cut() -> None:
    scene = np.kron(np.random.default_rng(1).integers(0, 256, (9, 16)), np.ones((10, 10))).astype(np.uint8)
    pictures = [scene] * 20 + [scene.repeat(2, axis=0).repeat(2, axis=1)] * 20
    assert run(pictures, 25).cuts == []
