"""Banding: slopes that have become stairs, as too few grey levels make them.

A contour is a small step between two places that are both flat (Bhagavathy, Llach and Zhai 2009; Tandon et al., CAMBI,
2021). Too few grey levels make stairs of one height, whatever the picture shows: that height is measured.
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
ENOUGH_SHARE = 0.01
"""Share of the plane's change that is in stairs, from which on they count in full."""
ALIKE_SHARE, ALIKE_LEVELS = 0.2, 2.0
"""Stairs are as high as the middle one if they differ by no more than this share of it and these grey levels."""
BY_CHANCE = 6.0
"""What passes for stairs in any photograph, grey levels: only what is higher is told."""
ALIKE_ENOUGH = 0.35
"""Share of the stairs that are so, from which on they count in full: below, they are edges of all kinds."""
MIN_CHANGE = 64.0
"""A plane that changes less than this, in grey levels a line, has nothing that could be stairs."""


def banding(luma: Plane) -> float | None:
    """Height of the stairs, grey levels; less where they are few, or of many heights, as a drawing's edges are.

    Of [height, width] luma, full range. 0: every slope is smooth, or rough. None: too small, or without any change.
    """
    found = []
    for lines in (luma[::LINE_STRIDE], cv2.transpose(luma[:, ::LINE_STRIDE])):
        if lines.shape[1] >= 4 * REACH:
            found.append(_stairs(np.ascontiguousarray(lines)))
    known = [stairs for stairs in found if stairs is not None]
    if not known:
        return None
    heights = np.concatenate([stairs for stairs, _ in known])
    if heights.size == 0:
        return 0.0
    height = float(np.median(heights))
    # Of a step that is one px wide, two px tell: as much in the total, so nothing is to be set right.
    share = float(heights.sum()) / 2.0 / sum(total for _, total in known)
    alike = float(np.mean(np.abs(heights - height) <= ALIKE_SHARE * height + ALIKE_LEVELS))
    seen = height * min(1.0, share / ENOUGH_SHARE) * min(1.0, alike / ALIKE_ENOUGH) ** 2
    return max(0.0, seen - BY_CHANCE)


def _stairs(lines: Plane) -> tuple[npt.NDArray[np.float64], float] | None:
    """The heights of all stairs, and how much the lines change in all, grey levels; None: next to nothing changes."""
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
    return inner[around & (inner >= MIN_STEP)].astype(np.float64), total
