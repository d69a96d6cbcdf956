"""Which of the sampled frames the dearer encoders look at: one a second or so, one of each shot, never too many."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

OBJECT_RATE_HZ = 1.0
"""Frames a second that detectors see."""
MAX_MOMENTS = 32
"""Frames of one upload that detectors see at most, whatever its duration."""


def moments(
    times_s: npt.NDArray[np.float64],
    shots: Sequence[tuple[float, float]],
    rate_hz: float = OBJECT_RATE_HZ,
    most: int = MAX_MOMENTS,
) -> npt.NDArray[np.intp]:
    """Indices into the sampled frames [n], ascending.

    The first frame, then the first one at least `1 / rate_hz` after the one before; a shot without any gets its middle
    one. More than `most` are thinned out evenly.
    """
    times = np.asarray(times_s, dtype=np.float64)
    chosen: list[int] = []
    for index, time_s in enumerate(times.tolist()):
        if not chosen or time_s - times[chosen[-1]] >= 1.0 / rate_hz - 1e-6:
            chosen.append(index)
    starts = np.array([start for start, _ in shots[1:]], np.float64)
    shot_of = np.searchsorted(starts, times + 1e-6, side="right")
    seen = set(shot_of[chosen].tolist())
    for shot in sorted(set(shot_of.tolist()) - seen):
        members = np.flatnonzero(shot_of == shot)
        chosen.append(int(members[len(members) // 2]))
    ordered = np.array(sorted(chosen), dtype=np.intp)
    if len(ordered) > most:
        ordered = ordered[np.linspace(0, len(ordered) - 1, most).round().astype(np.intp)]
    return ordered


def hop_of(times_s: npt.NDArray[np.float64], duration_s: float) -> float:
    """How long each of these moments stands for, s."""
    return float(np.median(np.diff(times_s))) if len(times_s) > 1 else duration_s
