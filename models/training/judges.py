"""What a version, or what tagfarm ships, says of a data set's uploads: scores of every label, from kept embeddings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np
import numpy.typing as npt

from ..protocol import Encoding, Evidence
from ..quality.features import packaged_scores
from ..quality.tagger import QualityTagger
from ..registry.taggers import PICTURE, build_tagger, own_encoders
from ..registry.versions import Version, VersionIncompatible
from ..registry.weights import load
from ..serving.head import Head
from ..serving.scores import LinearScores, sigmoid, softmax
from ..sounds.audioset import class_names
from ..sounds.event_calibration import load_event_calibration
from ..sounds.events import EventsTagger
from ..topics.efficientnet import PictureEncoder
from ..topics.tagger import TopicsTagger
from ..topics.trained import label_scores
from .dataset import DataSet, Item

CLASSIFIERS = {
    "topics": ("efficientnet-lite2", "_fc", softmax),
    "events": ("yamnet", "dense", sigmoid),
}
"""The weights, the name in them of the network's last layer, and its link."""
HOP_S = 0.5

Rows = Mapping[str, npt.NDArray[Any]]


class Judge(Protocol):
    """Scores uploads."""

    @property
    def name(self) -> str:
        """Whose word it is."""

    @property
    def thresholds(self) -> Mapping[str, float]:
        """By label: the least score at which it is said. A label that is not here cannot be said."""

    def scores(self, data: DataSet, item: Item) -> Mapping[str, float]:
        """One upload's scores by label; 0 for all where it has no embedding."""


@dataclass(frozen=True)
class HeadJudge:
    """A head alone, over what the packaged tagger says of other labels."""

    name: str
    head: Head
    packaged: Judge | None
    tuned: Rows | None = None
    """By upload, the rows that the head reads in place of the data set's: its own encoder's."""

    @property
    def thresholds(self) -> Mapping[str, float]:
        """The packaged tagger's, and the head's in place of them."""
        mine = dict(zip(self.head.labels, self.head.thresholds.tolist(), strict=True))
        return {**(self.packaged.thresholds if self.packaged is not None else {}), **mine}

    def scores(self, data: DataSet, item: Item) -> Mapping[str, float]:
        """As `Judge` has it."""
        others = self.packaged.scores(data, item) if self.packaged is not None else {}
        mine = self.head.scores(data.rows(item) if self.tuned is None else self.tuned[item.upload_id]).tolist()
        return {**others, **dict(zip(self.head.labels, mine, strict=True))}


@dataclass(frozen=True)
class TopicsJudge:
    """A topics tagger, packaged or trained."""

    name: str
    tagger: TopicsTagger
    classes: LinearScores
    tuned: Rows | None = None
    """By upload, the embeddings of the tagger's own encoder, where it has one."""

    @property
    def thresholds(self) -> Mapping[str, float]:
        """Every topic's."""
        return dict(zip(self.tagger.taxonomy.index, self.tagger.thresholds.tolist(), strict=True))

    def scores(self, data: DataSet, item: Item) -> Mapping[str, float]:
        """As `Judge` has it. Cuts are not in a data set: the upload counts as one shot."""
        rows = data.rows(item)
        times = data.times_s[item.rows[0] : item.rows[1]].astype(np.float64)
        duration_s = float(item.slices.get("duration_s") or (times[-1] + HOP_S if len(times) else 0.0))
        evidence = Evidence(
            duration_s=duration_s,
            frames=np.zeros((0, 0, 0, 3), np.uint8),
            frame_times_s=times,
            shots=[],
            waveform=np.zeros(0, np.float32),
            encodings={
                "picture": Encoding(data.encoder, times, HOP_S, rows, self.classes(rows)),
                **self._own(item, times),
            },
        )
        return label_scores(self.tagger, evidence)

    def _own(self, item: Item, times: npt.NDArray[np.float64]) -> dict[str, Encoding]:
        found = {}
        for name, encoder in own_encoders(self.tagger).items():
            rows = (self.tuned or {})[item.upload_id].astype(np.float32)
            found[name] = Encoding(encoder.version, times, HOP_S, rows, encoder.scores_of(rows))
        return found


@dataclass(frozen=True)
class EventsJudge:
    """The packaged events."""

    classes: LinearScores
    name: str = EventsTagger.version

    @property
    def thresholds(self) -> Mapping[str, float]:
        """One for all."""
        return dict.fromkeys(class_names(), load_event_calibration().further)

    def scores(self, data: DataSet, item: Item) -> Mapping[str, float]:
        """As `Judge` has it: each class's chance."""
        rows = data.rows(item)
        if not len(rows):
            return dict.fromkeys(class_names(), 0.0)
        chances = load_event_calibration()(self.classes(rows))
        return dict(zip(class_names(), chances.tolist(), strict=True))


@dataclass(frozen=True)
class QualityJudge:
    """The packaged quality, from the measures that a data set of quality has in its rows."""

    name: str = QualityTagger.version

    @property
    def thresholds(self) -> Mapping[str, float]:
        """Both amounts; there is nothing to reach."""
        return {"picture": 0.0, "score": 0.0}

    def scores(self, data: DataSet, item: Item) -> Mapping[str, float]:
        """As `Judge` has it."""
        rows = data.rows(item)
        return packaged_scores(rows[0, -data.measures :]) if len(rows) else dict.fromkeys(self.thresholds, 0.0)


def judge_of(
    tagger: str,
    version: Version | None,
    weights: Path,
    base: PictureEncoder | None = None,
    tuned: Rows | None = None,
) -> Judge:
    """The judge of a version; with None, of what tagfarm ships.

    Args:
        tagger: whose.
        version: which.
        weights: the cache of weights.
        base, tuned: for a version with an encoder of its own: the packaged encoder, and by upload the rows that its own
            gives (`models.training.features`).

    Raises:
        WeightsMissing: the network's last layer is not installed.
        VersionError: the version cannot be used.
    """
    if tagger == "topics":
        told = cast(TopicsTagger, build_tagger(version, {PICTURE: base} if base else {})) if version else TopicsTagger()
        name = told.version if version is None else version.name
        return TopicsJudge(name, told, classifier("topics", weights), tuned)
    packaged: Judge = QualityJudge()
    if tagger == "events":
        packaged = EventsJudge(classifier("events", weights))
    if version is None:
        return packaged
    try:
        return HeadJudge(version.name, Head.of(version.manifest, version.tensors()), packaged, tuned)
    except (ValueError, KeyError) as error:
        raise VersionIncompatible(f"{version.name} does not fit: {error}") from error


def classifier(tagger: str, weights: Path) -> LinearScores:
    """The last layer of the tagger's network."""
    name, layer, link = CLASSIFIERS[tagger]
    tensors = load(name, weights).tensors
    weight, bias = (tensors[f"{layer}.{part}"].float().numpy() for part in ("weight", "bias"))
    return LinearScores(np.ascontiguousarray(weight.T), bias.copy(), link)
