"""Topics with a trained head: its labels are scored by the head, every other topic as the packaged tagger does.

A head's label is said where its score for the whole upload reaches the label's threshold: that is what the evaluation
measured. Its ranges follow from the frames' scores, smoothed as all topics' are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from ..protocol import Encoder, Encoding, Evidence
from ..registry.versions import Version, VersionIncompatible
from ..serving.head import Head
from .extension import extend
from .ranges import shot_numbers, smooth
from .tagger import HALF_WINDOW_S, Seen, TopicsTagger
from .taxonomy import Taxonomy, TaxonomyError, load_taxonomy


class TrainedTopicsTagger(TopicsTagger):
    """`models.protocol.Tagger` of the section `topics`, from a version of the registry."""

    def __init__(self, head: Head, encoder: str, version: str, taxonomy: Taxonomy, own: Encoder | None = None) -> None:
        """`own`: the encoder that was fine-tuned for the head, which then reads its embeddings."""
        super().__init__(taxonomy)
        self.own_encoders = {own.name: own} if own is not None else {}
        self.encoders = (*TopicsTagger.encoders, *self.own_encoders)
        self.head = head
        self.version = version
        self._encoder = encoder
        self._columns = np.array([taxonomy.index[label] for label in head.labels], np.intp)
        self.thresholds[self._columns] = head.thresholds
        self.thresholds.flags.writeable = False

    def seen(self, encoding: Encoding, evidence: Evidence) -> Seen:
        """As the packaged tagger's, the head's labels in place of what the classes say of them."""
        if encoding.encoder != self._encoder:
            raise ValueError(f"{self.version} is for {self._encoder}, not for {encoding.encoder}")
        packaged = super().seen(encoding, evidence)
        rows = self._rows(encoding, evidence)
        shots = shot_numbers(encoding.times_s, evidence.shots)
        frames = packaged.frames.copy()
        frames[:, self._columns] = smooth(self.head.frame_scores(rows), encoding.times_s, shots, HALF_WINDOW_S)
        whole: npt.NDArray[np.float64] = np.full(len(self.taxonomy.topics), np.nan)
        whole[self._columns] = self.head.scores(rows)
        return replace(packaged, frames=frames, whole=whole)

    def _rows(self, encoding: Encoding, evidence: Evidence) -> npt.NDArray[np.float32]:
        for name, own in self.own_encoders.items():
            encoding = evidence.encodings[name]
            if encoding.encoder != own.version:
                raise ValueError(f"{self.version} is for {own.version}, not for {encoding.encoder}")
        return encoding.embeddings


def trained_topics(version: Version, own: Encoder | None = None, base: Taxonomy | None = None) -> TrainedTopicsTagger:
    """The tagger of a verified version. `own`: its own encoder, if it has one. `base`: in the packaged taxonomy's
    place.

    Raises:
        VersionIncompatible: it is for another encoder or taxonomy, or its tensors do not fit its labels.
        VersionCorrupt: as `Version.tensors`.
    """
    taxonomy, manifest = base or load_taxonomy(), version.manifest
    if manifest["taxonomy"] != taxonomy.version:
        raise VersionIncompatible(f"{version.name} is for {manifest['taxonomy']}, this program has {taxonomy.version}")
    packaged = TopicsTagger(taxonomy)
    if manifest["encoder"] != packaged.calibration.encoder:
        raise VersionIncompatible(
            f"{version.name} is for encoder {manifest['encoder']}, this program has {packaged.calibration.encoder}"
        )
    tensors = version.tensors()
    try:
        if (extra := version.extra_topics()) is not None:
            taxonomy = extend(taxonomy, extra)
        head = Head.of(manifest, tensors)
        unknown = sorted(set(head.labels) - set(taxonomy.index))
        if unknown:
            raise VersionIncompatible(f"{version.name} knows {unknown[0]!r}, which is no topic of {taxonomy.version}")
    except (TaxonomyError, ValueError, KeyError) as error:
        raise VersionIncompatible(f"{version.name} does not fit: {error}") from error
    said = f"{packaged.version}+topics-head@{version.number}"
    return TrainedTopicsTagger(head, str(manifest["encoder"]), said, taxonomy, own)


def label_scores(tagger: TopicsTagger, evidence: Evidence) -> Mapping[str, float]:
    """Each topic's score for the whole upload, said or not: what an evaluation ranks by."""
    encoding = evidence.encodings["picture"]
    if not len(encoding.times_s):
        return dict.fromkeys(tagger.taxonomy.index, 0.0)
    seen = tagger.seen(encoding, evidence)
    peak = seen.frames.max(axis=0)
    scores = peak if seen.whole is None else np.where(np.isnan(seen.whole), peak, seen.whole)
    return {topic.id: float(score) for topic, score in zip(tagger.taxonomy.topics, scores, strict=True)}


def said_topics(tagger: TopicsTagger, evidence: Evidence) -> list[dict[str, Any]]:
    """What would be published of the picture alone."""
    return tagger.tag(replace(evidence, caption="", hashtags=()))
