"""Uses of sounds: what is believed, and how it is told."""

from __future__ import annotations

import math
from dataclasses import dataclass

from models.soundid.coherence import SAMPLES_PER_FRAME
from models.soundid.features import HOP_S
from models.soundid.proposals import STEPS_PER_SEMITONE, Alignment
from models.soundid.view import IndexView

MAX_OVERLAP = 0.5
"""Share of a use that may lie in another use of the same sound: loops align with themselves in many ways."""
SNAP_S = 0.3
"""A range that ends so close to an end of the upload or of the sound reaches it."""
EXACT_TEMPO = 0.002
EXACT_STEPS = 1.0
"""Nearer to the catalogue's tempo and pitch than this, a sound is said to be played as it is."""


@dataclass(frozen=True)
class SoundMatch:
    """One use of a known sound.

    Attributes:
        sound_id, kind, title: as in the catalogue.
        score: 0.5 at the operating point to 1.
        range: start and end in the upload, s.
        offset_s: where in the sound the range starts, s.
        speed: tempo against the catalogue's; 1.0 is as it is there.
        pitch_semitones: pitch against the catalogue's; 0.0 is as it is there.
    """

    sound_id: str
    kind: str
    title: str | None
    score: float
    range: tuple[float, float]
    offset_s: float
    speed: float = 1.0
    pitch_semitones: float = 0.0


@dataclass(frozen=True)
class Use:
    """An alignment that is believed, and where: times of the upload, frames."""

    alignment: Alignment
    odds: float
    """Natural logarithm of the odds that it is true."""
    begin: float
    end: float
    strength: float = 0.0
    """Of its coherence; 0: it goes by its peaks."""

    def better(self, other: Use) -> bool:
        """Whether it is the likelier of two readings of the same block."""
        if self.strength and other.strength:
            return self.strength > other.strength
        return self.odds > other.odds

    def repeats(self, other: Use) -> bool:
        """Whether it says what the other says already."""
        return self.alignment.sound == other.alignment.sound and overlap(self, other) > MAX_OVERLAP


def overlap(use: Use, other: Use) -> float:
    """Share of the shorter use that lies in the other."""
    both = min(use.end, other.end) - max(use.begin, other.begin)
    return both / max(1e-6, min(use.end - use.begin, other.end - other.begin))


def described(view: IndexView, use: Use, duration_s: float) -> SoundMatch:
    """A use in the words of the contract.

    Args:
    view: that it is of.
    use: the use.
    duration_s: of the upload.
    """
    entry, alignment = view.entry(use.alignment.sound), use.alignment
    as_it_is = abs(alignment.tempo - 1.0) < EXACT_TEMPO and abs(alignment.steps) < EXACT_STEPS
    start, end = use.begin * HOP_S, use.end * HOP_S
    length = 8 * len(view.signs(alignment.sound)) / SAMPLES_PER_FRAME
    first = max(0.0, -alignment.offset / alignment.tempo * HOP_S)
    last = min(duration_s, (length - alignment.offset) / alignment.tempo * HOP_S)
    start = first if start - first < SNAP_S else start
    end = last if last - end < SNAP_S else end
    return SoundMatch(
        entry.sound_id,
        entry.kind,
        entry.title,
        score=round(1.0 / (1.0 + math.exp(-min(50.0, use.odds))), 4),
        range=(round(start, 3), round(max(end, start), 3)),
        offset_s=round(max(0.0, alignment.tempo * start + alignment.offset * HOP_S), 3),
        speed=1.0 if as_it_is else round(alignment.tempo, 4),
        pitch_semitones=0.0 if as_it_is else round(alignment.steps / STEPS_PER_SEMITONE, 2),
    )
