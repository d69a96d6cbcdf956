"""What evidence beside the picture's classes says of the topics: objects, faces, sounds and text that is read.

Each evidence gives a chance for each topic at each moment: how sure it is, times its stated weight (`evidence.toml`).
The tagger joins chances by noisy-or: a topic fails only where every evidence fails to show it.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ..objects.coco import CLASSES, PERSON, areas, confidences
from ..protocol import Encoding, Evidence
from ..sounds.audioset import class_names
from .taxonomy import Taxonomy
from .words import phrases
from .zeroshot_labels import Labels

PUBLISHED = Path(__file__).with_name("evidence.toml")
OBJECT_AREA = 0.05
"""Share of the frame at which an object counts in full; a smaller one is rather the background."""
FACE_AREA = 0.08
"""Share of the frame at which a face makes a portrait: a head that fills a third of the height."""
PERSON_AREA = 0.25
"""Share of the frame at which a person is what the picture is about."""
TEXT_AREA = 0.15
"""Share of the frame at which text is what the picture is about."""
TEXT_WORDS = 8
"""Words at which text counts in full as such: fewer are a sign or a caption."""
PORTRAIT, PEOPLE, TEXT = "people/portrait", "people", "text"
WEIGHTS = {"objects", "persons", "faces", "sound", "sound_alone", "text", "text_alone"}
HOLDS_S = 0.5
"""How far from its moment a row still speaks, at least, s."""

Floats = npt.NDArray[np.float64]


class EvidenceMapError(ValueError):
    """The mapping names what does not exist. The message names every fault."""


@dataclass(frozen=True)
class EvidenceMap:
    """`evidence.toml`, checked."""

    version: str
    weight: Mapping[str, float]
    objects: Mapping[str, str]
    """Topic id by COCO class."""
    sounds: Mapping[str, str]
    """Topic id by AudioSet display name."""

    @cached_property
    def object_columns(self) -> list[tuple[int, str]]:
        """(class index, topic id)."""
        return [(CLASSES.index(name), topic) for name, topic in self.objects.items()]

    def within(self, taxonomy: Taxonomy) -> EvidenceMap:
        """What of it says topics that a taxonomy has: one may be narrower than the published one."""
        kept = ({name: t for name, t in part.items() if t in taxonomy.index} for part in (self.objects, self.sounds))
        return EvidenceMap(self.version, self.weight, *kept)

    @cached_property
    def sound_columns(self) -> list[tuple[int, str]]:
        """(class index, topic id)."""
        names = class_names()
        return [(names.index(name), topic) for name, topic in self.sounds.items()]

    def sources_of(self, topic: str) -> tuple[str, ...]:
        """Which evidence can say this topic or one of its children, beside picture and words."""
        holds = lambda other: other == topic or other.startswith(f"{topic}/")  # noqa: E731
        return tuple(
            name
            for name, topics in (
                ("objects", {*self.objects.values(), PEOPLE}),
                ("faces", {PORTRAIT}),
                ("sound", set(self.sounds.values())),
                ("text", {TEXT}),
            )
            if any(map(holds, topics))
        )


def load_map(taxonomy: Taxonomy, path: Path = PUBLISHED) -> EvidenceMap:
    """Read the mapping.

    Raises:
        EvidenceMapError: it is for another taxonomy, or names a class, a topic or a weight that does not exist.
    """
    with path.open("rb") as file:
        document = tomllib.load(file)
    faults = []
    if document["taxonomy"] != taxonomy.version:
        faults.append(f"it is for {document['taxonomy']}, not for {taxonomy.version}")
    for kind, known in (("objects", set(CLASSES)), ("sounds", set(class_names()))):
        faults += [f"{kind}: there is no class {name!r}" for name in document[kind] if name not in known]
        faults += [f"{kind}: there is no topic {t!r}" for t in document[kind].values() if t not in taxonomy.index]
    weight = {name: float(value) for name, value in document["weight"].items()}
    if set(weight) != WEIGHTS or not all(0 < value < 1 for value in weight.values()):
        faults.append(f"weights must be {', '.join(sorted(WEIGHTS))}, between 0 and 1")
    mapping = EvidenceMap(document["version"], weight, dict(document["objects"]), dict(document["sounds"]))
    for topic in taxonomy.topics:
        if set(mapping.sources_of(topic.id)) != set(topic.evidence) - {"picture", "hashtag"}:
            faults.append(f"topic {topic.id!r}: the taxonomy names {topic.evidence}, not what is mapped to it")
    if faults:
        raise EvidenceMapError(f"{path.name}: {'; '.join(faults)}")
    return mapping


def moments(evidence: Evidence) -> npt.NDArray[np.float64]:
    """[n] when topics are scored: at the picture's frames; without a picture, at the rows of the sound."""
    for name in ("picture", "yamnet"):
        encoding = evidence.encodings.get(name)
        if encoding is not None and len(encoding.times_s):
            return np.asarray(encoding.times_s, np.float64)
    return np.zeros(0)


