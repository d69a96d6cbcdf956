"""Faces, counted: where there is one, never whose it is.

Bazarevsky et al. 2019, "BlazeFace: Sub-millisecond Neural Face Detection on Mobile GPUs" (arXiv 1907.05047), in
MediaPipe's full-range variant.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from ..protocol import Encoding, Evidence
from ..registry.weights import load
from ..serving.batcher import MicroBatcher
from ..serving.graph import Graph
from ..serving.letterbox import Letterboxed, letterbox, suppress
from ..serving.moments import hop_of, moments
from ..serving.scores import as_kept

WEIGHTS = "face-full-range"
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


class FacesEncoder:
    """`models.protocol.Encoder` of a sub-sample of the frames: embeddings [n, 3], the highest probability of a face,
    the count, the area share of the largest; scores [n, 1], the probability."""

    name = "faces"
    version = "face-full-range@1"

    def __init__(
        self, weights_dir: Path, *, device: torch.device, max_batch: int = 32, max_wait_s: float = 0.01
    ) -> None:
        """Build it from the weights installed in `weights_dir`.

        Raises:
            WeightsMissing: they are not there.
        """
        self.device = device
        self.network = Graph(load(WEIGHTS, weights_dir).tensors).to(device)
        self.batcher: MicroBatcher[Letterboxed, Row] = MicroBatcher(
            self.forward, max_batch=max_batch, max_wait_s=max_wait_s, name=self.name
        )

    def encode(self, evidence: Evidence) -> Encoding:
        """Look at one upload's moments."""
        chosen = moments(evidence.frame_times_s, evidence.shots)
        rows = self.batcher.submit_many([letterbox(evidence.frames[one], LONG_SIDE, 0) for one in chosen])
        embeddings = as_kept(np.stack(rows) if rows else np.zeros((0, COLUMNS), np.float32))
        times = np.asarray(evidence.frame_times_s, np.float64)[chosen]
        return Encoding(self.version, times, hop_of(times, evidence.duration_s), embeddings, self.scores_of(embeddings))

    def scores_of(self, embeddings: Row) -> Row:
        """The probabilities [n, 1] among [n, 3]."""
        return np.ascontiguousarray(embeddings[:, :1])

    def close(self) -> None:
        """Stop the batcher's thread."""
        self.batcher.close()

    def forward(self, frames: Sequence[Letterboxed]) -> list[Row]:
        """The faces of each frame, [3]. Frames of one shape go through the network together."""
        rows: list[Row] = [np.zeros(0, np.float32)] * len(frames)
        shapes: dict[tuple[int, ...], list[int]] = {}
        for index, frame in enumerate(frames):
            shapes.setdefault(frame.canvas.shape, []).append(index)
        for members in shapes.values():
            batch = torch.from_numpy(np.stack([frames[one].canvas for one in members])).to(self.device)
            with torch.inference_mode():
                pixels = batch.permute(0, 3, 1, 2).float().div_(127.5).sub_(1.0)
                boxes, logits = (one.float().cpu().numpy() for one in self.network(pixels))
            for one, box, logit in zip(members, boxes, logits, strict=True):
                rows[one] = summary(*faces_of(box, logit[0]), frames[one])
        return rows


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
