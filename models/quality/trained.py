"""Quality with a trained head: what people see in a picture, in place of the product of its measures.

The measures stay in the document, since they say why. A head's labels: `picture` for the picture's score, `score` for
that of the whole; where only the picture's is trained, the whole is made of it and the sound's as ever.
"""

from __future__ import annotations

from typing import Any

from ..protocol import Encoder, Evidence
from ..registry.versions import Version, VersionIncompatible
from ..serving.head import Head
from .features import MEASURES, with_measures
from .tagger import PICTURE_SHARE, QualityTagger

ENCODER = "efficientnet-lite2@1"
"""Its encoder's version; the tests hold it against the encoder's own."""
LABELS = ("picture", "score")


class TrainedQualityTagger:
    """`models.protocol.Tagger` of the section `quality`, from a version of the registry."""

    name = "quality"
    section = "quality"
    encoders: tuple[str, ...] = ("picture",)

    def __init__(
        self,
        head: Head,
        version: str,
        packaged: QualityTagger | None = None,
        own: Encoder | None = None,
        measures: bool = False,
    ) -> None:
        """`own`: the encoder that was fine-tuned for the head. `measures`: whether it reads them too."""
        self.head = head
        self.version = version
        self.own_encoders = {own.name: own} if own is not None else {}
        self.encoders = tuple(self.own_encoders) or TrainedQualityTagger.encoders
        self._encoder = own.version if own is not None else ENCODER
        self._measures = measures
        self._packaged = packaged or QualityTagger()

    def tag(self, evidence: Evidence) -> dict[str, Any] | None:
        """The section; where there is no picture, the packaged tagger's."""
        said = self._packaged.tag(evidence)
        encoding = evidence.encodings[self.encoders[0]]
        if said is None or said["picture"] is None or not len(encoding.times_s):
            return said
        if encoding.encoder != self._encoder:
            raise ValueError(f"{self.version} is for {self._encoder}, not for {encoding.encoder}")
        rows = with_measures(encoding.embeddings, evidence) if self._measures else encoding.embeddings
        scores = dict(zip(self.head.labels, self.head.scores(rows).tolist(), strict=True))
        picture, sound = said["picture"], said["sound"]
        if "picture" in scores:
            picture = {**picture, "score": round(scores["picture"], 4)}
        heard = sound is not None and sound["loudness_lufs"] is not None
        whole = picture["score"] ** PICTURE_SHARE * sound["score"] ** (1 - PICTURE_SHARE) if heard else picture["score"]
        return {**said, "picture": picture, "score": round(scores.get("score", whole), 4)}


def trained_quality(version: Version, own: Encoder | None = None) -> TrainedQualityTagger:
    """The tagger of a verified version. `own`: its own encoder, if it has one.

    Raises:
        VersionIncompatible: it is for another encoder, has other labels, or its tensors do not fit them.
        VersionCorrupt: as `Version.tensors`.
    """
    manifest = version.manifest
    if manifest["encoder"] != ENCODER:
        raise VersionIncompatible(f"{version.name} is for encoder {manifest['encoder']}, this program has {ENCODER}")
    if unknown := sorted(set(manifest["labels"]) - set(LABELS)):
        raise VersionIncompatible(f"{version.name} knows {unknown[0]!r}; quality has: {', '.join(LABELS)}")
    tensors = version.tensors()
    try:
        head = Head.of(manifest, tensors)
    except (ValueError, KeyError) as error:
        raise VersionIncompatible(f"{version.name} does not fit: {error}") from error
    measures = int(manifest["head"].get("measures", 0))
    if measures not in (0, len(MEASURES)):
        raise VersionIncompatible(f"{version.name} reads {measures} measures, this program has {len(MEASURES)}")
    said = f"{QualityTagger.version}+quality-head@{version.number}"
    return TrainedQualityTagger(head, said, own=own, measures=bool(measures))
