"""Which sound it is: known ones are named, an unknown one becomes an original sound of its own."""

from __future__ import annotations

from collections.abc import Sequence

from models.soundid.fingerprint import Fingerprint
from models.soundid.uses import SoundMatch
from tasks.contract import Diversity, SoundUse, TagDocument

ORIGINAL_SCORE = 1.0
"""Score of an upload's use of the very sound that it brought."""


def sound_uses(matches: Sequence[SoundMatch]) -> list[SoundUse]:
    """Matches under the contract's names, the longest use first."""
    longest_first = sorted(matches, key=lambda match: (match.range[0] - match.range[1], match.sound_id))
    return [
        SoundUse.model_validate(
            {
                "sound_id": match.sound_id,
                "kind": match.kind,
                "title": match.title,
                "score": round(min(1.0, max(0.0, match.score)), 4),
                "range": (round(match.range[0], 2), round(match.range[1], 2)),
                "offset_s": round(match.offset_s, 2),
                "speed": round(match.speed, 4),
                "pitch_semitones": round(match.pitch_semitones, 2),
            }
        )
        for match in longest_first
    ]


def original_use(sound_id: str, title: str, fingerprint: Fingerprint) -> SoundUse:
    """The use of a sound by the upload that it comes from."""
    return SoundUse(
        sound_id=sound_id,
        kind="original",
        title=title,
        score=ORIGINAL_SCORE,
        range=(0.0, round(fingerprint.duration_s, 2)),
    )


def original_title(upload_id: str) -> str:
    """What an original sound is called until someone names it."""
    return f"original sound of {upload_id}"


def with_sounds(document: TagDocument, uses: Sequence[SoundUse]) -> TagDocument:
    """The document with its sounds, and the sound that a feed must not repeat: the longest song or original."""
    lasting = [use for use in uses if use.kind != "effect"] or list(uses)
    diversity = Diversity(topic=document.diversity.topic, sound=lasting[0].sound_id if lasting else None)
    return document.model_copy(update={"sounds": list(uses), "diversity": diversity})
