"""Whether there is music, and what it is like."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ..protocol import Evidence
from .audioset import GENRES, INSTRUMENTS, MOODS, SINGING, class_names, indices
from .tempo import TempoObserver

__all__ = ["MusicTagger", "TempoObserver"]

POOL_SHARE = 0.25
"""Of the moments: the ones that sound most like music speak for the upload, so that music in a part of it counts."""
POOL_ROWS = 4
"""At least so many (2.4 s): what is missing counts as no music, since a honk of a horn is none."""
PRESENT = 0.5
"""From here on there is music whose attributes are worth telling."""
STEADY = 0.15
"""Confidence that a tempo has to have. Measured on music: 0.28 to 0.79; on noise: 0.06."""
TAG = 0.15
"""Mean score that a genre, mood or instrument has to have while there is music."""
MAX_TAGS = 8


class MusicTagger:
    """`models.protocol.Tagger`: the document's `music`. The tempo comes from the observer `tempo`."""

    name = "music"
    version = "yamnet@2"
    section = "music"
    encoders = ("yamnet",)

    def tag(self, evidence: Evidence) -> dict[str, Any]:
        """Presence (0 to 1) and, where music is present, tempo, vocals and tags. The key is not told yet."""
        scores = evidence.encodings["yamnet"].scores
        nothing: dict[str, Any] = {"present": 0.0, "tempo_bpm": None, "key": None, "vocals": None, "tags": []}
        if len(scores) == 0:
            return nothing
        music = scores[:, indices(["Music"])[0]]
        present = round(_pooled(music), 4)
        if present < PRESENT:
            return nothing | {"present": present}
        while_music = scores[music >= PRESENT]
        return {
            "present": present,
            "tempo_bpm": _tempo(evidence),
            "key": None,
            "vocals": round(_pooled(while_music[:, indices(SINGING)].max(axis=1)), 4),
            "tags": _tags(while_music),
        }


def _pooled(values: npt.NDArray[np.float32]) -> float:
    count = max(POOL_ROWS, round(len(values) * POOL_SHARE))
    return min(float(np.sort(values)[-count:].sum() / count), 1.0)


def _tempo(evidence: Evidence) -> float | None:
    seen = evidence.observations.get("tempo", {})
    tempo_bpm = seen.get("tempo_bpm")
    if tempo_bpm is None or seen.get("confidence", 0.0) < STEADY:
        return None
    return float(tempo_bpm)


def _tags(scores: npt.NDArray[np.float32]) -> list[dict[str, Any]]:
    columns = indices((*GENRES, *MOODS, *INSTRUMENTS))
    means = scores[:, columns].mean(axis=0)
    order = [place for place in np.argsort(-means, kind="stable") if means[place] >= TAG][:MAX_TAGS]
    return [
        {"tag": tag_name(class_names()[columns[place]]), "score": round(min(float(means[place]), 1.0), 4)}
        for place in order
    ]


def tag_name(display_name: str) -> str:
    """`Electronic music` to `electronic`: lower case, first of several names, without the word music at the end."""
    return display_name.lower().split(",")[0].removesuffix(" music")
