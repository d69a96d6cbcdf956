"""From a version of the registry to the tagger that a node runs."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from ..protocol import Encoder, Tagger
from ..quality.trained import trained_quality
from ..sounds.trained import trained_events
from ..topics.trained import trained_topics
from .versions import Version, VersionIncompatible

if TYPE_CHECKING:  # a version without an encoder of its own must not wait for torch's import
    from ..topics.tuned import TunedPictureEncoder

PICTURE = "picture"

BUILDERS: Mapping[str, Callable[..., Tagger]] = {
    "topics": trained_topics,
    "events": trained_events,
    "quality": trained_quality,
}
"""Taggers that can be trained."""


def build_tagger(version: Version, encoders: Mapping[str, Encoder] | None = None) -> Tagger:
    """Build a verified version's tagger; everything that could fail on an upload fails here.

    Args:
        version: which.
        encoders: the node's, by name: an encoder of the version's own is built on one of them, and closed when the
            last upload that the tagger speaks of lets go of it.

    Raises:
        VersionIncompatible, VersionCorrupt: it cannot be run by this program.
    """
    builder = BUILDERS.get(version.tagger)
    if builder is None:
        raise VersionIncompatible(
            f"{version.name}: {version.tagger} cannot be trained; what can: {', '.join(BUILDERS)}"
        )
    if version.own_encoder is None:
        return builder(version)
    own = own_encoder(version, (encoders or {}).get(PICTURE))
    try:
        tagger = builder(version, own)
    except BaseException:
        own.close()
        raise
    weakref.finalize(tagger, own.close)
    return tagger


def own_encoder(version: Version, base: Encoder | None) -> TunedPictureEncoder:
    """The encoder that was fine-tuned for a version, on the packaged one.

    Raises:
        VersionIncompatible: it is for another encoder than `base`, or its tensors do not fit.
        VersionCorrupt: as `Version.tensors`.
    """
    from ..topics.efficientnet import PictureEncoder
    from ..topics.tuned import TunedPictureEncoder

    named, wanted = version.own_encoder, version.manifest["encoder"]
    if named is None:
        raise ValueError(f"{version.name} has no encoder of its own")
    if not isinstance(base, PictureEncoder) or base.version != wanted:
        raise VersionIncompatible(f"{version.name} needs the encoder {wanted}, which is not here")
    try:
        return TunedPictureEncoder(base, *named, version.fine_tuned_blocks, version.encoder_tensors())
    except (ValueError, TypeError) as error:
        raise VersionIncompatible(f"{version.name} does not fit: {error}") from error


def own_encoders(tagger: Tagger) -> Mapping[str, Encoder]:
    """The encoders that a tagger brings along, by name; most bring none."""
    own: Mapping[str, Encoder] = getattr(tagger, "own_encoders", {})
    return own
