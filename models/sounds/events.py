"""Sound events: which AudioSet classes are heard, and when."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from ..protocol import Encoding, Evidence
from .audioset import SILENCE, class_names
from .edges import Outline
from .event_calibration import load_event_calibration
from .ontology import above
from .ranges import Range, Span, join, patch_range, rounded, spans
from .yamnet_geometry import HOP_S, PATCH_S

BEGIN = 0.25
"""Score of the network that opens a range, or the event's own peak where that is less."""
KEEP = 0.12
"""Score at which it goes on,"""
KEEP_SHARE = 0.3
"""or this share of the peak, where that is less."""
FIRST = 5
"""So many events are told from a lower chance on: where little is heard, a guess with its chance says more than
nothing."""
MAX_EVENTS = 20
"""Beside those that they imply."""
MAX_RANGES = 50
"""Of one event: the longest are kept."""

HUB = "sound-hub"

Event = dict[str, Any]


class EventsTagger:
    """`models.protocol.Tagger`: the document's `events`.

    First what was heard itself, the surest first; then the classes that it implies and that were not heard
    themselves. A class is at least as sure as what implies it, and lasts as long.

    Args:
        hub: whether a network of a hub says what is heard (`models.sounds.hub`), and YAMNet only when.
    """

    name = "events"
    version = "yamnet@4"
    """2: encoder 2; faint events. 3: calibrated scores, the hierarchy, edges from the outline. 4: chances know how
    well an event holds, and the first five are told from a lower chance on."""
    section = "events"
    encoders: tuple[str, ...] = ("yamnet", "outline")

    def __init__(self, *, hub: bool = False) -> None:
        if hub:
            self.encoders = (*type(self).encoders, HUB)
            self.version = f"{type(self).version}+{HUB}@1"

    def tag(self, evidence: Evidence) -> list[Event]:
        """Events with their chance, their ranges and what they imply. Silence, and no sound, give none."""
        encoding = evidence.encodings["yamnet"]
        if len(encoding.scores) == 0:
            return []
        peaks = encoding.scores.max(axis=0)
        better = evidence.encodings[HUB].scores if HUB in self.encoders else encoding.scores[:0]
        # What the better network hears counts as heard; YAMNet's track then says when. One window of it is longer
        # than all the patches that a class has to hold over.
        chances = load_event_calibration()(better.max(axis=0, keepdims=True) if len(better) else encoding.scores)
        names = class_names()
        found: dict[str, Event] = {}
        heard: dict[str, list[Range]] = {}
        for column in self._told(encoding, chances, bool(len(better))):
            track, peak = encoding.scores[:, column], float(peaks[column])
            runs = spans(track, min(BEGIN, peak), min(KEEP, peak * KEEP_SHARE))
            heard[names[column]] = timed(runs, evidence)
            found[names[column]] = {"event": names[column], "score": float(chances[column])}
        return finished(found, heard)

    @staticmethod
    def _told(encoding: Encoding, chances: npt.NDArray[np.float64], heard_better: bool) -> list[int]:
        """Columns of what is told, the surest first."""
        fitted = load_event_calibration()
        scores = encoding.scores
        silence = class_names().index(SILENCE)
        told: list[int] = []
        for column in np.argsort(-chances, kind="stable").tolist():
            if chances[column] < (fitted.first if len(told) < FIRST else fitted.further) or len(told) == MAX_EVENTS:
                break
            loudest = int(scores[:, column].argmax())
            faint = scores[loudest, column] < BEGIN
            if column == silence or (faint and not heard_better and scores[loudest, column] < scores[loudest, silence]):
                continue
            told.append(column)
        return told


def timed(runs: Iterable[Span], evidence: Evidence) -> list[Range]:
    """Ranges of runs of YAMNet's patches, s; their edges from the outline, where there is one."""
    encoding, outline = evidence.encodings["yamnet"], Outline.of(evidence.encodings.get("outline"))
    end_s = sound_end(evidence, encoding)
    ranges: list[Range] = []
    for run in runs:
        told = patch_range(run, len(encoding.scores), encoding.times_s, PATCH_S, end_s)
        if outline is not None:
            told = outline.refined(run, encoding.times_s, told)
        ranges.append((min(told[0], end_s), min(told[1], end_s)))
    return join(sorted(ranges), HOP_S / 2)


def finished(found: dict[str, Event], heard: dict[str, list[Range]]) -> list[Event]:
    """Events as the document has them: with what they imply, in order.

    Args:
        found: by name, `event` and `score`.
        heard: by name, ranges.
    """
    whole = {name: {**event, "implied": False} for name, event in found.items()}
    ranges = {name: list(spans_) for name, spans_ in heard.items()}
    for name, event in found.items():
        for one in above(name):
            kept = whole.setdefault(one, {"event": one, "score": 0.0, "implied": True})
            kept["score"] = max(kept["score"], event["score"])
            ranges[one] = ranges.get(one, []) + heard[name]
    # Of two as sure the narrower says more.
    order = sorted(whole.values(), key=lambda one: (one["implied"], -one["score"], -len(above(one["event"]))))
    return [
        {
            "event": one["event"],
            "score": round(min(one["score"], 1.0), 4),
            "ranges": rounded(_longest(join(sorted(ranges[one["event"]]), HOP_S / 2))),
            "above": list(above(one["event"])),
            "implied": one["implied"],
        }
        for one in order
    ]


def _longest(ranges: list[Range]) -> list[Range]:
    return sorted(sorted(ranges, key=lambda span: span[0] - span[1])[:MAX_RANGES])


def sound_end(evidence: Evidence, encoding: Encoding) -> float:
    """Where the sound ends, s: the last patch may reach beyond it. Without a duration, where the last patch ends."""
    last_s = float(encoding.times_s[-1]) + PATCH_S
    return min(last_s, evidence.duration_s) if evidence.duration_s > 0 else last_s
