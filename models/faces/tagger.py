"""The document's `people`: how many faces and persons are in the picture at most. Nobody is identified."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..objects import coco
from ..protocol import Evidence

STEADY = 2
"""Moments that must agree on a count where there are as many: one frame's phantom is nobody."""


class PeopleTagger:
    """Counts the persons that the object detector and the faces that the face detector found."""

    name = "people"
    section = "people"
    version = "people-counts@1"
    encoders: tuple[str, ...] = ("objects", "faces")

    def tag(self, evidence: Evidence) -> dict[str, int] | None:
        """The section; None without a picture."""
        objects, faces = evidence.encodings["objects"], evidence.encodings["faces"]
        if not len(objects.times_s):
            return None
        return {
            "faces_max": most(faces.embeddings[:, 1]),
            "persons_max": most(coco.counts(objects)[:, coco.PERSON]),
        }


def most(counts: np.ndarray[Any, Any]) -> int:
    """The highest count [n] that stands in at least `STEADY` moments, if there are three or more."""
    if not len(counts):
        return 0
    ordered = np.sort(counts)[::-1]
    return int(ordered[STEADY - 1] if len(ordered) > STEADY else ordered[0])
