"""Banding: slopes that have become stairs, as too few grey levels make them.

A contour is a small step between two places that are both flat (Bhagavathy, Llach and Zhai 2009; Tandon et al., CAMBI,
2021). Measured is how much of everything that changes in the plane changes in such steps.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

Plane = npt.NDArray[np.uint8]

LINE_STRIDE = 6
"""Lines looked at: each n-th."""
REACH = 3
"""How far both sides of a step must be flat, px."""
FLAT = 2
"""Grey levels by which a flat side may still change over `REACH`: coding leaves ripples."""
MIN_STEP = 4
"""Smaller steps are not seen, grey levels."""
MIN_CHANGE = 64.0
"""A plane that changes less than this, in grey levels a line, has nothing that could be stairs."""


def banding(luma: Plane) -> float | None:
    """Mean height of the stairs, grey levels, times the share of the plane's change that is in them.

    Of [height, width] luma, full range. 0: every slope is smooth, or rough. None: too small, or without any change.
    """
    amounts = []
    for lines in (luma[::LINE_STRIDE], cv2.transpose(luma[:, ::LINE_STRIDE])):
        if lines.shape[1] < 4 * REACH:
            continue
        found = _stairs(np.ascontiguousarray(lines))
        if found is not None:
            amounts.append(found)
    return float(np.mean(amounts)) if amounts else None


def _stairs(lines: Plane) -> float | None:
    step = cv2.absdiff(lines[:, 2:], lines[:, :-2])  # over two px: an edge is as wide after coding
    total = float(cv2.sumElems(step)[0]) / 2.0
    if total < MIN_CHANGE * len(lines):
        return None
    side = cv2.absdiff(lines[:, REACH:], lines[:, :-REACH])
    # Flat from `REACH + 1` to 1 px before the step, and from 1 to `REACH + 1` px after it.
    flat = side <= FLAT
    span = step.shape[1] - 2 * REACH
    around = flat[:, :span] & flat[:, REACH + 2 : REACH + 2 + span]
    inner = step[:, REACH : REACH + span]
    stairs = inner[around & (inner >= MIN_STEP)].astype(np.float64)
    if stairs.size == 0:
        return 0.0
    # Of a step that is one px wide, two px of `step` tell: as much in the total, so nothing is to be set right.
    share = float(stairs.sum()) / 2.0 / total
    return share * float(stairs.mean())
