"""Topics: what is in the picture, with all other evidence joined to it.

The picture's topic probabilities (`head`) are averaged over two seconds within a shot and calibrated; objects, faces,
sounds, text and the author's words join by noisy-or (`support`, `words`); each topic's ranges follow by hysteresis. A
child that clears its threshold is said; where none does but their sum is sure, the parent is, with the child that comes
nearest beside it: "animals, perhaps a fox" is an honest answer. Where nothing clears its threshold it is unknown: an
empty list.

Topics come in the order of the screen time that they are expected to have (score times share of the upload), so the
first is what the upload is about; children that are not sure come behind, and topics that only words support last,
without ranges.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..protocol import Encoding, Evidence
from .calibration import Calibration, load_calibration
from .head import PictureHead, load_head
from .ranges import Span, frame_edges, hysteresis, shot_numbers, smooth
from .support import load_map, moments, supports
from .taxonomy import Taxonomy, load_taxonomy
from .words import HASHTAG_WEIGHT, Claim, claims
from .zeroshot_labels import Labels

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
    sure: bool = True
    """It clears its threshold; else it may only stand beside its parent."""


@dataclass(frozen=True)
class Judged:
    """All that decides on one upload's topics."""

    seen: Seen
    edges: npt.NDArray[np.float64]
    """[moments + 1], s."""
    claimed: Mapping[str, Claim]
    beside: Mapping[str, npt.NDArray[np.float64]]
    """[moments, topics] chances by evidence, smoothed."""
    found: list[Finding]


