import time
from typing import Any

import numpy as np
import pytest

from models.layout.inset import find_inset

Clip = list[np.ndarray]


def laid(large: Clip, small: Clip, left: int, top: int, border: int = 0) -> Clip:
    """A small clip over a large one."""
    frames = []
    for ground, over in zip(large, small, strict=True):
        frame, picture = ground.copy(), over.copy()
        if border:
            picture[:border], picture[-border:], picture[:, :border], picture[:, -border:] = 255, 255, 255, 255
        frame[top : top + picture.shape[0], left : left + picture.shape[1]] = picture
        frames.append(frame)
    return frames


@pytest.mark.parametrize("border", [0, 3])
@pytest.mark.parametrize(("left", "top"), [(20, 20), (360, 20), (20, 700), (360, 700), (360, 400)])
def test_an_inset_is_found_where_it_is(left: int, top: int, border: int, clips: Any, cover: Any, finish: Any) -> None:
    frames = laid(cover(clips["astronaut"], 540, 960), cover(clips["cat"], 160, 220), left, top, border)
    inset = find_inset(finish(frames))
    assert inset is not None and 0.5 < inset.score <= 1.0
    expected = (left / 540, top / 960, (left + 160) / 540, (top + 220) / 960)
    np.testing.assert_allclose(inset.box, expected, atol=0.02)


def test_a_still_sticker_is_no_inset(clips: Any, cover: Any, finish: Any) -> None:
    sticker = cover(clips["cat"], 160, 220)[:1] * len(clips["coffee"])
    assert find_inset(finish(laid(cover(clips["coffee"], 540, 960), sticker, 360, 20))) is None


def test_a_picture_that_moves_with_its_wall_is_none(clips: Any, cover: Any, finish: Any) -> None:
    wall = clips["coffee"][0]
    wall[100:220, 150:300] = cover(clips["astronaut"], 150, 120)[0]
    moving = [np.ascontiguousarray(wall[y : y + 300, y * 2 : y * 2 + 420]) for y in range(0, 48, 4)]
    assert find_inset(finish(moving)) is None


def test_moving_pictures_have_none(clips: Any, cover: Any, finish: Any) -> None:
    for name, clip in clips.items():
        for shape in ((360, 640), (640, 360)):
            assert find_inset(finish(cover(clip, *shape))) is None, name


@pytest.mark.parametrize("shape", [(0, 1, 1, 3), (3, 297, 297, 3), (12, 60, 300, 3), (12, 200, 200, 3)])
@pytest.mark.parametrize("fill", ["black", "white", "noise"])
def test_odd_frames(shape: tuple[int, ...], fill: str) -> None:
    random = np.random.default_rng(0)
    frames = {"black": np.zeros(shape), "white": np.full(shape, 255), "noise": random.integers(0, 256, shape)}[fill]
    assert find_inset(frames.astype(np.uint8)) is None


def test_a_grid_of_lines_is_bounded() -> None:
    """As many lines as there can be, all of them standing: the worst that a frame can hold."""
    random = np.random.default_rng(0)
    grid = np.kron(random.integers(0, 256, (30, 18)), np.ones((17, 17))).astype(np.uint8)
    frames = np.repeat(np.stack([grid, 255 - grid] * 5)[..., None], 3, axis=3)
    before = time.process_time()
    find_inset(frames)
    assert time.process_time() - before < 2.0


def test_a_plate_with_text_is_no_inset(clips: Any, cover: Any, finish: Any) -> None:
    """Whole and sharp as its outline is: nothing moves inside."""
    for name in ("astronaut", "coffee", "gravel"):
        plated = [frame.copy() for frame in cover(clips[name], 540, 960)]
        for frame in plated:
            frame[500:580, 190:350] = 255
            frame[520:560, 210:330:8] = 0
        assert find_inset(finish(plated)) is None, name
