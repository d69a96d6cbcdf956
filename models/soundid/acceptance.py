"""The operating points of sound identity: what evidence it takes to believe a use, and how sure it then is.

All were set on `benchmarks.soundid`, so that of 1,000 strangers at most one is taken for a known sound.
"""

from __future__ import annotations

import math

from models.soundid.coherence import Coherence
from models.soundid.proposals import AS_IT_IS
from models.soundid.verify import Evidence

COHERENT = (23.0, 27.0)
"""Evidence of the phases, nats, from which on a use is believed, where the correlation is at least `STRONG` and where
not."""
COHERENT_CHANGED = (28.0, 40.0)
"""At another speed. A beat that two pieces share falls together, weakly, at one of many speeds."""
STRONG, STRONG_CHANGED = 4.0, 8.0
COHERENT_SCALE = 4.0
"""Nats above it in which the odds of the score grow by e."""
BASS_CHANCE = 2.8
"""Power of the bass (see `bass_search.Heard`) that 2 of 100 strangers reach anywhere in a catalogue; above it ..."""
BASS_NATS, BASS_MOST = 10.0, 9.0
"""... each unit is so much evidence more, and all of it so much at most: it is of another band than the phases'."""
AGREES = 25.0
"""Log-likelihood ratio of the peaks alone, nats, from which on a change of tempo or pitch is believed."""
AGREES_SCALE = 6.0
AGREES_SHARE = 0.35
"""And so much of the sound's peaks must be there."""


def odds_by_phase(coherence: Coherence, bass: float = 0.0) -> float:
    """Natural logarithm of the odds that it is the recording; below 0 it is not believed. `bass`: its power, if any."""
    if coherence.alignment.playing == AS_IT_IS:
        least = COHERENT[coherence.strength < STRONG]
    else:
        least = COHERENT_CHANGED[coherence.strength < STRONG_CHANGED]
    more = min(max(BASS_NATS * (bass - BASS_CHANCE), 0.0), BASS_MOST)
    return (coherence.nats + more - least) / COHERENT_SCALE


def odds_by_peaks(evidence: Evidence) -> float:
    """The same of a recording whose tempo or pitch alone was changed."""
    if evidence.share < AGREES_SHARE:
        return -math.inf
    return (evidence.gain - AGREES) / AGREES_SCALE
