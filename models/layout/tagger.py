"""How the frame is divided, and whether it is a moving picture at all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from models.layout.bars import find_bars
from models.layout.inset import find_inset
from models.layout.screen import find_screen
from models.layout.split import Box, find_split
from models.protocol import Evidence

STILLNESS = "stillness"
"""The observation that notes `standing_share`, under `share`."""
STILL_SIZE = (32, 32)
"""Frames are compared at this size, px, so that a coder's ripple is averaged away."""
STILL_STEP = 3.0
"""A part of the picture that changes by more than this has moved, grey levels."""
STILL_SHARE = 0.95
"""Share of the neighbouring frames of a shot that must be alike for a slideshow."""
CHANGE_SHARE = 0.5
"""Without shots (a slide faded into the next): at most this share of all neighbours may differ."""
EMPTY_CONTRAST = 4.0
"""Frames whose standard deviation never passes this are a blank screen, grey levels."""
MAX_COMPARED = 64
"""Frames compared at most."""
WHOLE: Box = (0.0, 0.0, 1.0, 1.0)
"""All of the frame."""


class LayoutTagger:
    """The document's `layout`: single, duet left-right, duet up-down, picture in picture, slideshow or recording of a
    screen, and bars around it. Reads the sampled frames only. Of slides and screens, panes are not looked for."""

    name = "layout"
    section = "layout"
    version = "seams@4"
    """4: screen recordings."""
    encoders: tuple[str, ...] = ()

    def tag(self, evidence: Evidence) -> dict[str, Any] | None:
        """The section; None without a picture, `kind` null on a blank screen."""
        frames = evidence.frames
        if not len(frames):
            return None
        looks = _looks(frames)
        if float(max(look.std() for look in looks)) < EMPTY_CONTRAST:
            return {"kind": None, "score": 0.0, "panes": [], "bars": None, "content": None}
        bars = find_bars(frames)
        content = bars.content if bars is not None else WHOLE
        section = {
            "bars": bars.kind if bars is not None else None,
            "content": list(content) if bars is not None else None,
        }
        standing = standing_share(evidence)
        height, width = frames.shape[1:3]
        left, top, right, bottom = (round(at * side) for at, side in zip(content, (width, height) * 2, strict=True))
        inner = frames[:, top:bottom, left:right]
        screen = find_screen(inner)
        if screen is not None:
            return {"kind": "screen_recording", "score": screen.score, "panes": [], **section}
        if standing >= STILL_SHARE:
            return {"kind": "slideshow", "score": round(standing, 4), "panes": [], **section}
        search, inset = find_split(inner), find_inset(inner)
        if search.split is not None and (inset is None or search.split.score >= inset.score):
            kind, score, boxes = str(search.split.kind), search.split.score, list(search.split.panes)
        elif inset is not None:
            kind, score, boxes = "picture_in_picture", inset.score, [WHOLE, inset.box]
        else:
            return {"kind": "single", "score": round(1.0 - 0.5 * search.doubt, 4), "panes": [], **section}
        panes = [{"box": list(_within(box, content)), "topics": []} for box in boxes]
        return {"kind": kind, "score": score, "panes": panes, **section}


def _within(box: Box, content: Box) -> Box:
    """A box in shares of the content, in shares of the frame."""
    wide, high = content[2] - content[0], content[3] - content[1]
    left, right = (round(content[0] + wide * at, 4) for at in (box[0], box[2]))
    top, bottom = (round(content[1] + high * at, 4) for at in (box[1], box[3]))
    return left, top, right, bottom


def standing_share(evidence: Evidence) -> float:
    """How much of the upload stands still within its shots: 1 for a picture, near 1 for a slideshow, 0 without any.

    What was measured before and noted under `STILLNESS` is taken from there: kept evidence has no frames.
    """
    measured = evidence.observations.get(STILLNESS)
    if measured is not None:
        return float(measured["share"])
    if evidence.still:
        return 1.0
    if not len(evidence.frames):
        return 0.0
    times = _chosen(evidence.frame_times_s, len(evidence.frames))
    return still_share(_looks(evidence.frames), times, evidence.shots) or 0.0


def still_share(
    looks: npt.NDArray[np.float32], times_s: npt.NDArray[np.float64], shots: Sequence[tuple[float, float]]
) -> float | None:
    """Share of neighbouring looks [n, h, w] within shots that are alike; None if there are too few to say."""
    if len(looks) < 3:
        return None
    alike = np.abs(np.diff(looks, axis=0)).max(axis=(1, 2)) < STILL_STEP
    starts = np.array([start for start, _ in shots], dtype=np.float64)
    shot = np.searchsorted(starts, np.asarray(times_s) + 1e-6, side="right")
    within = np.diff(shot) == 0
    if within.sum() >= 2 and alike[within].all():
        return 1.0
    # Slides that fade, or cuts that were not found: a few changes between stretches that stand still, two in a row
    # where a look fell into a fade.
    changed = ~alike
    long_run = changed[:-2] & changed[1:-1] & changed[2:]
    if len(looks) >= 6 and changed.mean() <= CHANGE_SHARE and not long_run.any():
        return 0.96
    return float(alike[within].mean()) * STILL_SHARE if within.any() else None


def _chosen(times_s: npt.NDArray[np.float64], count: int) -> npt.NDArray[np.float64]:
    return np.asarray(times_s)[_indices(count)]


def _indices(count: int) -> npt.NDArray[np.int64]:
    return np.unique(np.linspace(0, count - 1, min(count, MAX_COMPARED)).round().astype(np.int64))


def _looks(frames: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """Small grey looks [n, h, w] at frames spread over the upload."""
    looks = []
    for index in _indices(len(frames)):
        small = cv2.resize(np.ascontiguousarray(frames[index]), STILL_SIZE, interpolation=cv2.INTER_AREA)
        looks.append(cv2.cvtColor(small, cv2.COLOR_RGB2GRAY).astype(np.float32))
    return np.stack(looks)
