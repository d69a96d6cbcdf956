"""Finds the straight seam that parts a frame into two panes: a duet side by side or one above the other.

At a seam two unrelated pictures meet. So, at one column (or row) near the middle and nowhere beside it,
- what is left of it does not go with what is right of it, in detail and in change, while a few px further everything
  goes with its neighbour;
- the step across it stands along the whole height, in every part of it, exactly straight;
- and there is one such line, or two around a plain divider, and nothing goes on behind it. A pole, a door, a caption
  bar have two edges; a mirrored picture has no step at its middle; a shadow's edge is soft.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
import numpy.typing as npt

from .kinship import DETAIL_PX, SEGMENTS, goes_on
from .kinship import kinship as kinship_of

Stack = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]
Box = tuple[float, float, float, float]

MAX_FRAMES = 10
"""Frames looked at, spread over the upload."""
MIN_FRAMES = 2
"""Fewer show no motion: too little to tell a seam from a wall's corner."""
MIN_SIDE = 48
"""Smaller content is not searched, px."""

MIDDLE = (0.43, 0.57)
"""Where a seam may be, as a share of the side; panes of a duet are about as large."""
WINDOW = (0.30, 0.70)
"""What a seam is compared with, as a share of the side."""
GAPS = (2, 4)
"""Distances over which neighbours are compared, px: the encoder and the scaling smear a seam over one or two."""
MIN_KINSHIP = 0.2
"""Below this neighbours are too unlike everywhere for their unlikeness to tell anything."""
STEP_RATIO, STEP_MARGIN = 1.5, 1.0
"""In a part the step stands out when it is this many times the steps beside it, and by this many grey levels."""
BESIDE_PX = 14
MIN_STANDING = 0.88
"""Share of the parts in which the step must stand out."""
MIN_BREAK = 0.62
"""Share of the neighbours' kinship that must be lost at the seam."""
MIN_TYPICAL_STEP = 1.7
"""Median over the parts of step over steps beside."""
CLEAR_STANDING, CLEAR_BREAK, CLEAR_STEP, CLEAREST_STEP = 0.72, 0.9, 1.9, 12.0
"""Where kinship and step are clearer than they must be, the step may be missing in more parts: two skies or two shadows
meet there, or text lies over it."""
SHARP_STANDING, SHARP_STEP = 0.95, 6.0
"""A step so sharp and so complete is a seam whatever kinship says: a black pane has no kinship to lose."""
LEAST_BESIDE = 0.4
"""Share of the parts that must be left when those beside missing ones are not asked."""
END_PARTS = 3
"""Parts at either end of a seam under which text has no place."""
MIN_CONTENT = 3.0
"""Standard deviation of a pane, grey levels: a black or plain half is no pane."""

MAX_DIVIDER = 0.035
"""Widest line between panes, as a share of the side."""
PLAIN_DIVIDER = 3.0
"""A divider's own standard deviation along the seam and over time, grey levels; a pole has more."""
HAIRLINE_PX = 6
"""A sharp divider no wider than this need not be plain, px."""
RIVAL_SHARE, RIVAL_STANDING, RIVAL_STEP, RIVAL_TYPICAL = 0.7, 0.7, 1.2, 0.25
"""Another line is a rival when it breaks the kinship by at least this share of what the best does, and its step stands
out in this share of the parts, typically this many times the steps beside, and this share of what the best does: a
caption bar leaves the ends free."""
RIVAL_REACH = 0.16
"""How far from the seam a rival matters, as a share of the side: wider bars are panes of their own."""

BAR_LEVEL = 24
"""Rows and columns never brighter are black bars, grey levels."""


@dataclass(frozen=True)
class Split:
    """A frame in two panes."""

    kind: Literal["duet_left_right", "duet_up_down"]
    score: float
    """0 to 1."""
    panes: tuple[Box, Box]
    """Left, top, right, bottom as shares of the frame."""


@dataclass(frozen=True)
class _Seam:
    score: float
    first: float
    """End of the first pane, px across."""
    second: float
    """Start of the second pane, px across."""


@dataclass(frozen=True)
class Search:
    """What was found."""

    split: Split | None
    doubt: float
    """0 to 1: how much of a seam the clearest line was, split or not."""


