"""Faces, counted: where there is one, never whose it is.

Bazarevsky et al. 2019, "BlazeFace: Sub-millisecond Neural Face Detection on Mobile GPUs" (arXiv 1907.05047), in
MediaPipe's full-range variant.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch

from ..serving.graph_encoder import Detector
from ..serving.letterbox import Letterboxed, suppress

LONG_SIDE = 192
"""px"""
STRIDE = 4
"""px a cell"""
FOUND_AT = 0.6
"""Probability from which a box is a face."""
OVERLAP = 0.3
"""Two boxes that overlap by more are one face."""
MAX_FACES = 100
SMALLEST = 0.02
"""A face's side at least, as a share of the frame's long side: what is smaller is a few px."""

Row = npt.NDArray[np.float32]
COLUMNS = 3
"""Highest probability, count, area share of the largest."""


class FacesEncoder(Detector):
    """`models.protocol.Encoder` of a sub-sample of the frames: embeddings [n, 3], the highest probability of a face,
    the count, the area share of the largest; scores [n, 1], the probability."""

    name = "faces"
    version = "face-full-range@1"
    weights = "face-full-range"
    long_side, ground = LONG_SIDE, 0
    columns, scored = COLUMNS, 1

    def look(self, frames: Sequence[Letterboxed], batch: torch.Tensor) -> list[Row]:
        """The faces of each frame, [3]."""
        pixels = batch.permute(0, 3, 1, 2).float().div_(127.5).sub_(1.0)
        boxes, logits = (one.float().cpu().numpy() for one in self.network(pixels))
        found = zip(frames, boxes, logits, strict=True)
        return [summary(*faces_of(box, logit[0]), frame) for frame, box, logit in found]


def faces_of(regressed: Row, logits: Row) -> tuple[Row, Row]:
    """Boxes [k, 4] (left, top, right, bottom, px) and probabilities [k] of maps [16, h, w] and [h, w], suppressed."""
    probabilities = 0.5 * (1.0 + np.tanh(0.5 * logits))
    rows, columns = np.nonzero(probabilities >= FOUND_AT)
    scores = probabilities[rows, columns]
    best = np.argsort(-scores, kind="stable")[:MAX_FACES]
    rows, columns, scores = rows[best], columns[best], scores[best]
    found = regressed[:4, rows, columns].T
    centre = np.stack([columns + 0.5, rows + 0.5], axis=1) * STRIDE + found[:, :2]
    boxes = np.concatenate([centre - found[:, 2:] / 2, centre + found[:, 2:] / 2], axis=1).astype(np.float32)
    kept = suppress(boxes, scores, OVERLAP)
    return boxes[kept], scores[kept]


def summary(boxes: Row, scores: Row, frame: Letterboxed) -> Row:
    """[3]: the highest probability, the count, the area share of the largest."""
    sides = boxes[:, 2:] - boxes[:, :2]
    large = sides.min(axis=1, initial=np.inf) >= SMALLEST * LONG_SIDE
    if not large.any():
        return np.zeros(COLUMNS, np.float32)
    areas = np.prod(sides[large], axis=1) / (frame.width * frame.height)
    return np.array([scores[large].max(), large.sum(), min(1.0, areas.max())], np.float32)
