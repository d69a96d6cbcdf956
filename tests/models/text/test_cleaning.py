import time
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.text.cleaning import MAX_CHARACTERS, MAX_COMBINING, clean, says_something


@pytest.mark.parametrize(
    ("read", "expected"),
    [
        ("Morning  in\tthe\nmeadow ", "Morning in the meadow"),
        ("a\x00b\x1b[31mc\x7f", "ab[31mc"),
        ("user\u202egnp.exe", "usergnp.exe"),  # right-to-left override
        ("\u2066hidden\u2069 \u200bhere\ufeff", "hidden here"),
        ("cafe\u0301", "café"),
        ("z" + "\u0300" * 50, "z" + "\u0300" * MAX_COMBINING),
        ("half \ud83d of a pair", "half of a pair"),
        ("!!! --- ...", ""),
        ("\u0301\u0301", ""),
        ("日本語 テスト", "日本語 テスト"),
        ("", ""),
    ],
)
def test_what_is_left(read, expected):
    assert clean(read) == expected


def test_megabytes_cost_nothing():
    before = time.process_time()
    line = clean("ab\u202e" * 2_000_000)
    assert time.process_time() - before < 0.5
    assert len(line) == MAX_CHARACTERS


@given(st.text(max_size=2000))
def test_anything(text):
    line = clean(text)
    assert len(line) <= MAX_CHARACTERS and line == line.strip()
    assert all(unicodedata.category(character)[0] not in "C" for character in line)
    assert "\n" not in line and (line == "" or any(character.isalnum() for character in line))
    line.encode("utf-8")
    assert clean(line) == line


def test_a_lone_letter_says_nothing() -> None:
    assert [says_something(line) for line in ("B", "8", "- M .", "")] == [False] * 4
    assert [says_something(line) for line in ("OK", "B 2", "24", "福", "店")] == [True] * 5
