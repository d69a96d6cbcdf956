"""How much of the sound is speech, when, in which language and, if asked, in which words.

Silero says when; YAMNet has to agree that it is speech at all, since Silero alone also hears some animals and singing.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ..protocol import Encoding, Evidence
from .audioset import SINGING, SPEECH, indices
from .ranges import Range, join, rounded, spans
from .whisper_languages import LANGUAGES, TOLD, UNSPOKEN
from .yamnet_geometry import PATCH_S

BEGIN = 0.5
"""Probability at which speech begins, as Silero's authors advise."""
KEEP = 0.35
"""Probability at which it goes on."""
GAP_S = 0.3
"""Pauses shorter than this belong to the speech around them."""
SHORTEST_S = 0.25
PAD_S = 0.03
"""Added on both sides, so that no consonant is cut off."""
CERTAIN_S = 1.0
"""From this length on a range needs less confirmation."""
CONFIRM_LONG = 0.25
CONFIRM_SHORT = 0.5
"""YAMNet's best speech score within the range. Measured: under louder music at least 0.34, a pig's grunts 0.32."""
SURE_LANGUAGE = 0.5
"""Probability that a language has to have; below, it is unknown. At 0.3 it would tell 5 more of 30 readings by
espeak-ng right and 6 more wrong (`benchmarks/results/hearing.md`)."""

VERSIONS = {"whisper": 2, "words": 1}
"""Of what is dear, as the head's version names it. whisper 2: languages of synthetic voices."""


class SpeechTagger:
    """`models.protocol.Tagger`: the document's `speech`.

    Args:
        language: whether it reads the encoding `whisper`.
        transcript: whether it reads the encoding `words` too.
    """

    name = "speech"
    section = "speech"

    def __init__(self, *, language: bool = False, transcript: bool = False) -> None:
        dear = (*(("whisper",) if language or transcript else ()), *(("words",) if transcript else ()))
        self.encoders: tuple[str, ...] = ("silero", "yamnet", *dear)
        self.version = "silero-vad-yamnet@2" + "".join(f"+{name}@{VERSIONS[name]}" for name in dear)

    def tag(self, evidence: Evidence) -> dict[str, Any]:
        """Share of the sound that is speech, its ranges, its language and words; null what is unknown or not asked."""
        encoding = evidence.encodings["silero"]
        end_s = len(encoding.scores) * encoding.hop_s
        ranges = speech_ranges(encoding, evidence.encodings["yamnet"])
        heard_s = sum(end - start for start, end in ranges)
        present = round(min(heard_s / end_s, 1.0), 4) if end_s > 0 else 0.0
        language = spoken_language(evidence.encodings.get("whisper"))
        transcript = None
        if "words" in self.encoders and language is not None:
            rows = evidence.encodings["words"].scores
            transcript = rows[:, 0].astype(np.uint8).tobytes().decode(errors="replace") or None
        return {"present": present, "ranges": rounded(ranges), "language": language, "transcript": transcript}


def spoken_language(encoding: Encoding | None, sure: float = SURE_LANGUAGE) -> str | None:
    """The language of Whisper's row, ISO 639; None: unknown (less likely than `sure`), or not asked."""
    if encoding is None or len(encoding.scores) == 0:
        return None
    chances: dict[str, float] = {}
    unspoken = 0.0
    for name, probability in zip(LANGUAGES, encoding.scores[0].tolist(), strict=True):
        if name in UNSPOKEN:
            unspoken += probability
        else:
            chances[TOLD.get(name, name)] = chances.get(TOLD.get(name, name), 0.0) + probability
    best = max(chances, key=lambda name: chances[name])
    # What is missing to 1 is no language's: see `synthetic_voices.NOBODY`.
    return best if chances[best] >= sure * (1.0 - unspoken) else None


def speech_ranges(voice: Encoding, events: Encoding) -> list[Range]:
    """Where somebody speaks, s, by Silero's encoding and YAMNet's."""
    end_s = len(voice.scores) * voice.hop_s
    return [
        (max(start - PAD_S, 0.0), min(end + PAD_S, end_s))
        for start, end in _voiced(voice)
        if _confirmed(start, end, events)
    ]


def _voiced(encoding: Encoding) -> list[Range]:
    if len(encoding.scores) == 0:
        return []
    runs = spans(encoding.scores[:, 0], BEGIN, KEEP)
    ranges = join([(first * encoding.hop_s, last * encoding.hop_s) for first, last in runs], GAP_S)
    return [(start, end) for start, end in ranges if end - start >= SHORTEST_S]


def _confirmed(start_s: float, end_s: float, events: Encoding) -> bool:
    overlap = (events.times_s < end_s) & (events.times_s + PATCH_S > start_s)
    spoken = _best(events.scores[overlap], indices(SPEECH))
    sung = _best(events.scores[overlap], indices(SINGING))
    return spoken >= (CONFIRM_LONG if end_s - start_s >= CERTAIN_S else CONFIRM_SHORT) and spoken >= sung


def _best(scores: npt.NDArray[np.float32], columns: npt.NDArray[np.intp]) -> float:
    return float(scores[:, columns].max(initial=0.0))
