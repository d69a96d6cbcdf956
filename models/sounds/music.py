"""Whether there is music, and what it is like."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ..protocol import Encoding, Evidence
from .audioset import GENRES, INSTRUMENTS, MOODS, SINGING, class_names, indices
from .key import KeyObserver
from .musicnn_tags import COLUMNS, NO_VOCALS, TOLD, VOCALS
from .tempo import TempoObserver

__all__ = ["KeyObserver", "MusicTagger", "TempoObserver"]

POOL_SHARE = 0.25
"""Of the moments: the ones that sound most like music speak for the upload, so that music in a part of it counts."""
POOL_ROWS = 4
"""At least so many (2.4 s): what is missing counts as no music, since a honk of a horn is none."""
PRESENT = 0.5
"""From here on there is music whose attributes are worth telling."""
STEADY = 0.5
"""Confidence that a tempo has to have: below, it is unknown. On music, what has less is right in half of the cases;
noise has 0.06."""
KEY_CORRELATION = 0.7
"""Correlation that a key's profile has to have, and"""
KEY_MARGIN = 0.1
"""by how much it has to beat every other key's: below, the key is unknown. White noise has 0.35 and 0.07."""
TAG = 0.15
"""Mean score of YAMNet that a genre, mood or instrument has to have while there is music."""
LISTENERS_TAG = 0.2
"""Mean score of musicnn that its tag has to have."""
MAX_TAGS = 8
SILENT_VOICE = 0.05
"""So that two scores near nothing do not make a certain voice of it."""


class MusicTagger:
    """`models.protocol.Tagger`: the document's `music`. The tempo and the key come from observers."""

    name = "music"
    version = "yamnet-musicnn@1"
    section = "music"
    encoders = ("yamnet", "musicnn")

    def tag(self, evidence: Evidence) -> dict[str, Any]:
        """Presence (0 to 1) and, where music is present, tempo, key, vocals and tags; null what is not sure."""
        scores = evidence.encodings["yamnet"].scores
        nothing: dict[str, Any] = {"present": 0.0, "tempo_bpm": None, "key": None, "vocals": None, "tags": []}
        if len(scores) == 0:
            return nothing
        music = scores[:, indices(["Music"])[0]]
        present = round(_pooled(music), 4)
        if present < PRESENT:
            return nothing | {"present": present}
        while_music = scores[music >= PRESENT]
        listeners = _listeners(evidence.encodings.get("musicnn"))
        sung = _pooled(while_music[:, indices(SINGING)].max(axis=1))
        return {
            "present": present,
            "tempo_bpm": _tempo(evidence),
            "key": _key(evidence),
            "vocals": round(max(sung, _voiced(listeners)), 4),
            "tags": _tags(while_music, listeners),
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


def _key(evidence: Evidence) -> str | None:
    seen = evidence.observations.get("key", {})
    sure = seen.get("correlation", 0.0) >= KEY_CORRELATION and seen.get("margin", 0.0) >= KEY_MARGIN
    return seen.get("key") if sure else None


def _listeners(encoding: Encoding | None) -> dict[tuple[int, str], float]:
    """Mean score of each tag of musicnn, by network and listeners' word; empty: it heard nothing."""
    if encoding is None or len(encoding.scores) == 0:
        return {}
    means = encoding.scores.mean(axis=0).tolist()
    half = len(COLUMNS) // 2
    return {(place // half, word): means[place] for place, word in enumerate(COLUMNS)}


def _voiced(listeners: dict[tuple[int, str], float]) -> float:
    """How sure MagnaTagATune's listeners would be of a voice, against none."""
    voice = max((listeners.get((0, word), 0.0) for word in VOCALS), default=0.0)
    none = max((listeners.get((0, word), 0.0) for word in NO_VOCALS), default=0.0)
    return voice * voice / (voice + none + SILENT_VOICE)


def _tags(scores: npt.NDArray[np.float32], listeners: dict[tuple[int, str], float]) -> list[dict[str, Any]]:
    """Of both networks under one name each, the strongest first."""
    columns = indices((*GENRES, *MOODS, *INSTRUMENTS))
    means = scores[:, columns].mean(axis=0)
    found = {
        tag_name(class_names()[column]): float(mean) for column, mean in zip(columns, means, strict=True) if mean >= TAG
    }
    for name, words in TOLD.items():
        best = max(listeners.get((network, word), 0.0) for network in (0, 1) for word in words)
        if best >= LISTENERS_TAG:
            found[name] = max(found.get(name, 0.0), best)
    order = sorted(found.items(), key=lambda pair: (-pair[1], pair[0]))[:MAX_TAGS]
    return [{"tag": tag, "score": round(min(score, 1.0), 4)} for tag, score in order]


def tag_name(display_name: str) -> str:
    """`Electronic music` to `electronic`: lower case, first of several names, without the word music at the end."""
    return display_name.lower().split(",")[0].removesuffix(" music")
