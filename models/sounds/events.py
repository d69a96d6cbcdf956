"""Sound events: which AudioSet classes are heard, and when."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..protocol import Encoding, Evidence
from .audioset import SILENCE, class_names
from .ranges import join, patch_range, rounded, spans
from .yamnet_geometry import HOP_S, PATCH_S

BEGIN = 0.25
"""Score that an event has to reach. Scores are the network's own: comparable within a class more than across."""
KEEP = 0.12
"""Score at which it goes on."""
MAX_EVENTS = 20
MAX_RANGES = 50
"""Of one event: the longest are kept."""


class EventsTagger:
    """`models.protocol.Tagger`: the document's `events`, strongest first."""

    name = "events"
    version = "yamnet@1"
    section = "events"
    encoders = ("yamnet",)

    def tag(self, evidence: Evidence) -> list[dict[str, Any]]:
        """Events with their peak score and their ranges. Silence, and no sound, give none."""
        encoding: Encoding = evidence.encodings["yamnet"]
        scores = encoding.scores
        rows = len(scores)
        if rows == 0:
            return []
        duration_s = sound_end(evidence, encoding)
        peaks = scores.max(axis=0)
        names = class_names()
        found: list[dict[str, Any]] = []
        for column in np.argsort(-peaks, kind="stable"):
            if peaks[column] < BEGIN or len(found) == MAX_EVENTS:
                break
            if names[column] == SILENCE:
                continue
            runs = spans(scores[:, column], BEGIN, KEEP)
            ranges = join([patch_range(run, rows, encoding.times_s, PATCH_S, duration_s) for run in runs], HOP_S / 2)
            longest = sorted(sorted(ranges, key=lambda span: span[0] - span[1])[:MAX_RANGES])
            score = round(float(min(peaks[column], 1.0)), 4)
            found.append({"event": names[column], "score": score, "ranges": rounded(longest)})
        return found


def sound_end(evidence: Evidence, encoding: Encoding) -> float:
    """Where the sound ends, s: the last patch may reach beyond it. Without a duration, where the last patch ends."""
    last_s = float(encoding.times_s[-1]) + PATCH_S
    return min(last_s, evidence.duration_s) if evidence.duration_s > 0 else last_s
