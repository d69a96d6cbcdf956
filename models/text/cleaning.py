"""Read text, made safe to keep, to show and to match: bounded, normal, and without characters that act on a screen."""

from __future__ import annotations

import unicodedata

MAX_CHARACTERS = 200
"""Of one line."""
MAX_READ = 4 * MAX_CHARACTERS
"""Characters of a line that are looked at at all: what comes after is not worth the time."""
MAX_COMBINING = 2
"""Marks on one letter at most: towers of them hide other lines."""


def clean(text: str) -> str:
    """A line without control characters, invisible and direction-changing ones, and private ones; spaces are single.

    Normalised to NFC (Unicode annex 15); empty when nothing that can be read is left.
    """
    kept: list[str] = []
    marks = 0
    for character in unicodedata.normalize("NFC", text[:MAX_READ]):
        category = unicodedata.category(character)
        if category.startswith("M"):
            marks += 1
            if marks > MAX_COMBINING or not kept:
                continue
        else:
            marks = 0
        if category.startswith("Z") or character in "\t\n\r\v\f":
            kept.append(" ")
        elif not category.startswith("C"):
            kept.append(character)
    line = " ".join("".join(kept).split())[:MAX_CHARACTERS].rstrip()
    return line if any(character.isalnum() for character in line) else ""


def says_something(line: str) -> bool:
    """Whether a clean line has two letters or digits, or a character that may be a word (as Chinese has): a lone letter
    is a wheel or a handlebar more often than a text."""
    told = [character for character in line if character.isalnum()]
    return len(told) > 1 or any(unicodedata.category(character) == "Lo" for character in told)
