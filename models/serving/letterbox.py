"""A frame scaled to a detector's size, its sides padded to what the network can halve."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

STRIDE = 32
"""Sides are multiples of it, px. Not a square: a tall frame's grey bars would cost as much as its picture."""


@dataclass(frozen=True)
class Letterboxed:
    """A frame at the left top of a canvas."""

    canvas: npt.NDArray[np.uint8]
    """[h, w, 3]"""
    height: int
    """Of the picture in it, px."""
    width: int


def letterbox(frame: npt.NDArray[np.uint8], long_side: int, ground: int) -> Letterboxed:
    """Scale [h, w, 3] so that its long side is `long_side` px, on a canvas of plain `ground`."""
    scale = long_side / max(frame.shape[:2])
    height, width = (max(1, round(side * scale)) for side in frame.shape[:2])
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    scaled = cv2.resize(np.ascontiguousarray(frame), (width, height), interpolation=how)
    canvas = np.full((-(-height // STRIDE) * STRIDE, -(-width // STRIDE) * STRIDE, 3), ground, np.uint8)
    canvas[:height, :width] = scaled
    return Letterboxed(canvas, height, width)


def suppress(boxes: npt.NDArray[np.float32], scores: npt.NDArray[np.float32], overlap: float) -> npt.NDArray[np.intp]:
    """Non-maximum suppression: indices of the boxes [n, 4] (left, top, right, bottom) that stay, best first."""
    order = np.argsort(-scores, kind="stable")
    areas = np.prod(np.maximum(boxes[:, 2:] - boxes[:, :2], 0.0), axis=1)
    kept = []
    while len(order):
        best, rest = order[0], order[1:]
        kept.append(best)
        inner = np.minimum(boxes[rest, 2:], boxes[best, 2:]) - np.maximum(boxes[rest, :2], boxes[best, :2])
        common = np.prod(np.maximum(inner, 0.0), axis=1)
        order = rest[common <= overlap * (areas[rest] + areas[best] - common)]
    return np.array(kept, dtype=np.intp)
