"""Finds a small picture that lies over a large one.

Its outline stands still, upright and level, sharp to a px, while what is in it and around it moves: a window or a
picture on a wall moves with its wall, or nothing moves at all. So lines are looked for in the steps that stand at one
place in most frames, and rectangles among the lines: along each side the line stands out all the way and ends where the
side ends; nothing goes on from the one side of it to the other; and inside there is a moving picture.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, islice

import cv2
import numpy as np
import numpy.typing as npt

Box = tuple[float, float, float, float]
Stack = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]

MAX_FRAMES = 10
"""Frames looked at, spread over the upload."""
MIN_FRAMES = 4
"""Fewer do not tell what stands from what moves."""
MIN_SIDE = 96
"""Smaller frames are not searched, px."""
WIDE, HIGH = (0.14, 0.62), (0.07, 0.62)
"""Width and height of an inset, as shares of the frame."""
AREA = (0.02, 0.30)
"""Area of an inset, as a share of the frame."""
ASPECT = (0.4, 2.6)
"""Width by height of an inset."""

STEP_RATIO, STEP_MARGIN = 1.7, 2.5
"""A px of a line stands out when its step is this many times the mean beside it, and by this many grey levels."""
MEAN_RATIO, MEAN_MARGIN = 1.9, 3.0
"""Or the mean of its steps over all frames is."""
BESIDE_PX = 10
STANDS_IN = 0.4
"""Quantile over the frames: a step must be as large in all but this share of them."""
RUN, LONGEST = 0.10, 0.7
"""A line stands out somewhere over a length of this share of the frame's side, in this share of it."""
MAX_LINES = 32
"""Lines each way that rectangles are made of, the longest first."""
MAX_RECTANGLES = 4000
"""Rectangles that are looked at: more are a grid, and a frame made to cost time."""
CORNER_PX, CORNER_SUPPORT = 20, 0.5
"""At three corners or more both lines stand out over this length, px, and this share of it."""
ROUND_PX = 4
"""What is not asked at a corner, px: it may be round."""
SUPPORT = 0.58
"""Share of each side of the rectangle that must stand out."""
MEAN_SUPPORT, STRICT_SUPPORT, STRICTEST_SUPPORT = 0.8, 0.92, 0.97
"""Mean over the sides; the second where one lies against the frame's edge, as windows are cut off by it, or goes on
beyond its ends; the third where two do."""
OPEN_SUPPORT, CUT_SUPPORT = (0.7, 0.84, 0.9, 2.0, 2.0), (0.92, 0.97, 2.0, 2.0)
"""The least mean, by how many sides go on, without and with a side against the frame's edge."""
APART, CUT_APART, OWN_MOVING = 0.2, 0.15, 0.5
"""A mean below those above will do where nothing goes on across any side by more than this correlation (the second
with a side against the frame's edge), and this share of the parts inside moves."""
ENDS = 0.08
"""Share of a side at each end that is not asked: corners may be round."""
BEYOND = 0.5
"""Share of what would prolong a side that may stand out at most, as far as half the side."""
LEAST_BEYOND_PX = 6
MOVES = 6.0
"""A part moves when it changes by more than this between looks, grey levels."""
MOVING = 0.2
"""Share of the inset's parts that must move."""
PART_PX = 8
INSIDE_PX = 4
"""How far from its line each side is asked whether the picture goes on, px."""
GOES_ON = 0.45
"""Correlation across a side from which on it does."""
QUIET = 4.0
"""Added to every variance, so that rounding is no motion, grey levels squared."""
EDGE_PX = 4
"""An inset so near to the frame's edge lies against it, px."""


@dataclass(frozen=True)
class Inset:
    """A picture in a picture."""

    score: float
    """0 to 1."""
    box: Box
    """Left, top, right, bottom as shares of the frame."""


@dataclass(frozen=True)
class _Rectangle:
    left: int
    top: int
    right: int
    bottom: int
    support: float
    sides: int
    """That do not lie against the frame's edge, and end where they should."""


def find_inset(frames: npt.NDArray[np.uint8]) -> Inset | None:
    """Search [n, height, width, 3] RGB frames of one upload."""
    if len(frames) < MIN_FRAMES or min(frames.shape[1:3]) < MIN_SIDE:
        return None
    chosen = np.unique(np.linspace(0, len(frames) - 1, min(MAX_FRAMES, len(frames))).round().astype(int))
    looks = [cv2.cvtColor(np.ascontiguousarray(frames[one]), cv2.COLOR_RGB2GRAY) for one in chosen]
    grey = np.asarray(looks, dtype=np.uint8)
    height, width = grey.shape[1:]
    upright = _standing(grey)
    level = _standing(np.ascontiguousarray(grey.transpose(0, 2, 1)))
    changes = np.abs(np.diff(grey.astype(np.float32), axis=0)).max(axis=0)
    best: tuple[float, _Rectangle] | None = None
    for found in _rectangles(upright, level, height, width):
        score = _confidence(found, grey, changes)
        if score is not None and (best is None or score > best[0]):
            best = (score, found)
    if best is None:
        return None
    score, found = best
    box = found.left / width, found.top / height, found.right / width, found.bottom / height
    left, top, right, bottom = (round(min(1.0, max(0.0, one)), 4) for one in box)
    return Inset(round(score, 4), (left, top, right, bottom))


