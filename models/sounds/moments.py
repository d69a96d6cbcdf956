"""Which moments of an upload a dear network of music hears."""

from __future__ import annotations

import numpy as np

from ..protocol import Encoding
from .audioset import indices
from .yamnet_geometry import PATCH_S as HEARD_S

STEP_S = 5.0
"""From moment to moment: music does not change its kind from one second to the next."""
MAX_MOMENTS = 8
"""Of one upload, however long: spread over its music."""
MUSIC = 0.4
"""Mean score of the class Music that a moment has to have."""
SHORTEST_S = 1.5
"""Sound shorter than this is no piece of music."""


def musical_moments(duration_s: float, heard: Encoding | None, length_s: float) -> list[float]:
    """Starts of moments of `length_s` with music in them, s, ascending.

    Args:
        duration_s: of the sound.
        heard: YAMNet's encoding of it; None: every moment counts as music.
        length_s: of a moment. The last may reach beyond the end where the sound is shorter than one.
    """
    if duration_s < SHORTEST_S:
        return []
    last = max(duration_s - length_s, 0.0)
    count = 1 + int(last / STEP_S)
    # In the middle of what they stand for: beginnings are often silent.
    spare = last - (count - 1) * STEP_S
    starts = [round(spare / 2 + place * STEP_S, 3) for place in range(count)]
    if heard is not None:
        starts = [start for start in starts if _musical(heard, start, length_s)]
    if len(starts) > MAX_MOMENTS:
        chosen = np.linspace(0, len(starts) - 1, MAX_MOMENTS).round().astype(int)
        starts = [starts[place] for place in chosen]
    return starts


def _musical(heard: Encoding, start_s: float, length_s: float) -> bool:
    within = (heard.times_s + HEARD_S / 2 >= start_s) & (heard.times_s + HEARD_S / 2 <= start_s + length_s)
    scores = heard.scores[within, indices(["Music"])[0]]
    return bool(len(scores)) and float(scores.mean()) >= MUSIC
