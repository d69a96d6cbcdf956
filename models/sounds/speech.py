"""How much of the sound is speech, and when.

Silero says when; YAMNet has to agree that it is speech at all, since Silero alone also hears some animals and singing.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ..protocol import Encoding, Evidence
from .audioset import SINGING, SPEECH, indices
from .ranges import Range, join, rounded, spans
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


class SpeechTagger:
    """`models.protocol.Tagger`: the document's `speech`."""

    name = "speech"
    version = "silero-vad-yamnet@2"
    section = "speech"
    encoders = ("silero", "yamnet")

    def tag(self, evidence: Evidence) -> dict[str, Any]:
        """Share of the sound that is speech, and the ranges. Language and words are other taggers' work."""
        encoding = evidence.encodings["silero"]
        events = evidence.encodings["yamnet"]
        end_s = len(encoding.scores) * encoding.hop_s
        ranges = [
            (max(start - PAD_S, 0.0), min(end + PAD_S, end_s))
            for start, end in self._voiced(encoding)
            if _confirmed(start, end, events)
        ]
        heard_s = sum(end - start for start, end in ranges)
        present = round(min(heard_s / end_s, 1.0), 4) if end_s > 0 else 0.0
        return {"present": present, "ranges": rounded(ranges), "language": None, "transcript": None}

    @staticmethod
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
