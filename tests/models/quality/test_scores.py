import numpy as np
import pytest

from models.quality.scores import (
    CURVES,
    PICTURE_WEIGHTS,
    SOUND_WEIGHTS,
    picture_parts,
    picture_score,
    sound_parts,
    sound_score,
)

FINE_PICTURE = {
    "frames": 100, "width": 1280, "height": 720, "blur_px": 0.6, "noise": 0.8, "blockiness": 0.01, "wiped_share": 0.0,
    "banding": 0.1, "brightness": 110.0, "white": 235.0, "tones": 210.0, "burnt_share": 0.01,
    "quantiser": 22.0,
    "bars": [0.0, 0.0, 0.0, 0.0], "freeze_share": 0.0, "duplicate_share": 0.0, "hold_s": 0.04, "flicker": 0.05,
    "jitter": 0.001,
}  # fmt: skip
FINE_SOUND = {
    "seconds": 10.0, "loudness_lufs": -15.0, "true_peak_dbtp": -1.5, "clipping_share": 0.0, "rail_share": 0.0,
    "bandwidth_hz": 16_000.0, "clarity_db": 20.0, "floor_db": -45.0, "hum_db": None, "dropouts_per_s": 0.0,
    "dynamics_db": 6.0,
}  # fmt: skip
WORSE_PICTURE = {
    "blur_px": np.geomspace(0.6, 20, 12), "noise": np.linspace(0.8, 60, 12), "blockiness": np.linspace(0.01, 6, 12),
    "wiped_share": np.linspace(0, 1, 12), "banding": np.geomspace(2.0, 200, 12),
    "white": np.linspace(235, 0, 12), "tones": np.linspace(210, 0, 12), "burnt_share": np.linspace(0.01, 1, 12),
    "brightness": np.linspace(24, 0, 12), "quantiser": np.linspace(22, 51, 12),
    "freeze_share": np.linspace(0, 1, 12),
    "hold_s": np.geomspace(0.05, 0.5, 12), "flicker": np.linspace(0.05, 40, 12), "jitter": np.linspace(0.001, 0.08, 12),
    "height": np.linspace(720, 16, 12), "bars": [[0.0, n / 30, 0.0, n / 30] for n in range(11)],
}  # fmt: skip
WORSE_SOUND = {
    "true_peak_dbtp": np.linspace(0, 12, 12), "rail_share": np.linspace(0, 0.7, 12),
    "bandwidth_hz": np.linspace(16e3, 0, 12),
    "clarity_db": np.linspace(20, 0, 12), "floor_db": np.linspace(-45, -8, 12), "hum_db": np.linspace(-60, -10, 12),
    "dropouts_per_s": np.geomspace(0.1, 25, 12), "dynamics_db": np.linspace(6, 0, 12),
    "loudness_lufs": np.linspace(-18, -70, 12),
}  # fmt: skip


@pytest.mark.parametrize("name", list(CURVES))
def test_curves_are_well_formed(name: str) -> None:
    points, scores = CURVES[name]
    assert len(points) == len(scores)
    assert np.all(np.diff(points) > 0)
    assert min(scores) >= 0.0 and max(scores) <= 1.0
    # One peak at most: a measure is worse the further it is from its best.
    turns = np.count_nonzero(np.diff(np.sign(np.diff(scores)[np.diff(scores) != 0])))
    assert turns <= 1


@pytest.mark.parametrize("name", list(WORSE_PICTURE))
def test_a_picture_scores_lower_the_worse_one_measure_is(name: str) -> None:
    scores = [picture_score(picture_parts({**FINE_PICTURE, name: value})) for value in WORSE_PICTURE[name]]
    assert all(np.diff(scores) < 0), scores


@pytest.mark.parametrize("name", list(WORSE_SOUND))
def test_a_sound_scores_lower_the_worse_one_measure_is(name: str) -> None:
    scores = [sound_score(sound_parts({**FINE_SOUND, name: value})) for value in WORSE_SOUND[name]]
    assert all(np.diff(scores) < 0), scores


def test_fine_ones_score_high_and_every_part_has_a_weight() -> None:
    assert picture_score(picture_parts(FINE_PICTURE)) > 0.75
    assert sound_score(sound_parts(FINE_SOUND)) > 0.9
    assert set(picture_parts(FINE_PICTURE)) == set(PICTURE_WEIGHTS)
    assert set(sound_parts({**FINE_SOUND, "hum_db": -40.0})) == set(SOUND_WEIGHTS)


def test_measures_that_are_no_numbers_do_no_harm() -> None:
    broken = {name: float("nan") if isinstance(value, float) else value for name, value in FINE_PICTURE.items()}
    assert 0.0 <= picture_score(picture_parts(broken)) <= 1.0
    assert 0.0 <= sound_score(sound_parts({"seconds": 1.0, "loudness_lufs": float("inf")})) <= 1.0
    assert picture_parts({}) == {} and sound_parts({}) == {}


def test_slides_are_not_judged_by_their_motion() -> None:
    standing = {**FINE_PICTURE, "freeze_share": 1.0, "hold_s": 0.5, "jitter": 0.05}
    assert picture_score(picture_parts(standing, still=True)) > 0.75 > picture_score(picture_parts(standing))
