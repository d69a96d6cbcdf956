"""From a version of the registry to the tagger that a node runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ..protocol import Tagger
from ..quality.trained import trained_quality
from ..sounds.trained import trained_events
from ..topics.trained import trained_topics
from .versions import Version, VersionIncompatible

BUILDERS: Mapping[str, Callable[[Version], Tagger]] = {
    "topics": trained_topics,
    "events": trained_events,
    "quality": trained_quality,
}
"""Taggers that can be trained."""


def build_tagger(version: Version) -> Tagger:
    """Build a verified version's tagger; everything that could fail on an upload fails here.

    Raises:
        VersionIncompatible, VersionCorrupt: it cannot be run by this program.
    """
    builder = BUILDERS.get(version.tagger)
    if builder is None:
        raise VersionIncompatible(
            f"{version.name}: {version.tagger} cannot be trained; what can: {', '.join(BUILDERS)}"
        )
    return builder(version)
