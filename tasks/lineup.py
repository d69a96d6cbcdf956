"""Which version of each tagger speaks of an upload: the champion, or for a share of the uploads a challenger.

A line-up never changes; a new one takes its place as a whole. An upload asks once, when it begins, so its document
names one version of each tagger whatever is promoted meanwhile.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from models.protocol import Encoder, Evidence, Tagger
from models.registry.taggers import own_encoders
from store.store import ShadowRow

log = logging.getLogger(__name__)

BUCKETS = 1 << 32


@dataclass(frozen=True)
class Speakers:
    """Who speaks of one upload."""

    taggers: tuple[Tagger, ...]
    absent: Mapping[str, str]
    """Taggers that cannot speak, and why."""
    shadows: tuple[Tagger, ...] = ()
    """Who is asked too, and not published."""

    def encoders(self, shared: Mapping[str, Encoder]) -> dict[str, Encoder]:
        """The node's encoders, and those that versions brought along: a head and its encoder change as one."""
        return {**shared, **brought(self.taggers), **brought(self.shadows)}


@dataclass(frozen=True)
class Lineup:
    """The trained versions in force, by tagger. Immutable."""

    champions: Mapping[str, Tagger] = field(default_factory=dict)
    challengers: Mapping[str, tuple[Tagger, float]] = field(default_factory=dict)
    """With the share of uploads that they speak of in the champion's place (canary)."""
    shadows: Mapping[str, tuple[Tagger, float]] = field(default_factory=dict)
    broken: Mapping[str, str] = field(default_factory=dict)
    """Taggers whose champion this node cannot load, and why: they are absent, never quietly another version."""
    change_id: int = 0
    """The latest change of an alias that it knows of."""

    def speakers(self, upload_id: str, packaged: Sequence[Tagger], absent: Mapping[str, str]) -> Speakers:
        """Who speaks of this upload. The same upload always has the same answer."""
        chosen = []
        for tagger in packaged:
            if tagger.name in self.broken:
                continue
            challenger, share = self.challengers.get(tagger.name, (None, 0.0))
            if challenger is not None and bucket(f"canary {tagger.name}", upload_id) < share:
                chosen.append(challenger)
            else:
                chosen.append(self.champions.get(tagger.name, tagger))
        watching = [
            shadow
            for name, (shadow, share) in self.shadows.items()
            if name not in absent and bucket(f"shadow {name}", upload_id) < share
        ]
        return Speakers(tuple(chosen), {**absent, **self.broken}, tuple(watching))


def brought(taggers: Sequence[Tagger]) -> dict[str, Encoder]:
    """The encoders that these taggers bring along, by name."""
    return {name: encoder for tagger in taggers for name, encoder in own_encoders(tagger).items()}


class LineupSwitch:
    """Holds the line-up in force. Reading and replacing it are single steps, so no lock is needed."""

    def __init__(self, lineup: Lineup | None = None) -> None:
        self.current = lineup or Lineup()


def bucket(purpose: str, upload_id: str) -> float:
    """Where an upload falls in 0 to 1: by a hash, the same on every node and for ever, apart for each purpose."""
    digest = hashlib.sha256(f"{purpose}\0{upload_id}".encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:4], "big") / BUCKETS


def shadow_rows(
    speakers: Speakers, evidence: Evidence, sections: Mapping[str, Any], models: Mapping[str, str]
) -> list[ShadowRow]:
    """Ask the shadows. One that fails, lacks its encoding or shadows nobody is left out: nothing depends on it."""
    rows = []
    for shadow in speakers.shadows:
        if shadow.name not in models or any(name not in evidence.encodings for name in shadow.encoders):
            continue
        try:
            said = shadow.tag(evidence)
        except Exception:
            log.exception("shadow %s failed", shadow.version)
            continue
        rows.append(ShadowRow(shadow.name, shadow.version, models[shadow.name], said, sections[shadow.section]))
    return rows
