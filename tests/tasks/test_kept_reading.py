"""What was read, and what taggers only like to have, through what is kept."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from models.protocol import Encoding, Evidence, TextLine, optional_encoders
from models.text.tagger import TextTagger
from tasks.kept import NotKept, evidence_arrays, evidence_of, names_for
from tasks.pipeline import _encode

LINES = (
    TextLine("wait for it", 0.98, ((0.0, 1.5), (4.5, 6.0)), (0.1, 0.2, 0.6, 0.25)),
    TextLine("parte 2 \u00e8 meglio \u2764", 0.9, ((0.0, 6.0),), (0.0, 0.8, 1.0, 0.9)),
)


def encoding(name: str, lines: tuple[TextLine, ...] = ()) -> Encoding:
    times = np.arange(3) * 2.0
    return Encoding(f"{name}@1", times, 2.0, np.zeros((3, 0), np.float32), np.full((3, 1), 0.25, np.float32), lines)


def evidence(**encodings: Encoding) -> Evidence:
    return Evidence(
        6.0, np.zeros((0, 1, 1, 3), np.uint8), np.zeros(0), [(0.0, 6.0)], np.zeros(0, np.float32), encodings=encodings
    )


def encoder(name: str, version: int = 1) -> Any:
    return SimpleNamespace(name=name, version=f"{name}@{version}", encode=lambda evidence: encoding(name))


def test_lines_are_kept_to_the_letter() -> None:
    seen = evidence(text=encoding("text", LINES))
    arrays = evidence_arrays(seen, damaged=False)
    assert set(names_for(["text"])) >= set(arrays)
    kept = evidence_of(arrays, {"text": encoder("text")}).evidence
    assert kept.texts == LINES
    assert TextTagger().tag(kept) == TextTagger().tag(seen)


def test_nothing_read_is_nothing_kept() -> None:
    kept = evidence_of(evidence_arrays(evidence(text=encoding("text")), damaged=False), {"text": encoder("text")})
    assert kept.evidence.texts == () and evidence().texts == ()


def test_optional_encodings_are_there_if_they_were_kept() -> None:
    arrays = evidence_arrays(evidence(picture=encoding("picture"), objects=encoding("objects")), damaged=False)
    optional = {"objects": encoder("objects"), "faces": encoder("faces")}
    kept = evidence_of(arrays, {"picture": encoder("picture")}, optional=optional).evidence
    assert set(kept.encodings) == {"picture", "objects"}
    with pytest.raises(NotKept, match="objects was objects@1, and is objects@2 now"):
        evidence_of(arrays, {"picture": encoder("picture")}, optional={"objects": encoder("objects", 2)})


class Likes:
    name = section = "topics"
    version = "likes@1"
    encoders = ("picture",)
    optional_encoders = ("objects", "text", "faces")

    def tag(self, evidence: Evidence) -> Any:
        return sorted(evidence.encodings)


def test_an_optional_encoder_that_fails_or_is_not_there_takes_nobody_with_it() -> None:
    def fails(evidence: Evidence) -> Encoding:
        raise RuntimeError("broken")

    encoders = {"picture": encoder("picture"), "objects": encoder("objects"), "text": encoder("text")}
    encoders["text"].encode = fails
    found, failed = _encode(evidence(), [Likes()], encoders)
    assert set(found) == {"picture", "objects"} and set(failed) == {"text"}
    assert optional_encoders(Likes()) == ("objects", "text", "faces") and optional_encoders(TextTagger()) == ()
    assert replace(evidence(), encodings=found).encodings["objects"].encoder == "objects@1"
