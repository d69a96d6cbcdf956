"""When something begins and ends, to 20 ms: a network's patches say what, the sound's outline says when."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..protocol import Encoding
from .outline import FLOOR_DB, HOP_S
from .ranges import Range, Span
from .yamnet_geometry import PATCH_S

AROUND_S = 10.0
"""What is so near counts for the background's level."""
BACKGROUND_PERCENTILE = 10.0
LEAST_RISE_DB = 8.0
"""Over the background, in the band where it rises most: what rises less is no edge."""
SHARE = 0.3
"""Of the highest rise, in dB, from which the sound counts as there."""
GAP_S = 0.3
"""Pauses shorter than this belong to the sound around them."""
REACH_S = 0.5
"""An edge may lie so far before the first patch that heard it, or behind the last: beyond, it is another sound's."""
SMOOTHED = 5
"""Frames of the moving mean: 100 ms."""


@dataclass(frozen=True)
class Outline:
    """The levels [n, bands] in dB of an upload."""

    levels_db: npt.NDArray[np.float32]

    @classmethod
    def of(cls, encoding: Encoding | None) -> Outline | None:
        """Of the encoding `outline`; None: there is none."""
        return None if encoding is None or not len(encoding.scores) else cls((encoding.scores - 1.0) * -FLOOR_DB)

    def refined(self, run: Span, times_s: npt.NDArray[np.float64], guess: Range) -> Range:
        """The range of a run of patches.

        Args:
            run: first patch and one past the last.
            times_s: starts of all patches.
            guess: what the patches alone say.

        Returns:
            The guess, with each end put at the edge that the sound has near it, if it has one.
        """
        start_s, end_s = float(times_s[run[0]]), float(times_s[run[1] - 1]) + PATCH_S
        rises = self._rises(start_s, end_s)
        first, last = (int(edge / HOP_S) for edge in (start_s, end_s))
        highest = float(rises[first:last].max(initial=0.0))
        if highest < LEAST_RISE_DB:
            return guess
        there = sounding(rises >= max(LEAST_RISE_DB, SHARE * highest))
        # What lies in the core of the run, or else anywhere in it.
        low, high = (int(edge / HOP_S) for edge in guess)
        touched = [span for span in there if span[0] < high and span[1] > low]
        touched = touched or [span for span in there if span[0] < last and span[1] > first]
        if not touched:
            return guess
        begins, ends = touched[0][0] * HOP_S, touched[-1][1] * HOP_S
        begin = begins if start_s - REACH_S <= begins <= start_s + PATCH_S else guess[0]
        end = ends if end_s - PATCH_S <= ends <= end_s + REACH_S else guess[1]
        return (begin, end) if begin < end else guess

    def _rises(self, start_s: float, end_s: float) -> npt.NDArray[np.float64]:
        """[n] dB over the background, 0 far from the run."""
        count = len(self.levels_db)
        low, high = max(0, int((start_s - AROUND_S) / HOP_S)), min(count, int((end_s + AROUND_S) / HOP_S))
        rises = np.zeros(count)
        if high - low >= SMOOTHED:
            # Smoothed first: the level of noise in a narrow band goes up and down by 10 dB from frame to frame.
            padded = np.pad(self.levels_db[low:high], ((SMOOTHED // 2, SMOOTHED // 2), (0, 0)), mode="edge")
            near = np.lib.stride_tricks.sliding_window_view(padded, SMOOTHED, axis=0).mean(axis=2)
            rises[low:high] = (near - np.percentile(near, BACKGROUND_PERCENTILE, axis=0)).max(axis=1)
        return rises


def sounding(there: npt.NDArray[np.bool_]) -> list[Span]:
    """Runs of frames in which it sounds, short pauses filled."""
    edges = np.flatnonzero(np.diff(np.concatenate(([False], there, [False])).astype(np.int8)))
    joined: list[Span] = []
    for first, last in edges.reshape(-1, 2).tolist():
        if joined and (first - joined[-1][1]) * HOP_S < GAP_S:
            joined[-1] = (joined[-1][0], last)
        else:
            joined.append((first, last))
    return joined
