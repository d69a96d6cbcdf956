"""How far two lines of a picture go together: neighbours do, and the two sides of a pole; two pictures do not."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

Stack = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]

SEGMENTS = 24
"""Parts of the seam that are looked at one by one."""
DETAIL_PX = 31
"""Detail is what differs from the mean along the seam over this length, px: broad light and sky do not count."""
LOUDEST = 2.0
"""How much more than the usual part of the length one may count."""
QUIET = 1.0
"""Added to every variance, so that rounding is not motion, grey levels squared."""
AROUND_PX = (3, 6)
"""How far beyond the lines the picture is asked whether it goes on behind them, px."""
GOES_ON, GOES_ON_IN_PARTS = 0.24, 0.15
"""Correlation from which on it does, of the whole and in its parts: behind a pole 0.3 and more, behind a seam 0.2 at
most by chance."""
LONE_IN_PARTS = 0.3
"""In the parts beside a single line, which is no pole."""
MOST_PARTS = 0.6
"""Of the parts' correlations, the one at this quantile is theirs."""
MIN_TELLING = 4
"""Parts with something in them, below which there is nothing to be alike."""
SHIFT_PX = 12
"""Step of the shifts by which two sides are compared, px."""


def kinship(signal: Floats, gap: int) -> Floats:
    """Correlation of each column with the one `gap` further, over time and length.

    No part of the length counts for more than `LOUDEST` times the usual: a line of text over the seam is loud, and goes
    on across it.
    """
    edges = np.linspace(0, signal.shape[1], min(SEGMENTS, signal.shape[1]) + 1).astype(int)[:-1]

    def by_part(product: Floats) -> Floats:
        return np.asarray(np.add.reduceat(product.sum(axis=0), edges, axis=0), dtype=np.float32)

    quiet = QUIET * signal.shape[0] * signal.shape[1] / len(edges)
    power = by_part(signal * signal) + quiet
    common = by_part(signal[:, :, :-gap] * signal[:, :, gap:])
    first, second = power[:, :-gap], power[:, gap:]
    loud = np.maximum(first, second)
    share = np.minimum(1.0, LOUDEST * np.median(loud, axis=0) / loud)
    return np.asarray(
        (share * common).sum(axis=0) / np.sqrt((share * first).sum(axis=0) * (share * second).sum(axis=0))
    )


def goes_on(window: Stack, first: int, second: int, stands: npt.NDArray[np.bool_]) -> bool:
    """Whether one picture goes on behind what lies between two columns.

    Where it does, the two sides go together as they lie. Two still pictures go together by chance, and then as
    well when the one is shifted along the other.
    """
    along, lone = window.shape[1], first == second
    shifts = [sign * lag for lag in range(SHIFT_PX, along // 3, SHIFT_PX) for sign in (1, -1)]
    for around in AROUND_PX:
        before, behind = first - around, second + around
        if before < 0 or behind >= window.shape[2]:
            continue
        pair = window[:, :, [before, behind]].astype(np.float32)
        detail = pair - np.stack([cv2.blur(frame, (1, DETAIL_PX)) for frame in pair])
        for signal in (detail, np.diff(pair, axis=0)):
            one, other = signal[:, :, 0], signal[:, :, 1]
            whole, parts = _alike(one, other, stands, lone)
            if whole >= GOES_ON and parts >= (LONE_IN_PARTS if lone else GOES_ON_IN_PARTS):
                shifted = max(
                    (_alike(one, np.roll(other, shift, axis=1), stands, lone)[0] for shift in shifts), default=0.0
                )
                if whole >= shifted:
                    return True
    return False


def _alike(one: Floats, other: Floats, chosen: npt.NDArray[np.bool_], even: bool) -> tuple[float, float]:
    """Correlation of two lines [n, along] in the chosen parts: of all, and the one that a good half of the telling ones
    does not exceed (where too few tell anything, 1, or 0 if even).

    `even`: no part counts for more than `LOUDEST` times the usual; for a single line, which is no pole.
    """
    edges = np.linspace(0, one.shape[1], SEGMENTS + 1).astype(int)[:-1]
    quiet = QUIET * one.size / SEGMENTS

    def by_part(product: Floats) -> Floats:
        return np.asarray(np.add.reduceat(product.sum(axis=0), edges))[chosen]

    common, first, second = by_part(one * other), by_part(one * one) + quiet, by_part(other * other) + quiet
    loud = np.maximum(first, second)
    share = np.minimum(1.0, LOUDEST * np.median(loud) / loud) if even and loud.size else np.ones_like(loud)
    whole = float((share * common).sum() / np.sqrt((share * first).sum() * (share * second).sum() + 1e-9))
    telling = (first > 2 * quiet) & (second > 2 * quiet)
    if telling.sum() < MIN_TELLING:
        return whole, 0.0 if even else 1.0
    return whole, float(np.quantile((common / np.sqrt(first * second))[telling], MOST_PARTS))
