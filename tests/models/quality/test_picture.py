import json
import pickle
import time
from collections.abc import Callable
from functools import partial
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest

from models.quality.picture import PictureMeasures

Watch = Callable[..., dict[str, Any]]
View = partial(SimpleNamespace, quantiser=None)


def _pan(photo: np.ndarray, count: int, shake: float = 0.0, step: int = 1) -> list[np.ndarray]:
    """A camera that glides over a photograph, with a trembling hand of so many px."""
    rng = np.random.default_rng(3)
    large = cv2.resize(photo, (900, 900))
    planes = []
    for index in range(count):
        dx, dy = np.clip(rng.normal(0.0, shake, 2), -60, 60).astype(int) if shake else (0, 0)
        planes.append(large[100 + dy : 500 + dy, 100 + dx + step * index : 500 + dx + step * index])
    return planes


def test_budget_of_a_short_clip(photos: dict[str, np.ndarray]) -> None:
    """450 frames of 720p with 30 sampled: measured 0.2 s of one core; the bar leaves room for a loaded machine."""
    base = cv2.resize(photos["astronaut"], (1400, 800))
    planes = [base[index : index + 720, index : index + 1280] for index in range(60)]
    observer = PictureMeasures()
    before = time.process_time()
    for index in range(450):
        luma = planes[index % 60]
        observer.frame(
            SimpleNamespace(
                luma=luma, small=luma[::8, ::8], time_s=index / 30, sampled=index % 15 == 0, index=index, quantiser=None
            )
        )
    observer.result(np.zeros(0, np.float32))
    assert time.process_time() - before < 1.0


def test_a_still_picture_stands_still(watch: Watch, photos: dict[str, np.ndarray]) -> None:
    measures = watch([photos["coffee"]] * 60)
    assert measures["freeze_share"] == 1.0
    assert watch(_pan(photos["coffee"], 60))["freeze_share"] == 0.0


def test_a_freeze_in_the_middle_is_its_share_of_the_time(watch: Watch, photos: dict[str, np.ndarray]) -> None:
    moving = _pan(photos["cat"], 90)
    measures = watch(moving[:45] + [moving[44]] * 60 + moving[45:])
    assert measures["freeze_share"] == pytest.approx(60 / 149, abs=0.02)


def test_repeated_frames_are_no_freeze(watch: Watch, photos: dict[str, np.ndarray]) -> None:
    doubled = [plane for plane in _pan(photos["cat"], 40, step=3) for _ in range(2)]
    measures = watch(doubled)
    assert measures["freeze_share"] == 0.0
    assert measures["duplicate_share"] == pytest.approx(0.5, abs=0.03)