class TopicsTagger:
    """`models.protocol.Tagger` of the section `topics`."""

    name = "topics"
    section = "topics"
    encoders: tuple[str, ...] = ("picture",)
    optional_encoders: tuple[str, ...] = ("objects", "faces", "text", "yamnet", "zeroshot")
    version = "efficientnet-lite2-taxonomy@3"
    """3: objects weigh what photos say, and thresholds know of them."""

    def __init__(
        self,
        taxonomy: Taxonomy | None = None,
        calibration: Calibration | None = None,
        head: PictureHead | None = None,
        labels: Labels | None = None,
    ) -> None:
        """Without a calibration: the packaged one with its head. With one: this head, or the classes alone.

        Raises:
            LabelsError: the topics of zero-shot labels contradict the taxonomy.
        """
        self.taxonomy = taxonomy or load_taxonomy()
        self.labels = labels
        if labels is not None:
            self.taxonomy = labels.extended(self.taxonomy)
            self.version = f"{self.version}+zeroshot-{labels.digest}"
        self.picture_head = load_head() if calibration is None else head
        self.calibration = calibration or load_calibration()
        if self.calibration.taxonomy != self.taxonomy.version:
            raise ValueError(f"calibrated for {self.calibration.taxonomy}, not for {self.taxonomy.version}")
        self.mapping = load_map(load_taxonomy()).within(self.taxonomy)
        self._second = self.taxonomy.parents >= 0
        self.thresholds = np.asarray(self.calibration.threshold)[self._second.astype(np.intp)]
        """[topics] least score at which each is said."""

    def tag(self, evidence: Evidence) -> list[dict[str, Any]]:
        """The topics, at most `MAX_TOPICS`, first the one with the most expected screen time.

        Raises:
            ValueError: the picture's encoding is of another encoder or version than the calibration's.
        """
        judged = self.judge(evidence)
        return [self._document(finding, judged.edges) for finding in self.select(judged.found)]

    def judge(self, evidence: Evidence) -> Judged:
        """Everything that decides, for one upload."""
        claimed = claims(self.taxonomy, evidence.caption, evidence.hashtags)
        encoding, times = evidence.encodings.get("picture"), moments(evidence)
        edges = frame_edges(times, evidence.shots, evidence.duration_s) if len(times) else np.zeros(1)
        if encoding is not None and len(encoding.times_s):
            seen = self.seen(encoding, evidence)
        else:
            seen = Seen(np.zeros((len(times), len(self.taxonomy.topics))))
        beside = self.beside(evidence)
        return Judged(seen, edges, claimed, beside, self.found(seen, edges, claimed, beside))

    def beside(self, evidence: Evidence) -> dict[str, npt.NDArray[np.float64]]:
        """[moments, topics] chances by all other evidence, smoothed as the picture's are."""
        times = moments(evidence)
        shots = shot_numbers(times, evidence.shots)
        tables = supports(evidence, self.taxonomy, self.mapping, self.labels)
        return {name: smooth(table, times, shots, HALF_WINDOW_S) for name, table in tables.items()}

    def pooled(self, encoding: Encoding, evidence: Evidence) -> npt.NDArray[np.float64]:
        """[frames, topics]: class probabilities cooled, summed into topics and smoothed over time."""
        if encoding.encoder != self.calibration.encoder:
            raise ValueError(f"calibrated for {self.calibration.encoder}, not for {encoding.encoder}")
        if self.picture_head is not None:
            topics = self.picture_head.probabilities(encoding.scores, encoding.embeddings, self.taxonomy)
        else:
            topics = self.calibration.cool(encoding.scores) @ self.taxonomy.wide_matrix
        return smooth(topics, encoding.times_s, shot_numbers(encoding.times_s, evidence.shots), HALF_WINDOW_S)

    def seen(self, encoding: Encoding, evidence: Evidence) -> Seen:
        """What the picture says of each topic. A trained head gives its own labels' scores here."""
        return Seen(self.calibration.scores(self.pooled(encoding, evidence), self._second))

    def found(
        self,
        seen: Seen,
        edges: npt.NDArray[np.float64],
        claimed: Mapping[str, Claim],
        beside: Mapping[str, npt.NDArray[np.float64]] | None = None,
    ) -> list[Finding]:
        """Every topic that clears its threshold, or may be said beside its parent, in the taxonomy's order."""
        lengths = np.diff(edges) + 1e-9  # a still picture lasts no time, and is still all of the upload
        total = float(lengths.sum())
        joined = join(seen.frames, beside or {})
        found = []
        for position in self._candidates(joined, seen, claimed):
            topic = self.taxonomy.topics[position]
            claim, column = claimed.get(topic.id), joined[:, position]
            whole = None if seen.whole is None or np.isnan(seen.whole[position]) else float(seen.whole[position])
            if whole is not None:  # what the evaluation of a trained head has measured
                column = seen.frames[:, position]
            if claim is not None:
                column = _joined(column, claim)
                whole = None if whole is None else float(_joined(np.array([whole]), claim)[0])
            sure = float(self.thresholds[position])
            decisive = float(column.max(initial=0.0)) if whole is None else whole
            begin = sure if whole is not None else float(self._least[position])
            if whole is not None and len(column):
                # The upload as a whole has decided; the frames say where.
                begin = min(begin, float(column.max())) if whole >= begin else np.inf
            elif decisive >= sure:
                begin = sure
            spans = tuple(hysteresis(column, begin, begin * KEEP))
            if spans:
                frames = np.concatenate([np.arange(first, last) for first, last in spans])
                weights = lengths[frames]
                score = float(np.average(column[frames], weights=weights)) if whole is None else whole
                sources = (*self._sources(position, frames, seen, beside or {}), *(claim.sources if claim else ()))
                share = float(weights.sum()) / total
                found.append(Finding(topic.id, score, share, spans, sources, decisive >= sure))
            elif claim is not None and "hashtag" in claim.sources and claim.weight >= WORDS_ALONE_AT_LEAST:
                found.append(Finding(topic.id, claim.weight, 0.0, (), claim.sources))
        return found

    @property
    def _least(self) -> npt.NDArray[np.float64]:
        """[topics] beside its parent a child is said sooner; `select` looks whether the parent is."""
        return np.where(self._second, np.minimum(self.thresholds, self.calibration.beside), self.thresholds)

    def _candidates(self, joined: npt.NDArray[np.float64], seen: Seen, claimed: Mapping[str, Claim]) -> list[int]:
        """Topics that the evidence or the author may say, in the taxonomy's order. Most are said by neither."""
        by_words = {self.taxonomy.index[topic] for topic in claimed}
        if not len(joined):
            return sorted(by_words)
        decisive, least = joined.max(axis=0), self._least
        if seen.whole is not None:
            whole = ~np.isnan(seen.whole)
            decisive, least = np.where(whole, seen.whole, decisive), np.where(whole, self.thresholds, least)
        return sorted(by_words | set(np.flatnonzero(decisive >= least).tolist()))

    @staticmethod
    def _sources(
        position: int,
        frames: npt.NDArray[np.intp],
        seen: Seen,
        beside: Mapping[str, npt.NDArray[np.float64]],
    ) -> tuple[str, ...]:
        """Which evidence spoke in these frames; where all of it is faint, the strongest."""
        tables = {"picture": seen.frames, **beside}
        peaks = {name: float(table[frames, position].max(initial=0.0)) for name, table in tables.items()}
        loud = tuple(name for name, peak in peaks.items() if peak >= SEEN_AT_LEAST)
        return loud or (max(peaks, key=lambda name: peaks[name]),)

    def select(self, found: list[Finding]) -> list[Finding]:
        """The topics that are said: children for their parents, ordered, at most `MAX_TOPICS`."""
        sure = {finding.topic for finding in found if finding.spans and finding.sure}
        parents = {topic.rpartition("/")[0] for topic in sure}
        # A child that is not sure stands only beside a sure parent that no sure child speaks for.
        kept = [f for f in found if f.sure or (f.topic.rpartition("/")[0] in sure - parents)]
        # A sure child implies its parent, but words alone do not stand for what the picture shows.
        implied = parents | {p for f in kept if not f.spans and (p := f.topic.rpartition("/")[0]) not in sure}
        said = [finding for finding in kept if finding.topic not in implied]
        # What is not sure is never what the upload is about: its long ranges have a low threshold to thank.
        said.sort(key=lambda f: (not f.spans, not f.sure, -f.score * f.share, -f.score, f.topic))
        return said[:MAX_TOPICS]

    @staticmethod
    def _document(finding: Finding, edges: npt.NDArray[np.float64]) -> dict[str, Any]:
        return {
            "topic": finding.topic,
            "score": round(min(max(finding.score, 0.0), 1.0), 4),
            "ranges": [[round(float(edges[first]), 3), round(float(edges[last]), 3)] for first, last in finding.spans],
            "from": list(finding.sources),
        }


def join(frames: npt.NDArray[np.float64], beside: Mapping[str, npt.NDArray[np.float64]]) -> npt.NDArray[np.float64]:
    """Scores of the picture with the chances of all other evidence, by noisy-or."""
    if not beside:
        return frames
    failing = 1.0 - frames
    for table in beside.values():
        failing = failing * (1.0 - table)
    return 1.0 - failing


def _joined(scores: npt.NDArray[np.float64], claim: Claim) -> npt.NDArray[np.float64]:
    """Scores with the author's words, by noisy-or, where the picture is not silent."""
    return np.where(scores >= SEEN_AT_LEAST, 1.0 - (1.0 - scores) * (1.0 - claim.weight), scores)
