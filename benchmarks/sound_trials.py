"""Damaged sounds through the farm's decoder and its quality tagger. Clips are made once and kept."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.quality.sound import SoundMeasures
from models.quality.tagger import SOUND, QualityTagger

from .corpus import corpus_root
from .picture_trials import UNSPOILT, evidence_of_file
from .sound_faults import SOUND_FAULTS
from .sound_sources import Recording, recordings, write_sound

VERSION = 2
"""Raised when sources or faults give other clips."""


@dataclass(frozen=True)
class SoundTrial:
    """One sound judged. `level` 0 is the undamaged one, then 1 to 6."""

    source: str
    kind: str
    half: str
    fault: str
    level: int
    score: float
    quality: dict[str, Any]
    measures: dict[str, Any]


def judge_sounds(part: int, parts: int) -> list[SoundTrial]:
    """All trials of every `parts`-th source from `part` on. To be called in a process of its own."""
    folder = corpus_root() / "quality-clips"
    folder.mkdir(parents=True, exist_ok=True)
    return [
        _judge(recording, fault, level, folder) for recording in recordings()[part::parts] for fault, level in _cases()
    ]


def _cases() -> Iterator[tuple[str, int]]:
    yield UNSPOILT, 0
    for fault, kind in SOUND_FAULTS.items():
        for level in range(1, len(kind.levels) + 1):
            yield fault, level


def _judge(recording: Recording, fault: str, level: int, folder: Path) -> SoundTrial:
    clip = folder / f"{VERSION}-{recording.kind}-{recording.name}-{fault}-{level}.m4a".replace(" ", "_")
    if not clip.is_file():
        part = clip.with_name("part-" + clip.name)
        if fault == UNSPOILT:
            write_sound(recording.wave, part)
        else:
            kind = SOUND_FAULTS[fault]
            kind.write(recording.wave, kind.levels[level - 1], part)
        part.rename(clip)
    return trial_of(clip, recording, fault, level)


def trial_of(clip: Path, recording: Recording, fault: str, level: int) -> SoundTrial:
    """What the farm says of a damaged clip of this recording."""
    evidence = evidence_of_file(clip, (SoundMeasures,))
    section = QualityTagger().tag(evidence) or {}
    measures = dict(evidence.observations[SOUND])
    measures.pop("curves", None)
    score = section["sound"]["score"]
    return SoundTrial(recording.name, recording.kind, recording.half, fault, level, score, section, measures)
