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
FAINT = 0.1
"""Score from which an event is told nevertheless where little else is: the scores of rare classes and of short sounds
are low throughout. Fitted, as the next two, on the dev half of `benchmarks/truth/effects.toml`."""
FAINT_EVENTS = 5
"""It has to be among so many strongest,"""
FAINT_SHARE = 0.3
"""to reach this share of the strongest's score, and to beat silence where it peaks."""
FAINT_KEEP = 0.5
"""It goes on down to this share of its own peak."""
MAX_EVENTS = 20
MAX_RANGES = 50
"""Of one event: the longest are kept."""


class EventsTagger:
    """`models.protocol.Tagger`: the document's `events`, strongest first."""

    name = "events"
    version = "yamnet@2"
    """2: encoder 2; faint events."""
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
        silence = names.index(SILENCE)
        order = [int(column) for column in np.argsort(-peaks, kind="stable") if column != silence]
        faintest = max(FAINT, FAINT_SHARE * float(peaks[order[0]]))
        found: list[dict[str, Any]] = []
        for column in order:
            peak = float(peaks[column])
            if peak < (faintest if len(found) < FAINT_EVENTS else BEGIN) or len(found) == MAX_EVENTS:
                break
            if peak < BEGIN and peak < scores[scores[:, column].argmax(), silence]:
                continue
            runs = spans(scores[:, column], min(BEGIN, peak), min(KEEP, peak * FAINT_KEEP))
            ranges = join([patch_range(run, rows, encoding.times_s, PATCH_S, duration_s) for run in runs], HOP_S / 2)
            longest = sorted(sorted(ranges, key=lambda span: span[0] - span[1])[:MAX_RANGES])
            score = round(min(peak, 1.0), 4)
            found.append({"event": names[column], "score": score, "ranges": rounded(longest)})
        return found


def sound_end(evidence: Evidence, encoding: Encoding) -> float:
    """Where the sound ends, s: the last patch may reach beyond it. Without a duration, where the last patch ends."""
    last_s = float(encoding.times_s[-1]) + PATCH_S
    return min(last_s, evidence.duration_s) if evidence.duration_s > 0 else last_s
