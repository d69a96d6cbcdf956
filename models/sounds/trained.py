"""Sound events with a trained head: it scores its labels, and every other event is said as the packaged tagger does."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..protocol import Evidence
from ..registry.versions import Version, VersionIncompatible
from ..serving.head import Head
from .events import MAX_EVENTS, EventsTagger, finished, timed
from .ranges import spans

ENCODER = "yamnet@2"
"""Its encoder's version; the tests hold it against the encoder's own."""
FLOAT32_SLACK = 1e-6
"""So that rounding to single precision does not lift a peak over itself."""
KEEP = 0.7
"""A range goes on while the score is at least this share of what opened it."""


class TrainedEventsTagger:
    """`models.protocol.Tagger` of the section `events`, from a version of the registry."""

    name = "events"
    section = "events"
    encoders = EventsTagger.encoders

    def __init__(self, head: Head, version: str, packaged: EventsTagger | None = None) -> None:
        self.head = head
        self.version = version
        self._packaged = packaged or EventsTagger()

    def tag(self, evidence: Evidence) -> list[dict[str, Any]]:
        """Events with their score and ranges, strongest first."""
        encoding = evidence.encodings["yamnet"]
        rows = len(encoding.times_s)
        if rows == 0:
            return []
        if encoding.encoder != ENCODER:
            raise ValueError(f"{self.version} is for {ENCODER}, not for {encoding.encoder}")
        others = [event for event in self._packaged.tag(evidence) if event["event"] not in self.head.labels]
        found = {event["event"]: event for event in others if not event["implied"]}
        heard = {name: [(start, end) for start, end in event["ranges"]] for name, event in found.items()}
        whole, frames = self.head.scores(encoding.embeddings), self.head.frame_scores(encoding.embeddings)
        for column, label in enumerate(self.head.labels):
            if whole[column] < self.head.thresholds[column]:
                continue
            begin = min(float(self.head.thresholds[column]), float(frames[:, column].max()))
            runs = spans(frames[:, column].astype(np.float32), begin - FLOAT32_SLACK, begin * KEEP)
            heard[label] = timed(runs, evidence)
            found[label] = {"event": label, "score": float(whole[column])}
        kept = sorted(found.values(), key=lambda event: (-event["score"], event["event"]))[:MAX_EVENTS]
        return finished({event["event"]: event for event in kept}, heard)


def trained_events(version: Version) -> TrainedEventsTagger:
    """The tagger of a verified version.

    Raises:
        VersionIncompatible: it is for another encoder, or its tensors do not fit its labels.
        VersionCorrupt: as `Version.tensors`.
    """
    if version.manifest["encoder"] != ENCODER:
        raise VersionIncompatible(
            f"{version.name} is for encoder {version.manifest['encoder']}, this program has {ENCODER}"
        )
    tensors = version.tensors()
    try:
        head = Head.of(version.manifest, tensors)
    except (ValueError, KeyError) as error:
        raise VersionIncompatible(f"{version.name} does not fit: {error}") from error
    return TrainedEventsTagger(head, f"{EventsTagger.version}+events-head@{version.number}")
