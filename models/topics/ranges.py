"""From a score at each sampled frame to the ranges in which a topic holds."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Span = tuple[int, int]
"""First frame and one past the last."""


def shot_numbers(times_s: npt.NDArray[np.float64], shots: Sequence[tuple[float, float]]) -> npt.NDArray[np.intp]:
    """[n], the shot that each frame is in. Without shots there is one."""
    starts = np.array([start for start, _ in shots[1:]], np.float64)
    return np.searchsorted(starts, np.asarray(times_s), side="right").astype(np.intp)


def smooth(
    values: npt.NDArray[np.float64],
    times_s: npt.NDArray[np.float64],
    shot: npt.NDArray[np.intp],
    half_window_s: float,
) -> npt.NDArray[np.float64]:
    """Mean of the rows of [n, k] within `half_window_s` of each frame, never across a cut."""
    result = np.empty_like(values)
    if not len(times_s):
        return result
    near = (np.abs(times_s[:, None] - times_s[None, :]) <= half_window_s + 1e-9) & (shot[:, None] == shot[None, :])
    # Times ascend, and shots with them: what is near is one run of rows, and a slice costs no copy.
    first = near.argmax(axis=1)
    for row, (start, count) in enumerate(zip(first.tolist(), near.sum(axis=1).tolist(), strict=True)):
        result[row] = values[start : start + count].mean(axis=0)
    return result


def hysteresis(scores: npt.NDArray[np.float64], begin: float, keep: float) -> list[Span]:
    """Runs of frames whose score is at least `keep` and somewhere at least `begin`."""
    spans, start = [], None
    for position, value in enumerate([*scores.tolist(), -1.0]):
        if value >= keep and start is None:
            start = position
        elif value < keep and start is not None:
            if scores[start:position].max() >= begin:
                spans.append((start, position))
            start = None
    return spans


def frame_edges(
    times_s: npt.NDArray[np.float64], shots: Sequence[tuple[float, float]], duration_s: float
) -> npt.NDArray[np.float64]:
    """[n + 1] where each frame's moment begins and the last one ends, s.

    Between two frames of one shot it is half-way; between two shots it is the cut.
    """
    n = len(times_s)
    edges = np.empty(n + 1)
    edges[0], edges[n] = 0.0, max(duration_s, float(times_s[-1]))
    cuts = np.array([start for start, _ in shots[1:]], np.float64)
    for position in range(1, n):
        before, after = times_s[position - 1], times_s[position]
        between = cuts[(cuts > before) & (cuts <= after)]
        edges[position] = between[0] if len(between) else (before + after) / 2
    return edges
