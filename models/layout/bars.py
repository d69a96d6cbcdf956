"""Finds the bars around a picture that was made for another shape of frame: letterbox, pillarbox, or all around.

Bars are plain (black, or of one colour), or the picture itself, enlarged and blurred. Either way the picture begins at
a straight line along the whole side, the same on both sides. That tells bars from a night sky, a wall or a plain
ground, whose outline is that of what stands before it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
import numpy.typing as npt

Box = tuple[float, float, float, float]
Kind = Literal["letterbox", "pillarbox", "windowbox"]
Floats = npt.NDArray[np.float32]

MAX_FRAMES = 6
"""Frames looked at, spread over the upload."""
MIN_SIDE = 48
"""Smaller frames are not looked at, px."""
LEAST = 0.03
"""A bar is at least this share of the side."""
MOST = 0.36
"""And at most this one: a wide picture in the tallest frame leaves about a third above and below."""
NEAR = 14.0
"""Pixels within this of the bar's colour are of it, grey levels: a coder's ripple."""
PLAIN = 0.985
"""Share of a bar's line that must be of its colour."""
BEGINS = 0.6
"""Share of the picture's first lines that must not be of the bar's colour, in one frame or another."""
FIRST_LINES = 4
"""px"""
UNEVEN = 0.06
"""How much two bars may differ, as a share of the side."""
SAME_COLOUR = 20.0
"""How much the colours of two bars may differ, grey levels."""

SEGMENTS = 24
"""Parts of a line that are looked at one by one."""
STANDING = 0.7
"""Share of the parts in which the step from a blurred bar to the picture must stand out."""
STEP_RATIO, STEP_MARGIN = 1.6, 1.5
BESIDE_PX = 10
SMOOTH_PX = 1.2
BLURRED = 0.5
"""Detail in a blurred bar at most, as a share of the picture's."""
LEAST_DETAIL = 0.3
"""Detail that a picture has at least, grey levels: a soft picture cannot be told from its blur."""


@dataclass(frozen=True)
class Bars:
    """Bars, and where the picture is."""

    kind: Kind
    content: Box
    """Left, top, right, bottom as shares of the frame."""


def find_bars(frames: npt.NDArray[np.uint8]) -> Bars | None:
    """Search [n, height, width, 3] RGB frames of one upload."""
    if not len(frames) or min(frames.shape[1:3]) < MIN_SIDE:
        return None
    chosen = np.unique(np.linspace(0, len(frames) - 1, min(MAX_FRAMES, len(frames))).round().astype(int))
    picture = np.ascontiguousarray(frames[chosen])
    height, width = picture.shape[1:3]
    grey = np.stack([cv2.cvtColor(one, cv2.COLOR_RGB2GRAY) for one in picture]).astype(np.float32)
    rows = _plain(picture) or _blurred(grey)
    inner = picture[:, rows[0] : rows[1]] if rows else picture
    columns = _plain(inner.transpose(0, 2, 1, 3)) or (None if rows else _blurred(grey.transpose(0, 2, 1)))
    if not rows and not columns:
        return None
    top, bottom = rows or (0, height)
    left, right = columns or (0, width)
    content = (
        round(left / width, 4),
        round(top / height, 4),
        round(right / width, 4),
        round(bottom / height, 4),
    )
    kind: Kind = "windowbox" if rows and columns else "letterbox" if rows else "pillarbox"
    return Bars(kind, content)


def _plain(picture: npt.NDArray[np.uint8]) -> tuple[int, int] | None:
    """Where the picture begins and ends along axis 1 of [n, lines, across, 3], between bars of one colour."""
    lines = picture.shape[1]
    most = int(MOST * lines)
    ends, colours = [], []
    for side in (picture[:, :most], picture[:, ::-1][:, :most]):
        colour = np.median(side[:, : max(2, int(LEAST * lines / 2))], axis=(0, 1, 2))
        away = np.abs(side.astype(np.int16) - colour.astype(np.int16)).max(axis=3)
        plain = (away <= NEAR).mean(axis=(0, 2)) >= PLAIN
        thick = int(np.argmin(plain)) if not plain.all() else most
        if thick < LEAST * lines or thick >= most:
            return None
        first = (away[:, thick : thick + FIRST_LINES] > NEAR).any(axis=(0, 1))
        if first.mean() < BEGINS:
            return None
        ends.append(thick)
        colours.append(colour)
    if abs(ends[0] - ends[1]) > UNEVEN * lines or float(np.abs(colours[0] - colours[1]).max()) > SAME_COLOUR:
        return None
    return ends[0], lines - ends[1]


def _blurred(grey: Floats) -> tuple[int, int] | None:
    """Where the picture begins and ends along axis 1 of luma [n, lines, across], between bars that are its own blur."""
    lines = grey.shape[1]
    low, high = max(BESIDE_PX, int(LEAST * lines)), int(MOST * lines)
    # Smoothed a little, so that a coder's ripple and rounding are no detail.
    smooth = [cv2.GaussianBlur(np.ascontiguousarray(one), (0, 0), SMOOTH_PX) for one in grey]
    looks = np.stack([np.abs(cv2.Laplacian(one, cv2.CV_32F)) for one in smooth])
    detail = np.asarray(looks.mean(axis=(0, 2)), np.float32)
    step = np.zeros(grey.shape[1:], np.float32)
    step[1:-1] = np.abs(grey[:, 2:] - grey[:, :-2]).mean(axis=0)
    edges = np.linspace(0, grey.shape[2], SEGMENTS + 1).astype(int)
    parts: Floats = np.asarray(np.add.reduceat(step, edges[:-1], axis=1) / np.diff(edges), np.float32)
    best: tuple[float, int, int] | None = None
    for first in range(low, high):
        # Bars around a centred picture; one px more or less for odd sides.
        for last in (lines - first - 1, lines - first, lines - first - 2):
            standing = min(_standing(parts, first), _standing(parts[::-1], lines - 1 - last))
            if standing < STANDING or (best is not None and standing <= best[0]):
                continue
            outside = np.concatenate([detail[2 : first - 2], detail[last + 3 : -2]])
            inside = float(detail[first + 2 : last - 1].mean())
            if inside >= LEAST_DETAIL and float(np.quantile(outside, 0.9)) <= BLURRED * inside:
                best = (standing, first, last + 1)
    return (best[1], best[2]) if best else None


def _standing(parts: Floats, line: int) -> float:
    """Share of the parts [lines, segments] in which the step at a line stands out from the lines before it.

    Beside it on the picture's side there may be any step; on the blurred side there is none.
    """
    at = parts[max(0, line - 1) : line + 2].max(axis=0)
    before = parts[max(0, line - BESIDE_PX) : max(1, line - 2)].mean(axis=0)
    return float((at > STEP_RATIO * before + STEP_MARGIN).mean())
