"""What a trained quality head reads beside the embedding: the parts that the packaged score is made of.

An embedding says what is in a picture and hardly how sharp it is; the measures say that, and not whether it matters.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ..protocol import Evidence
from .scores import (
    PICTURE_SHARE,
    PICTURE_WEIGHTS,
    SOUND_WEIGHTS,
    picture_parts,
    picture_score,
    sound_parts,
    sound_score,
)
from .tagger import PICTURE, SOUND, measures_of, stands_still

VERSION = "measures@3"
MEASURES = (*PICTURE_WEIGHTS, *SOUND_WEIGHTS, "heard")
"""Columns: the scores of the packaged tagger's parts, 1 best; a part that does not apply is 1. The last: 1 where there
is sound to judge."""

Row = npt.NDArray[np.float32]


def measure_row(evidence: Evidence) -> Row:
    """[MEASURES] of one upload."""
    picture = picture_parts(measures_of(evidence, PICTURE), stands_still(evidence))
    sound = sound_parts(measures_of(evidence, SOUND)) if evidence.has_audio else {}
    parts = {**picture, **sound, "heard": float(bool(sound))}
    return np.array([parts.get(name, 1.0) for name in MEASURES], np.float32)


def with_measures(embeddings: npt.NDArray[np.floating], evidence: Evidence) -> Row:
    """[n, d] embeddings to [n, d + MEASURES] rows that a head reads."""
    row = measure_row(evidence)
    return np.concatenate([embeddings.astype(np.float32), np.broadcast_to(row, (len(embeddings), len(row)))], axis=1)


def packaged_scores(row: npt.NDArray[np.floating]) -> dict[str, float]:
    """What the packaged tagger says, from a row of measures: `picture` and `score`."""
    parts = dict(zip(MEASURES, row.astype(np.float64).tolist(), strict=True))
    picture = picture_score({name: parts[name] for name in PICTURE_WEIGHTS})
    sound = sound_score({name: parts[name] for name in SOUND_WEIGHTS})
    whole = picture**PICTURE_SHARE * sound ** (1 - PICTURE_SHARE) if parts["heard"] >= 0.5 else picture
    return {"picture": picture, "score": whole}
