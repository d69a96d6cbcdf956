"""Topics: what is in the picture, with the author's words as supporting evidence.

Class probabilities are cooled by a fitted temperature, summed into topics, averaged over two seconds within a shot and
calibrated; each topic's ranges follow by hysteresis. A topic's hashtag or caption word joins by noisy-or. A child that
clears its threshold is said; where none does but their sum is sure, the parent is: "animals" is an honest answer where
dog and fox cannot be told apart. What clears nothing is unknown: an empty list.

Topics come in the order of the screen time that they are expected to have (score times share of the upload), so the
first is what the upload is about; topics that only words support come last, without ranges.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..protocol import Encoding, Evidence
from .calibration import Calibration, load_calibration
from .ranges import Span, frame_edges, hysteresis, shot_numbers, smooth
from .taxonomy import Taxonomy, load_taxonomy
from .words import HASHTAG_WEIGHT, Claim, claims

MAX_TOPICS = 5
HALF_WINDOW_S = 1.0
"""Frames this near, in the same shot, are averaged."""
KEEP = 0.7
"""A range goes on while the score is at least this share of the threshold that opened it."""
SEEN_AT_LEAST = 0.1
"""Below this score the picture is silent: words then do not lend it ranges."""
WORDS_ALONE_AT_LEAST = HASHTAG_WEIGHT / 2
"""Least weight at which words alone carry a topic: half of a single hashtag's, so not a caption's word, and not a wall
of hashtags."""


@dataclass(frozen=True)
class Seen:
    """What the picture says of each topic."""

    frames: npt.NDArray[np.float64]
    """[frames, topics] calibrated scores, smoothed."""
    whole: npt.NDArray[np.float64] | None = None
    """[topics] a trained head's score for the upload as a whole, which then decides; NaN: the frames decide."""


@dataclass(frozen=True)
class Finding:
    """One topic before selection. Spans count frames."""

    topic: str
    score: float
    share: float
    """Of the upload's duration that the ranges cover."""
    spans: tuple[Span, ...]
    sources: tuple[str, ...]


