from __future__ import annotations

from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from store.columns import UtcTime, dumps, plain_json, plain_text


@given(st.text(st.characters(codec=None), max_size=50))
def test_plain_text_can_be_stored_everywhere_and_is_stable(value: str) -> None:
    plain = plain_text(value)
    assert "\x00" not in plain
    plain.encode("utf-8")
    assert plain_text(plain) == plain
    if "\x00" not in value and not any("\ud800" <= letter <= "\udfff" for letter in value):
        assert plain == value


def test_json_is_cleaned_to_its_depth_and_is_otherwise_left_alone() -> None:
    value = {"a\x00": [("\x00", 1, 1.5, None, True)], "b": {"c": "\udc80d"}}
    assert plain_json(value) == {"a": [["", 1, 1.5, None, True]], "b": {"c": "d"}}


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_json_has_no_nan(value: float) -> None:
    with pytest.raises(ValueError, match="JSON"):
        dumps([value])


def test_a_time_without_zone_is_a_bug() -> None:
    with pytest.raises(ValueError, match="zone"):
        UtcTime().process_bind_param(datetime(2026, 1, 1), None)  # type: ignore[arg-type]