def _standing(grey: Stack) -> npt.NDArray[np.int32]:
    """Of luma [n, along, across]: sums [along + 1, across] from the start on of the px whose step across stands out."""
    steps = np.zeros(grey.shape, np.float32)
    for one, step in zip(grey, steps, strict=True):
        step[:, 1:-1] = cv2.absdiff(one[:, 2:], one[:, :-2])
    lasting = np.sort(steps, axis=0)[int(STANDS_IN * (len(steps) - 1))]
    beside = cv2.blur(lasting, (2 * BESIDE_PX + 1, 1))
    mean = steps.mean(axis=0)
    around = cv2.blur(mean, (2 * BESIDE_PX + 1, 1))
    either = (lasting > STEP_RATIO * beside + STEP_MARGIN) | (mean > MEAN_RATIO * around + MEAN_MARGIN)
    stands = either.astype(np.uint8)
    stands = cv2.dilate(stands, np.ones((1, 3), np.uint8))  # a line between two px is in either
    sums = np.zeros((stands.shape[0] + 1, stands.shape[1]), np.int32)
    np.cumsum(stands, axis=0, out=sums[1:])
    return sums


def _lines(sums: npt.NDArray[np.int32]) -> list[int]:
    """Where across the longest lines are, in order."""
    along = sums.shape[0] - 1
    run = max(8, int(RUN * along))
    longest = (sums[run:] - sums[:-run]).max(axis=0) / run
    total = sums[-1].astype(np.float64) / along + longest
    found: list[int] = []
    for line in np.argsort(-total, kind="stable"):
        if longest[line] < LONGEST or len(found) >= MAX_LINES:
            break
        if all(abs(int(line) - other) > 2 for other in found):
            found.append(int(line))
    return sorted(found)


