import cv2
import numpy as np
import pytest

from models.quality.change import Change


def _glide(photo: np.ndarray, count: int) -> list[np.ndarray]:
    small = cv2.resize(photo, (260, 200))
    return [np.ascontiguousarray(small[20:120, index : index + 160]) for index in range(count)]


def _see(looks: list[np.ndarray], fps: float = 25.0) -> dict:
    change = Change()
    for index, look in enumerate(looks):
        change.look(look, index / fps, float(look.mean()))
    return change.result()


@pytest.mark.parametrize("held", [1, 2, 4, 8])
def test_how_long_a_frame_is_held(photos: dict[str, np.ndarray], held: int) -> None:
    looks = [look for look in _glide(photos["cat"], 64 // held) for _ in range(held)]
    assert _see(looks)["hold_s"] == pytest.approx(held / 25.0, rel=0.1)


def test_a_still_room_with_a_moving_mouth_does_not_judder(photos: dict[str, np.ndarray]) -> None:
    """Now and then a little moves, and between it even less: that is no picture that is held."""
    random = np.random.default_rng(1)
    room = cv2.resize(photos["coffee"], (160, 100)).astype(np.float64)
    looks = []
    for index in range(100):
        look = room + random.normal(0.0, 0.25, room.shape)
        look[40:60, 70:90] += 12.0 * np.sin(index)
        looks.append(np.clip(look, 0, 255).astype(np.uint8))
    assert _see(looks)["hold_s"] < 0.07


def test_what_a_coder_mends_is_no_movement(photos: dict[str, np.ndarray]) -> None:
    look = cv2.resize(photos["astronaut"], (160, 100))
    looks = []
    for index in range(50):
        mended = look.astype(int)
        mended[::2] += index // 4 % 2  # a level on half of the lines, every fourth frame
        looks.append(np.clip(mended, 0, 255).astype(np.uint8))
    measures = _see(looks)
    assert measures["freeze_share"] > 0.9


def test_a_slow_pan_is_no_freeze(photos: dict[str, np.ndarray]) -> None:
    assert _see(_glide(photos["rocket"], 60))["freeze_share"] == 0.0


def test_whether_it_moved(photos: dict[str, np.ndarray]) -> None:
    change = Change()
    first, second = _glide(photos["cat"], 2)
    assert [change.look(look, time_s, 100.0) for time_s, look in enumerate((first, first, second))] == [
        True,
        False,
        True,
    ]


def test_a_cut_after_a_standing_shot_is_no_judder(photos: dict[str, np.ndarray]) -> None:
    moving = _glide(photos["cat"], 30)
    after = _glide(255 - photos["cat"], 30)
    looks = [*moving, *[moving[-1]] * 10, *after]
    assert np.abs(after[0].astype(int) - moving[-1]).mean() > 25
    assert _see(looks)["hold_s"] == pytest.approx(1 / 25.0, rel=0.05)
