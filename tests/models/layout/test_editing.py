import numpy as np
import pytest

from models.layout.editing import EditingTagger
from models.protocol import Evidence, Tagger
from tasks.contract import Editing


def tagged(shots: list[tuple[float, float]], still: bool = False):
    return EditingTagger().tag(
        Evidence(9.0, np.zeros((0, 1, 1, 3), np.uint8), np.zeros(0), shots, np.zeros(0, np.float32), still=still)
    )


def test_the_section():
    assert isinstance(EditingTagger(), Tagger)
    section = tagged([(0.0, 2.0), (2.0, 5.0), (5.0, 15.0)])
    assert section == {"shots": 3, "cuts_per_minute": 8.0, "shot_s_median": 3.0, "shot_s_min": 2.0}
    assert Editing.model_validate(section)


def test_one_shot_has_no_cut():
    assert tagged([(0.0, 7.5)]) == {"shots": 1, "cuts_per_minute": 0.0, "shot_s_median": 7.5, "shot_s_min": 7.5}


@pytest.mark.parametrize(("shots", "still"), [([], False), ([(0.0, 0.0)], False), ([(0.0, 5.0)], True)])
def test_without_a_moving_picture_there_is_none(shots, still):
    assert tagged(shots, still) is None