class TopicsTagger:
    """`models.protocol.Tagger` of the section `topics`."""

    name = "topics"
    section = "topics"
    encoders: tuple[str, ...] = ("picture",)
    version = "efficientnet-lite2-taxonomy@1"

    def __init__(self, taxonomy: Taxonomy | None = None, calibration: Calibration | None = None) -> None:
        self.taxonomy = taxonomy or load_taxonomy()
        self.calibration = calibration or load_calibration()
        if self.calibration.taxonomy != self.taxonomy.version:
            raise ValueError(f"calibrated for {self.calibration.taxonomy}, not for {self.taxonomy.version}")
        self._second = self.taxonomy.parents >= 0
        self.thresholds = np.asarray(self.calibration.threshold)[self._second.astype(np.intp)]
        """[topics] least score at which each is said."""

    def tag(self, evidence: Evidence) -> list[dict[str, Any]]:
        """The topics, at most `MAX_TOPICS`, first the one with the most expected screen time.

        Raises:
            ValueError: the picture's encoding is of another encoder or version than the calibration's.
        """
        claimed = claims(self.taxonomy, evidence.caption, evidence.hashtags)
        encoding = evidence.encodings.get("picture")
        if encoding is not None and len(encoding.times_s):
            edges = frame_edges(encoding.times_s, evidence.shots, evidence.duration_s)
            found = self.found(self.seen(encoding, evidence), edges, claimed)
        else:
            edges, found = np.zeros(1), self.findings(np.zeros((0, len(self.taxonomy.topics))), np.zeros(1), claimed)
        return [self._document(finding, edges) for finding in self.select(found)]

    def pooled(self, encoding: Encoding, evidence: Evidence) -> npt.NDArray[np.float64]:
        """[frames, topics]: class probabilities cooled, summed into topics and smoothed over time."""
        if encoding.encoder != self.calibration.encoder:
            raise ValueError(f"calibrated for {self.calibration.encoder}, not for {encoding.encoder}")
        topics = self.calibration.cool(encoding.scores) @ self.taxonomy.wide_matrix
        return smooth(topics, encoding.times_s, shot_numbers(encoding.times_s, evidence.shots), HALF_WINDOW_S)

    def seen(self, encoding: Encoding, evidence: Evidence) -> Seen:
        """What the picture says of each topic. A trained head gives its own labels' scores here."""
        return Seen(self.calibration.scores(self.pooled(encoding, evidence), self._second))

    def findings(
        self, pooled: npt.NDArray[np.float64], edges: npt.NDArray[np.float64], claimed: Mapping[str, Claim]
    ) -> list[Finding]:
        """Every topic that clears its threshold, in the taxonomy's order."""
        return self.found(Seen(self.calibration.scores(pooled, self._second)), edges, claimed)

    def found(self, seen: Seen, edges: npt.NDArray[np.float64], claimed: Mapping[str, Claim]) -> list[Finding]:
        """Every topic that clears its threshold, in the taxonomy's order."""
        lengths = np.diff(edges) + 1e-9  # a still picture lasts no time, and is still all of the upload
        total = float(lengths.sum())
        found = []
        for position in self._candidates(seen, claimed):
            topic = self.taxonomy.topics[position]
            claim, column = claimed.get(topic.id), seen.frames[:, position]
            whole = None if seen.whole is None or np.isnan(seen.whole[position]) else float(seen.whole[position])
            if claim is not None:
                column = _joined(column, claim)
                whole = None if whole is None else float(_joined(np.array([whole]), claim)[0])
            begin = float(self.thresholds[position])
            if whole is not None and len(column):
                # The upload as a whole has decided; the frames say where.
                begin = min(begin, float(column.max())) if whole >= begin else np.inf
            spans = tuple(hysteresis(column, begin, begin * KEEP))
            if spans:
                frames = np.concatenate([np.arange(first, last) for first, last in spans])
                weights = lengths[frames]
                score = float(np.average(column[frames], weights=weights)) if whole is None else whole
                sources = ("picture", *(claim.sources if claim else ()))
                found.append(Finding(topic.id, score, float(weights.sum()) / total, spans, sources))
            elif claim is not None and "hashtag" in claim.sources and claim.weight >= WORDS_ALONE_AT_LEAST:
                found.append(Finding(topic.id, claim.weight, 0.0, (), claim.sources))
        return found

    def _candidates(self, seen: Seen, claimed: Mapping[str, Claim]) -> list[int]:
        """Topics that the picture or the author says, in the taxonomy's order. Most are said by neither."""
        by_words = {self.taxonomy.index[topic] for topic in claimed}
        if not len(seen.frames):
            return sorted(by_words)
        decisive = seen.frames.max(axis=0)
        if seen.whole is not None:
            decisive = np.where(np.isnan(seen.whole), decisive, seen.whole)
        return sorted(by_words | set(np.flatnonzero(decisive >= self.thresholds).tolist()))

    def select(self, found: list[Finding]) -> list[Finding]:
        """The topics that are said: children for their parents, ordered, at most `MAX_TOPICS`."""
        seen = {finding.topic for finding in found if finding.spans}
        # A child implies its parent, but words alone do not stand for what the picture shows.
        implied = {f.topic.rpartition("/")[0] for f in found if f.spans or f.topic.rpartition("/")[0] not in seen}
        said = [finding for finding in found if finding.topic not in implied]
        said.sort(
            key=lambda finding: (not finding.spans, -finding.score * finding.share, -finding.score, finding.topic)
        )
        return said[:MAX_TOPICS]

    @staticmethod
    def _document(finding: Finding, edges: npt.NDArray[np.float64]) -> dict[str, Any]:
        return {
            "topic": finding.topic,
            "score": round(min(max(finding.score, 0.0), 1.0), 4),
            "ranges": [[round(float(edges[first]), 3), round(float(edges[last]), 3)] for first, last in finding.spans],
            "from": list(finding.sources),
        }


def _joined(scores: npt.NDArray[np.float64], claim: Claim) -> npt.NDArray[np.float64]:
    """Scores with the author's words, by noisy-or, where the picture is not silent."""
    return np.where(scores >= SEEN_AT_LEAST, 1.0 - (1.0 - scores) * (1.0 - claim.weight), scores)