def find_split(frames: npt.NDArray[np.uint8]) -> Search:
    """Search [n, height, width, 3] RGB frames of one upload for a seam. With a single frame the doubt is one half."""
    if len(frames) < MIN_FRAMES:
        return Search(None, 0.5)
    chosen = np.unique(np.linspace(0, len(frames) - 1, min(MAX_FRAMES, len(frames))).round().astype(int))
    looks = [cv2.cvtColor(np.ascontiguousarray(frames[index]), cv2.COLOR_RGB2GRAY) for index in chosen]
    grey = np.asarray(looks, dtype=np.uint8)
    left, top, right, bottom = _content(grey)
    content = grey[:, top:bottom, left:right]
    upright, upright_doubt = _find_seam(content)
    level, level_doubt = _find_seam(np.ascontiguousarray(content.transpose(0, 2, 1)))
    height, width = grey.shape[1:]
    sides = left / width, top / height, right / width, bottom / height
    split = None
    if upright is not None and (level is None or upright.score >= level.score):
        ends = (left + upright.first) / width, (left + upright.second) / width
        panes = _box(sides[0], sides[1], ends[0], sides[3]), _box(ends[1], sides[1], sides[2], sides[3])
        split = Split("duet_left_right", upright.score, panes)
    elif level is not None:
        ends = (top + level.first) / height, (top + level.second) / height
        panes = _box(sides[0], sides[1], sides[2], ends[0]), _box(sides[0], ends[1], sides[2], sides[3])
        split = Split("duet_up_down", level.score, panes)
    return Search(split, max(upright_doubt, level_doubt))


def _box(left: float, top: float, right: float, bottom: float) -> Box:
    return round(left, 4), round(top, 4), round(right, 4), round(bottom, 4)


def _content(grey: Stack) -> tuple[int, int, int, int]:
    """Left, top, right, bottom of what is not a black bar, px."""
    height, width = grey.shape[1:]
    brightest = grey.max(axis=0)
    columns = np.flatnonzero(brightest.max(axis=0) > BAR_LEVEL)
    rows = np.flatnonzero(brightest.max(axis=1) > BAR_LEVEL)
    if columns.size == 0 or rows.size == 0:
        return 0, 0, width, height
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def _find_seam(stack: Stack) -> tuple[_Seam | None, float]:
    """The seam that runs along axis 1 of [n, along, across] luma, and how much of one the clearest line was."""
    _, along, across = stack.shape
    if min(along, across) < MIN_SIDE:
        return None, 0.0
    low, high = int(WINDOW[0] * across), int(WINDOW[1] * across)
    window = np.ascontiguousarray(stack[:, :, low:high])
    break_at = _breaks(window)
    steps = _steps(window)
    middle = slice(max(0, int(MIDDLE[0] * across) - low), int(MIDDLE[1] * across) - low + 1)
    lines = []
    for index in range(middle.start, min(middle.stop, steps.shape[1])):
        place, standing, typical = _standing(steps, index)
        broken = float(break_at[max(0, index - 2) : index + 3].max())
        if broken >= MIN_BREAK or _sharp(standing, typical):
            lines.append((standing * min(typical, 4.0), standing, typical, place, broken))
    if not lines:
        return None, 0.0
    # The clearest step. Where little moves, kinship breaks by chance in many places, but no step stands there.
    _, standing, typical, place, broken = max(lines)
    doubt = min(1.0, broken) * standing
    clear = standing >= CLEAR_STANDING and (
        (broken >= CLEAR_BREAK and typical >= CLEAR_STEP)
        or (broken >= MIN_BREAK and typical >= CLEAREST_STEP and _to_its_ends(_stands(steps, place)))
    )
    if not clear and not _sharp(standing, typical) and (standing < MIN_STANDING or typical < MIN_TYPICAL_STEP):
        return None, doubt
    edges = _edges(break_at, steps, place, int(RIVAL_REACH * across))
    first, second = edges[0], edges[-1]
    hairline = second - first <= HAIRLINE_PX and _sharp(standing, typical)
    if second - first > MAX_DIVIDER * across + 2:
        return None, doubt
    if not _parts(stack, low + first, low + second, _stands(steps, place), hairline):
        return None, doubt
    return _Seam(_confidence(broken, standing, typical), low + first + 0.5, low + second + 0.5), doubt


def _to_its_ends(stands: npt.NDArray[np.bool_]) -> bool:
    """Whether the step stands at both ends of the line: the edge of a text's plate leaves them free."""
    return bool(stands[:END_PARTS].all() and stands[-END_PARTS:].all())


def _sharp(standing: float, typical: float) -> bool:
    return standing >= SHARP_STANDING and typical >= SHARP_STEP


