"""How a layout is judged."""

from typing import Any

import numpy as np
import pytest

from benchmarks.layout_cases import Box, Case
from benchmarks.layouts import judge, overlap

LEFT: Box = (0.0, 0.0, 0.5, 1.0)
RIGHT: Box = (0.5, 0.0, 1.0, 1.0)
FRAMES = [np.zeros((8, 8, 3), np.uint8)]


def said(kind: str, panes: list[Box], bars: str | None = None, content: Box | None = None) -> dict[str, Any]:
    """A document's section."""
    return {"kind": kind, "panes": [{"box": list(box)} for box in panes], "bars": bars, "content": content}


def test_overlap_is_intersection_over_union() -> None:
    assert overlap(LEFT, LEFT) == 1.0
    assert overlap(LEFT, RIGHT) == 0.0
    assert overlap(LEFT, (0.25, 0.0, 0.75, 1.0)) == pytest.approx(1 / 3)


@pytest.mark.parametrize(
    ("answer", "right"),
    [
        (said("duet_left_right", [LEFT, RIGHT]), True),
        (said("duet_left_right", [RIGHT, LEFT]), False),
        (said("duet_left_right", []), False),
        (said("duet_up_down", [LEFT, RIGHT]), False),
        (said("single", []), False),
        (said("duet_left_right", [LEFT, RIGHT], "letterbox", (0.0, 0.2, 1.0, 0.8)), False),
    ],
)
def test_a_duet_is_right_with_its_kind_and_its_panes(answer: dict[str, Any], right: bool) -> None:
    made = Case("duet-000", FRAMES, "duet_left_right", (LEFT, RIGHT))
    assert judge(made, "duet_left_right", answer, 1.0).right is right


@pytest.mark.parametrize(("low", "right"), [(0.2, True), (0.3, True), (0.4, False)])
def test_bars_are_right_where_the_picture_is(low: float, right: bool) -> None:
    made = Case("bars-000", FRAMES, "single", (), "letterbox", (0.0, 0.2, 1.0, 0.8))
    answer = said("single", [], "letterbox", (0.0, low, 1.0, 0.8))
    assert judge(made, "bars", answer, 1.0).right is right


def test_an_ordinary_upload_with_panes_is_false() -> None:
    made = Case("ordinary-000", FRAMES, "single")
    assert judge(made, "ordinary", said("single", []), 1.0).right
    assert not judge(made, "ordinary", said("picture_in_picture", [LEFT, RIGHT]), 1.0).right
