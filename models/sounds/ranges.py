"""From a score at each moment to the ranges in which something is heard."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Span = tuple[int, int]
"""First row and one past the last."""
Range = tuple[float, float]
"""Start and end, s."""


def spans(scores: npt.NDArray[np.float32], begin: float, keep: float) -> list[Span]:
    """Runs of rows that stay at `keep` or above and somewhere reach `begin` (hysteresis)."""
    edges = np.flatnonzero(np.diff(np.concatenate(([False], scores >= keep, [False])).astype(np.int8)))
    runs = edges.reshape(-1, 2).tolist()
    return [(first, last) for first, last in runs if scores[first:last].max() >= begin]


def join(ranges: Sequence[Range], gap_s: float) -> list[Range]:
    """Join ascending ranges that are less than `gap_s` apart."""
    joined: list[Range] = []
    for start, end in ranges:
        if joined and start - joined[-1][1] < gap_s:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((start, end))
    return joined


def rounded(ranges: Sequence[Range]) -> list[list[float]]:
    """As the document has them: to 10 ms."""
    return [[round(start, 2), round(end, 2)] for start, end in ranges]


def patch_range(span: Span, rows: int, times_s: npt.NDArray[np.float64], patch_s: float, duration_s: float) -> Range:
    """The range of a run of overlapping patches.

    A patch tells that something is heard in it, not where. So the outer quarter of the first and of the last patch is
    left off, except at the very ends of the sound.
    """
    first, last = span
    start = float(times_s[first]) + (patch_s / 4 if first else 0.0)
    end = float(times_s[last - 1]) + patch_s - (patch_s / 4 if last < rows else 0.0)
    return min(start, duration_s), min(end, duration_s)