def _parts(stack: Stack, first: int, second: int, stands: npt.NDArray[np.bool_], hairline: bool) -> bool:
    """Whether what lies between two columns parts two pictures: plain, with a picture on either side, and no pole.

    `stands`: the parts in which the step stands out; in the others, text may lie over it. `hairline`: scaling has
    smeared all of the divider.
    """
    divider = stack[:, :, first + 2 : second - 1]
    # The plainest of its columns: the others may be smeared by scaling.
    if not hairline and divider.shape[2] and float(divider.std(axis=(0, 1)).min()) > PLAIN_DIVIDER:
        return False
    panes = stack[:, :, : max(1, first - 1)], stack[:, :, second + 2 :]
    if any(not pane.size or float(pane.std(axis=(0, 1)).mean()) < MIN_CONTENT for pane in panes):
        return False
    # Next to text over the seam, its plate's edges go on across it.
    reach = int(np.ceil(DETAIL_PX * len(stands) / (2 * stack.shape[1])))
    missing = np.convolve(~stands, np.ones(2 * reach + 1), mode="same")
    beside = missing < 0.5
    return not goes_on(stack, first, second, beside if beside.mean() >= LEAST_BESIDE else stands)


def _confidence(broken: float, standing: float, typical: float) -> float:
    """Score of a seam that has passed every bar: 0.75 at the bars, 1 where all is clear."""
    clear = (
        (min(1.0, broken) - MIN_BREAK) / (1.0 - MIN_BREAK),
        max(0.0, (standing - MIN_STANDING) / (1.0 - MIN_STANDING)),
        min(1.0, (typical - MIN_TYPICAL_STEP) / 2.0),
    )
    return round(0.75 + 0.25 * float(np.mean(clear)), 4)


def _breaks(window: Stack) -> Floats:
    """Share of the neighbours' kinship that is lost at each place between columns, [across] centred on a column."""
    frames = window.astype(np.float32)
    detail = np.stack([frame - cv2.blur(frame, (1, DETAIL_PX)) for frame in frames])
    motion = np.diff(frames, axis=0)
    best = np.zeros(window.shape[2], dtype=np.float32)
    for gap in GAPS:
        lost, weight = np.zeros(best.size - gap, dtype=np.float32), 0.0
        for signal in (detail, motion):
            kept = kinship_of(signal, gap)
            usual = float(np.median(kept))
            if usual >= MIN_KINSHIP:
                lost += np.clip(1.0 - kept / usual, 0.0, 1.2)
                weight += 1.0
        if weight:
            centre = gap // 2
            best[centre : centre + lost.size] = np.maximum(best[centre : centre + lost.size], lost / weight)
    return best


def _steps(window: Stack) -> Floats:
    """Mean step over each column, [segments, across]; the borders have none."""
    difference = np.zeros(window.shape[1:], dtype=np.float32)
    for frame in window:
        difference[:, 1:-1] += cv2.absdiff(frame[:, 2:], frame[:, :-2])
    edges = np.linspace(0, window.shape[1], SEGMENTS + 1).astype(int)
    sums = np.add.reduceat(difference, edges[:-1], axis=0)
    return np.asarray(sums / (np.diff(edges)[:, None] * len(window)), dtype=np.float32)


def _standing(steps: Floats, index: int) -> tuple[int, float, float]:
    """The column of the step at `index`, in how many parts it stands out, and how far it typically does."""
    low, high = max(0, index - 2), min(steps.shape[1], index + 3)
    place = low + int(np.argmax(np.median(steps[:, low:high], axis=0)))
    step, beside = _step_and_beside(steps, place)
    return place, float(_stands(steps, place).mean()), float(np.median(step / (beside + 1.0)))


def _stands(steps: Floats, place: int) -> npt.NDArray[np.bool_]:
    """[segments] whether the step at a column stands out in each part."""
    step, beside = _step_and_beside(steps, place)
    return np.asarray(step > STEP_RATIO * beside + STEP_MARGIN)


def _step_and_beside(steps: Floats, place: int) -> tuple[Floats, Floats]:
    """[segments] each. The same line in every part, one px more or less: a leaning edge leaves it."""
    step = steps[:, max(0, place - 1) : place + 2].max(axis=1)
    beside = np.median(steps[:, max(0, place - BESIDE_PX) : place + BESIDE_PX + 1], axis=1)
    return step, beside


def _edges(break_at: Floats, steps: Floats, place: int, reach: int) -> list[int]:
    """All the lines within reach that are as much of a seam as the one at `place`, in order."""
    found = [place]
    least = RIVAL_SHARE * float(break_at[max(0, place - 2) : place + 3].max())
    # A ground that stands still has lines of its own: next to a clear seam they are nothing.
    least_step = max(RIVAL_STEP, RIVAL_TYPICAL * _standing(steps, place)[2])
    for index in np.flatnonzero(break_at >= least):
        if abs(index - place) > reach:
            continue
        rival, standing, typical = _standing(steps, int(index))
        if standing >= RIVAL_STANDING and typical >= least_step and all(abs(rival - other) > 2 for other in found):
            found.append(rival)
    return sorted(found)