def test_flicker_is_told_from_cuts_and_fades(watch: Watch, photos: dict[str, np.ndarray]) -> None:
    planes = _pan(photos["coffee"], 60)
    flickering = [
        np.clip(plane * (1.1 if index % 2 else 0.9), 0, 255).astype(np.uint8) for index, plane in enumerate(planes)
    ]
    fading = [(plane * (index / 60)).astype(np.uint8) for index, plane in enumerate(planes)]
    cutting = [plane if index // 20 % 2 else plane // 2 for index, plane in enumerate(planes)]
    calm = max(watch(each)["flicker"] for each in (planes, fading, cutting))
    assert watch(flickering)["flicker"] > 20 * max(calm, 0.1)


def test_jitter_follows_the_trembling_hand(watch: Watch, photos: dict[str, np.ndarray]) -> None:
    jitter = [watch(_pan(photos["astronaut"], 75, shake))["jitter"] for shake in (0.0, 1.5, 4.0, 10.0)]
    assert jitter == sorted(jitter)
    assert jitter[0] < 0.005 and jitter[-1] > 2.5 * jitter[1]


def test_black_bars_are_found_and_left_out_of_exposure(watch: Watch, photos: dict[str, np.ndarray]) -> None:
    boxed = []
    for plane in _pan(photos["coffee"], 20):
        frame = np.zeros((800, 400), np.uint8)
        frame[200:600] = plane
        boxed.append(frame)
    plain, measures = watch(_pan(photos["coffee"], 20)), watch(boxed)
    np.testing.assert_allclose(measures["bars"], [0.0, 0.25, 0.0, 0.25], atol=0.02)
    assert measures["brightness"] == pytest.approx(plain["brightness"], abs=3.0)
    assert plain["bars"] == [0.0] * 4


@pytest.mark.parametrize("shape", [(1, 1), (2, 2), (3, 5), (17, 401), (719, 405)])
@pytest.mark.parametrize("count", [1, 2, 40])
@pytest.mark.parametrize("fill", ["black", "white", "noise"])
def test_odd_pictures_give_plain_finite_numbers(watch: Watch, shape: tuple[int, int], count: int, fill: str) -> None:
    rng = np.random.default_rng(0)
    levels = {"black": (0, 1), "white": (255, 256), "noise": (0, 256)}[fill]
    measures = watch([rng.integers(*levels, shape).astype(np.uint8) for _ in range(count)])
    # allow_nan=False: NaN and infinity are no JSON.
    again = json.loads(json.dumps(measures, allow_nan=False))
    assert again["frames"] == count
    assert (again["freeze_share"] is None) == (count == 1)


def test_broken_times_and_a_change_of_size_do_no_harm(photos: dict[str, np.ndarray]) -> None:
    observer = PictureMeasures()
    for index, time_s in enumerate([0.0, float("nan"), -5.0, 1e12, 0.1, 0.1]):
        plane = photos["cat"][: 200 + 20 * (index // 3)]
        observer.frame(View(luma=plane, small=plane[::3, ::3], time_s=time_s, sampled=True, index=index))
    json.dumps(observer.result(np.zeros(0, np.float32)), allow_nan=False)


def test_memory_has_a_bound(photos: dict[str, np.ndarray]) -> None:
    small = photos["cat"][:48, :48]
    observer = PictureMeasures()
    sizes = []
    for index in range(6000):
        observer.frame(View(luma=small, small=small, time_s=float(index), sampled=True, index=index))
        if index in (2000, 5999):
            sizes.append(len(pickle.dumps(observer.__dict__)))
    assert sizes[1] < sizes[0] * 1.2 + 2000
    curves = observer.result(np.zeros(0, np.float32))["curves"]
    assert {len(values) for values in curves.values()} == {len(curves["times_s"])} and len(curves["times_s"]) <= 256


def test_nothing_seen_nothing_said() -> None:
    assert PictureMeasures().result(np.zeros(0, np.float32)) == {}


def test_exposure_is_told_of_any_photograph(photos: dict[str, np.ndarray], watch: Watch) -> None:
    for name, photo in photos.items():
        lit = [watch([np.clip(photo * gain, 0, 255).astype(np.uint8)]) for gain in (0.25, 0.5, 1.0, 2.0, 3.5)]
        whites, burnt = [look["white"] for look in lit], [look["burnt_share"] for look in lit]
        assert whites[0] < whites[1] < whites[2] <= whites[3] <= whites[4], name
        assert burnt[0] <= burnt[2] < burnt[3] < burnt[4], name
        flat = watch([(128 + (photo.astype(float) - 128) * 0.3).astype(np.uint8)])
        assert flat["tones"] < 0.5 * lit[2]["tones"], name


def test_the_quantiser_is_the_mean_of_what_frames_tell(photos: dict[str, np.ndarray], watch: Watch) -> None:
    assert watch(_pan(photos["cat"], 12), quantiser=31.5)["quantiser"] == 31.5
    assert watch(_pan(photos["cat"], 12))["quantiser"] is None


def test_pictures_that_jump_tell_nothing_of_the_hand(photos: dict[str, np.ndarray], watch: Watch) -> None:
    assert watch(_pan(photos["coffee"], 60, shake=4.0), fps=25.0)["jitter"] > 0.004
    held = [plane for plane in _pan(photos["coffee"], 60, step=2)[::6] for _ in range(6)]
    assert watch(held, fps=25.0)["jitter"] is None
