from typing import Any

import cv2
import numpy as np
import pytest

from models.layout.bars import find_bars

Clip = list[np.ndarray]


def between(clip: Clip, cover: Any, style: str, upright: bool) -> tuple[Clip, tuple[float, float]]:
    """A clip between bars, and where it begins and ends."""
    width, height = (360, 640) if upright else (640, 360)
    size = (360, 300) if upright else (300, 360)
    inner, ground = cover(clip, *size), cover(clip, width, height)
    left, top = (width - size[0]) // 2, (height - size[1]) // 2
    frames = []
    for below, picture in zip(ground, inner, strict=True):
        canvas = cv2.GaussianBlur(below, (0, 0), 12) if style == "blurred" else np.full_like(below, int(style))
        canvas[top : top + size[1], left : left + size[0]] = picture
        frames.append(canvas)
    at = (top / height, (top + size[1]) / height) if upright else (left / width, (left + size[0]) / width)
    return frames, at


@pytest.mark.parametrize("style", ["0", "255", "140", "blurred"])
@pytest.mark.parametrize("upright", [True, False])
@pytest.mark.parametrize("name", ["cat", "coffee", "astronaut"])
def test_bars_are_found_where_they_are(
    name: str, upright: bool, style: str, clips: Any, cover: Any, finish: Any
) -> None:
    frames, (start, end) = between(clips[name], cover, style, upright)
    bars = find_bars(finish(frames))
    assert bars is not None and bars.kind == ("letterbox" if upright else "pillarbox")
    expected = (0, start, 1, end) if upright else (start, 0, end, 1)
    np.testing.assert_allclose(bars.content, expected, atol=0.015)


def test_bars_all_around(clips: Any, cover: Any, finish: Any) -> None:
    frames = [cv2.copyMakeBorder(one, 60, 60, 80, 80, cv2.BORDER_CONSTANT) for one in cover(clips["cat"], 300, 300)]
    bars = find_bars(finish(frames))
    assert bars is not None and bars.kind == "windowbox"
    np.testing.assert_allclose(bars.content, (80 / 460, 60 / 420, 380 / 460, 360 / 420), atol=0.015)


def test_a_picture_without_bars_has_none(clips: Any, cover: Any, finish: Any) -> None:
    for name, clip in clips.items():
        for shape in ((360, 640), (640, 360), (480, 480)):
            assert find_bars(finish(cover(clip, *shape))) is None, name


def test_something_round_before_a_plain_ground_has_no_bars() -> None:
    frame = np.zeros((400, 300, 3), np.uint8)
    cv2.circle(frame, (150, 200), 100, (200, 180, 160), -1)
    assert find_bars(np.stack([frame] * 4)) is None


@pytest.mark.parametrize("shape", [(0, 10, 10, 3), (1, 1, 1, 3), (2, 40, 400, 3), (3, 100, 100, 3)])
@pytest.mark.parametrize("fill", [0, 255])
def test_odd_frames(shape: tuple[int, ...], fill: int) -> None:
    assert find_bars(np.full(shape, fill, np.uint8)) is None


def test_noise_has_no_bars() -> None:
    assert find_bars(np.random.default_rng(0).integers(0, 256, (4, 300, 200, 3)).astype(np.uint8)) is None
