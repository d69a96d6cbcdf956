"""The bass of an upload against a catalogue of any size, at those places alone that a few of its peaks vote for.

Two votes say nothing in a catalogue of thousands of hours: tens of thousands of places have as many by chance. All of
them are compared.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from models.soundid.bass import WORD, Bass
from models.soundid.bass_search import CHANCE, SAMPLES_PER_FRAME, Heard, asked, bits_in, outstanding
from models.soundid.jit import compiled
from models.soundid.proposals import CELL_FRAMES, Ballot, cells
from models.soundid.view import BassTable

VOTES = 2
"""Votes that a place needs to be compared."""
REACH = round((CELL_FRAMES + 1) * SAMPLES_PER_FRAME)
"""Samples to either side of where the votes say: they tell a place to two cells."""


def voted(tables: Sequence[BassTable], ballot: Ballot, played: Bass, low: float, high: float) -> list[Heard]:
    """Which places that are voted for stand out by the bass of frames [low, high) of an upload, as it is.

    Args:
        tables: the catalogue's bass.
        ballot: what the upload's peaks in those frames vote for, as it is.
        played: the upload's bass.
        low: first frame.
        high: last frame, which is not of it.
    """
    question = asked(played, low, high)
    if question is None:
        return []
    sounds, offsets = cells(ballot, VOTES)
    power = np.zeros(len(sounds), dtype=np.int64)
    exact = np.zeros(len(sounds), dtype=np.float64)
    by_shift = np.ascontiguousarray(question.forms.transpose(2, 0, 1))
    for table in tables:
        here = np.flatnonzero((sounds >= table.first) & (sounds < table.first + len(table.ends) - 1))
        numbers = sounds[here] - table.first
        begins = table.ends[numbers] * WORD
        at = begins + question.first + np.rint(offsets[here] * SAMPLES_PER_FRAME).astype(np.int64)
        power[here], best = _powers_at(table.words, by_shift, at - REACH, 2 * REACH + 1)
        exact[here] = (best - begins - question.first) / SAMPLES_PER_FRAME
        power[here[table.ends[numbers + 1] == table.ends[numbers]]] = 0
    order = np.argsort(-power)
    return outstanding(power[order], sounds[order], exact[order], len(order) // CHANCE, question)


@compiled
def _powers_at(
    words: npt.NDArray[np.uint64], by_shift: npt.NDArray[np.uint64], begins: npt.NDArray[np.int64], span: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """For each place the greatest power of so many samples from it on, and at which: see `bass_search._powers`."""
    shifts, forms, size = by_shift.shape
    power, best = np.zeros(len(begins), np.int64), begins.copy()
    differing = np.zeros(2, np.int64)
    for place in range(len(begins)):
        for sample in range(begins[place], begins[place] + span):
            word, shift = (sample + shifts - 1) // shifts, (sample + shifts - 1) % shifts
            if word < 0 or word + size > len(words):
                continue
            for form in range(forms):
                count = np.uint64(0)
                for at in range(size):
                    count += bits_in(words[word + at] ^ by_shift[shift, form, at])
                differing[form] = 64 * size - 2 * np.int64(count)
            both = differing[0] * differing[0] + differing[1] * differing[1]
            if both > power[place]:
                power[place], best[place] = both, sample
    return power, best
