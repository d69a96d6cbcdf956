"""YOLOX-Nano: which of the 80 COCO classes are in a frame, how many, how large.

Ge et al. 2021, "YOLOX: Exceeding YOLO Series in 2021" (arXiv 2107.08430). 25.8 COCO mAP as its authors publish it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch

from ..serving.graph_encoder import Detector
from ..serving.letterbox import Letterboxed, suppress
from .coco import CLASSES

LONG_SIDE = 416
"""px"""
GROUND = 114
"""Grey of the padding, as in training."""
STRIDES = (8, 16, 32)
"""px a cell, of the three maps."""
FOUND_AT = 0.25
"""Confidence from which a box is told of."""
COUNTED_AT = 0.4
"""Confidence from which it is counted."""
OVERLAP = 0.5
"""Two boxes of a class that overlap by more are one."""
MAX_BOXES = 200
"""Best boxes of a frame looked at: hundreds of birds are many, however many."""

Row = npt.NDArray[np.float32]


class ObjectsEncoder(Detector):
    """`models.protocol.Encoder` of a sub-sample of the frames: embeddings [n, 240], the confidence, the count and the
    largest area share of each COCO class (see `models.objects.coco`); scores [n, 80], the confidences."""

    name = "objects"
    version = "yolox-nano@1"
    weights = "yolox-nano"
    long_side, ground = LONG_SIDE, GROUND
    columns, scored = 3 * len(CLASSES), len(CLASSES)

    def look(self, frames: Sequence[Letterboxed], batch: torch.Tensor) -> list[Row]:
        """What is in each frame, [240]."""
        maps = self.network(batch.flip(3).permute(0, 3, 1, 2).float())  # BGR
        cells = torch.cat([one.flatten(2) for one in maps], 2).transpose(1, 2).float().cpu().numpy()
        grid = _grid(frames[0].canvas.shape[:2])
        return [summary(*boxes_of(cell, grid), frame) for frame, cell in zip(frames, cells, strict=True)]


def _grid(size: tuple[int, ...]) -> Row:
    """[cells, 3] column, row and stride of each cell of the three maps, in their order."""
    parts = []
    for stride in STRIDES:
        rows, columns = np.mgrid[: size[0] // stride, : size[1] // stride]
        parts.append(np.stack([columns.ravel(), rows.ravel(), np.full(rows.size, stride)], axis=1))
    return np.concatenate(parts).astype(np.float32)


def boxes_of(cells: Row, grid: Row) -> tuple[Row, npt.NDArray[np.intp], Row]:
    """Boxes [k, 4] (left, top, right, bottom, px), classes [k] and confidences [k] of [cells, 85], suppressed."""
    scores = cells[:, 4:5] * cells[:, 5:]
    where, kinds = np.nonzero(scores >= FOUND_AT)
    confidence = scores[where, kinds]
    best = np.argsort(-confidence, kind="stable")[:MAX_BOXES]
    where, kinds, confidence = where[best], kinds[best], confidence[best]
    stride = grid[where, 2:]
    centre = (cells[where, :2] + grid[where, :2]) * stride
    half = np.exp(np.minimum(cells[where, 2:4], 8.0)) * stride / 2
    boxes = np.concatenate([centre - half, centre + half], axis=1)
    # Boxes of different classes never meet when each class has a plane of its own.
    apart = boxes + (kinds[:, None] * 10_000.0).astype(np.float32)
    kept = suppress(apart, confidence, OVERLAP)
    return boxes[kept], kinds[kept], confidence[kept]


def summary(boxes: Row, kinds: npt.NDArray[np.intp], confidence: Row, frame: Letterboxed) -> Row:
    """[240]: the highest confidence, the count and the largest area share of each class."""
    row = np.zeros((3, len(CLASSES)), np.float32)
    limits = np.array([frame.width, frame.height], np.float32)
    corners = np.clip(boxes.reshape(-1, 2, 2), 0.0, limits)
    shares = np.prod(corners[:, 1] - corners[:, 0], axis=1) / float(np.prod(limits))
    for kind, score, share in zip(kinds, confidence, shares, strict=True):
        row[0, kind] = max(row[0, kind], score)
        row[1, kind] += score >= COUNTED_AT
        row[2, kind] = max(row[2, kind], share)
    return row.reshape(-1)