def supports(
    evidence: Evidence, taxonomy: Taxonomy, mapping: EvidenceMap, labels: Labels | None = None
) -> dict[str, Floats]:
    """Chances [moments, topics] by evidence; only of the evidence that there is, and that says something."""
    times = moments(evidence)
    seen = "picture" in evidence.encodings and len(evidence.encodings["picture"].times_s) > 0
    found = {
        "objects": _objects(evidence, times, taxonomy, mapping),
        "faces": _faces(evidence, times, taxonomy, mapping),
        "sound": _sounds(evidence, times, taxonomy, mapping, mapping.weight["sound" if seen else "sound_alone"]),
        "text": _text(evidence, times, taxonomy, mapping),
        "zeroshot": _labels(evidence, times, taxonomy, labels),
    }
    return {name: _with_parents(table, taxonomy) for name, table in found.items() if table is not None and table.any()}


def _objects(e: Evidence, times: Floats, taxonomy: Taxonomy, mapping: EvidenceMap) -> Floats | None:
    encoding = e.encodings.get("objects")
    if encoding is None or not len(encoding.times_s):
        return None
    size = areas(encoding).astype(np.float64)
    sure = confidences(encoding) * np.minimum(1.0, size / OBJECT_AREA)
    rows = np.zeros((len(sure), len(taxonomy.topics)))
    for column, topic in mapping.object_columns:
        position = taxonomy.index[topic]
        rows[:, position] = np.maximum(rows[:, position], mapping.weight["objects"] * sure[:, column])
    person = confidences(encoding)[:, PERSON] * np.minimum(1.0, size[:, PERSON] / PERSON_AREA)
    rows[:, taxonomy.index[PEOPLE]] = mapping.weight["persons"] * person
    return rows[_nearest(encoding, times)]


def _faces(e: Evidence, times: Floats, taxonomy: Taxonomy, mapping: EvidenceMap) -> Floats | None:
    encoding = e.encodings.get("faces")
    if encoding is None or not len(encoding.times_s):
        return None
    confidence, area = encoding.embeddings[:, 0].astype(np.float64), encoding.embeddings[:, 2].astype(np.float64)
    rows = np.zeros((len(confidence), len(taxonomy.topics)))
    rows[:, taxonomy.index[PORTRAIT]] = confidence * np.minimum(1.0, area / FACE_AREA)
    return mapping.weight["faces"] * rows[_nearest(encoding, times)]


def _sounds(e: Evidence, times: Floats, taxonomy: Taxonomy, mapping: EvidenceMap, weight: float) -> Floats | None:
    encoding = e.encodings.get("yamnet")
    if encoding is None or not len(encoding.times_s):
        return None
    rows = np.zeros((len(encoding.scores), len(taxonomy.topics)))
    for column, topic in mapping.sound_columns:
        position = taxonomy.index[topic]
        rows[:, position] = np.maximum(rows[:, position], encoding.scores[:, column])
    return weight * rows[_nearest(encoding, times)]


def _labels(e: Evidence, times: Floats, taxonomy: Taxonomy, labels: Labels | None) -> Floats | None:
    encoding = e.encodings.get("zeroshot")
    if labels is None or encoding is None or not len(encoding.times_s):
        return None
    rows = np.zeros((len(encoding.scores), len(taxonomy.topics)))
    for column, label in enumerate(labels.labels):
        rows[:, taxonomy.index[label.topic]] = label.weight * encoding.scores[:, column]
    return rows[_nearest(encoding, times)]


def _text(e: Evidence, times: Floats, taxonomy: Taxonomy, mapping: EvidenceMap) -> Floats | None:
    encoding = e.encodings.get("text")
    if encoding is None:
        return None
    table = np.zeros((len(times), len(taxonomy.topics)))
    words = np.zeros(len(times))
    for line in e.texts:
        stands = np.zeros(len(times), bool)
        for start, end in line.ranges:
            stands |= (times >= start - HOLDS_S) & (times <= end + HOLDS_S)
        words += stands * len(line.text.split())
        for topic in phrases(taxonomy, line.text):
            column = table[:, taxonomy.index[topic]]
            np.maximum(column, stands * mapping.weight["text"] * line.score, out=column)
    if len(encoding.times_s):
        share = np.minimum(1.0, encoding.scores[:, 0].astype(np.float64) / TEXT_AREA)[_nearest(encoding, times)]
        # A picture full of text is seen as such, which needs no word to be understood.
        full = share * np.minimum(1.0, words / TEXT_WORDS)
        column = table[:, taxonomy.index[TEXT]]
        np.maximum(column, mapping.weight["text_alone"] * full, out=column)
    return table


def _nearest(encoding: Encoding, times: Floats) -> npt.NDArray[np.intp]:
    """[moments] the row that speaks of each: the nearest in time, the earlier of two."""
    middles = (encoding.times_s[1:] + encoding.times_s[:-1]) / 2
    return np.searchsorted(middles, times, side="left").astype(np.intp)


def _with_parents(table: Floats, taxonomy: Taxonomy) -> Floats:
    """A child implies its parent: the surest of them."""
    whole = table.copy()
    for position, parent in enumerate(taxonomy.parents):
        if parent >= 0:
            np.maximum(whole[:, parent], table[:, position], out=whole[:, parent])
    return whole