class _Lines:
    """Lines one way, with the frame's two edges as the first and the last, and how much of each stands out."""

    def __init__(self, sums: npt.NDArray[np.int32]) -> None:
        self.along, self.across = sums.shape[0] - 1, sums.shape[1]
        inner = [one for one in _lines(sums) if EDGE_PX < one < self.across - EDGE_PX]
        self.at = np.array([0, *inner, self.across])
        self.sums = sums[:, np.minimum(self.at, self.across - 1)]
        # The frame's edge is a line all along.
        self.sums[:, [0, -1]] = np.arange(self.along + 1)[:, None]

    def support(self, line: int, start: int, end: int) -> float:
        """Share of what lies between two places that stands out."""
        start, end = max(0, start), min(self.along, end)
        return float(self.sums[end, line] - self.sums[start, line]) / max(1, end - start)

    def starts(self, places: npt.NDArray[np.intp]) -> npt.NDArray[np.bool_]:
        """[places, lines] whether a line stands out right after each place; `ends`: right before it."""
        return self._near(places + ROUND_PX, places + ROUND_PX + CORNER_PX)

    def ends(self, places: npt.NDArray[np.intp]) -> npt.NDArray[np.bool_]:
        """See `starts`."""
        return self._near(places - ROUND_PX - CORNER_PX, places - ROUND_PX)

    def _near(self, low: npt.NDArray[np.intp], high: npt.NDArray[np.intp]) -> npt.NDArray[np.bool_]:
        low, high = np.clip(low, 0, self.along), np.clip(high, 0, self.along)
        found = self.sums[high] - self.sums[low]
        return np.asarray((found >= CORNER_SUPPORT * (high - low)[:, None]) & (high > low)[:, None])

    def side(self, line: int, start: int, end: int) -> tuple[float, bool]:
        """Share of a side that stands out, and whether the line goes on beyond its ends."""
        length = end - start
        trim = int(ENDS * length)
        beyond = ((start - length // 2, start - 2), (end + 2, end + length // 2))
        goes_on = any(
            min(self.along, after) - max(0, before) >= LEAST_BEYOND_PX and self.support(line, before, after) > BEYOND
            for before, after in beyond
        )
        return self.support(line, start + trim, end - trim), goes_on


def _rectangles(
    upright: npt.NDArray[np.int32], level: npt.NDArray[np.int32], height: int, width: int
) -> Iterator[_Rectangle]:
    """Rectangles with their corners, at most one side of which lies against the frame's edge."""
    columns, rows = _Lines(upright), _Lines(level)
    down, up = columns.starts(rows.at), columns.ends(rows.at)  # [rows, columns]
    rightwards, leftwards = rows.starts(columns.at).T, rows.ends(columns.at).T
    corners = down & rightwards, down & leftwards, up & rightwards, up & leftwards
    limits = [one * width for one in WIDE], [one * height for one in HIGH]
    candidates = _cornered(corners, columns.at, rows.at, limits)
    for top, left, bottom, right in islice(candidates, MAX_RECTANGLES):
        x0, x1, y0, y1 = columns.at[left], columns.at[right], rows.at[top], rows.at[bottom]
        wide, high = (x1 - x0) / width, (y1 - y0) / height
        if not AREA[0] <= wide * high <= AREA[1] or not ASPECT[0] <= (x1 - x0) / (y1 - y0) <= ASPECT[1]:
            continue
        sides = [columns.side(one, y0, y1) for one in (left, right) if 0 < one < len(columns.at) - 1]
        sides += [rows.side(one, x0, x1) for one in (top, bottom) if 0 < one < len(rows.at) - 1]
        support = float(np.mean([one for one, _ in sides])) if sides else 0.0
        on = sum(goes_on for _, goes_on in sides)
        if len(sides) < 3 or min(one for one, _ in sides) < SUPPORT:
            continue
        # Lines of a ground that stands still may by chance prolong a side; hardly of one that is not there.
        needed = OPEN_SUPPORT if len(sides) == 4 else CUT_SUPPORT
        if support >= needed[on]:
            yield _Rectangle(int(x0), int(y0), int(x1), int(y1), support, len(sides) - on)


def _cornered(
    corners: tuple[npt.NDArray[np.bool_], ...],
    columns: npt.NDArray[np.intp],
    rows: npt.NDArray[np.intp],
    limits: tuple[Sequence[float], Sequence[float]],
) -> Iterator[tuple[int, int, int, int]]:
    """Top, left, bottom and right lines of rectangles with three corners of four or more, within the limits of size.

    `corners`: left top, right top, left bottom, right bottom, each [rows, columns].
    """
    left_top, right_top, left_bottom, right_bottom = (one.astype(np.int8) for one in corners)
    (narrowest, widest), (lowest, highest) = limits
    for top, bottom in combinations(range(len(rows)), 2):
        if not lowest <= rows[bottom] - rows[top] <= highest:
            continue
        lefts = left_top[top] + left_bottom[bottom]
        rights = right_top[top] + right_bottom[bottom]
        for left in np.flatnonzero(lefts):
            wide = columns - columns[left]
            for right in np.flatnonzero((rights >= 3 - lefts[left]) & (wide >= narrowest) & (wide <= widest)):
                yield top, int(left), bottom, int(right)


def _confidence(found: _Rectangle, grey: Stack, changes: Floats) -> float | None:
    """Score of a rectangle that holds a moving picture of its own; None: it does not."""
    height, width = changes.shape
    inner = changes[found.top + 2 : found.bottom - 2, found.left + 2 : found.right - 2]
    parts = cv2.resize(
        inner, (max(1, inner.shape[1] // PART_PX), max(1, inner.shape[0] // PART_PX)), interpolation=cv2.INTER_AREA
    )
    moving = float((parts > MOVES).mean())
    if moving < MOVING:
        return None
    kinship = []
    for line, low, high, across in (
        (found.left, found.top, found.bottom, True),
        (found.right, found.top, found.bottom, True),
        (found.top, found.left, found.right, False),
        (found.bottom, found.left, found.right, False),
    ):
        size = width if across else height
        if INSIDE_PX <= line < size - INSIDE_PX:
            stack = grey if across else grey.transpose(0, 2, 1)
            kinship.append(_kinship(stack[:, low:high, line - INSIDE_PX], stack[:, low:high, line + INSIDE_PX - 1]))
    if not kinship or max(kinship) > GOES_ON:
        return None
    apart = APART if len(kinship) == 4 else CUT_APART
    strict = (2.0, 2.0, 2.0, STRICT_SUPPORT, MEAN_SUPPORT)[found.sides]
    if found.support < strict and (max(kinship) > apart or moving < OWN_MOVING):
        return None
    alien = 1.0 - float(np.mean(np.maximum(kinship, 0.0)))
    return 0.5 * found.support + 0.2 * alien + 0.1 * min(1.0, moving / 0.6) + 0.05 * found.sides


def _kinship(one: Stack, other: Stack) -> float:
    """The higher of two correlations between lines [n, along]: of their detail, and of their change over time."""
    first, second = one.astype(np.float32), other.astype(np.float32)
    correlations = []
    for a, b in (
        (first - cv2.blur(first, (31, 1)), second - cv2.blur(second, (31, 1))),
        (np.diff(first, axis=0), np.diff(second, axis=0)),
    ):
        quiet = QUIET * a.size
        correlations.append(float((a * b).sum() / np.sqrt(((a * a).sum() + quiet) * ((b * b).sum() + quiet))))
    return max(correlations)
