"""What the encoders of converted networks share: weights, device, batches; and, for detectors, frames of one shape."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Generic, TypeVar

import numpy as np
import numpy.typing as npt
import torch

from ..protocol import Encoding, Evidence
from ..registry.weights import load
from .batcher import MicroBatcher
from .graph import Graph
from .letterbox import Letterboxed, letterbox
from .moments import hop_of, moments
from .scores import as_kept

Row = npt.NDArray[np.float32]
Item = TypeVar("Item")
Result = TypeVar("Result")


class GraphEncoder(ABC, Generic[Item, Result]):
    """The greater part of a `models.protocol.Encoder` whose network is a converted graph."""

    name: ClassVar[str]
    version: ClassVar[str]
    weights: ClassVar[str]
    """Name of the weights."""

    def __init__(
        self, weights_dir: Path, *, device: torch.device, max_batch: int = 32, max_wait_s: float = 0.01
    ) -> None:
        """Build it from the weights installed in `weights_dir`.

        Raises:
            WeightsMissing: they are not there.
        """
        self.device = device
        self.network = Graph(load(self.weights, weights_dir).tensors).to(device)
        self.batcher: MicroBatcher[Item, Result] = MicroBatcher(
            self.forward, max_batch=max_batch, max_wait_s=max_wait_s, name=self.name
        )

    @abstractmethod
    def forward(self, items: Sequence[Item]) -> list[Result]:
        """A batch through the network: one result an item, in order."""

    def close(self) -> None:
        """Stop the batcher's thread."""
        self.batcher.close()


class Detector(GraphEncoder[Letterboxed, Row]):
    """An encoder that finds things in a sub-sample of the frames: a row of so many `columns` each."""

    long_side: ClassVar[int]
    """Of what the network sees, px."""
    ground: ClassVar[int]
    """Grey of the padding."""
    columns: ClassVar[int]
    scored: ClassVar[int]
    """The first so many columns are scores."""

    @abstractmethod
    def look(self, frames: Sequence[Letterboxed], batch: torch.Tensor) -> list[Row]:
        """What is in each of some frames of one shape; `batch` [n, height, width, 3] is their RGB on the device."""

    def encode(self, evidence: Evidence) -> Encoding:
        """Look at one upload's moments."""
        chosen = moments(evidence.frame_times_s, evidence.shots)
        rows = self.batcher.submit_many(
            [letterbox(evidence.frames[one], self.long_side, self.ground) for one in chosen]
        )
        embeddings = as_kept(np.stack(rows) if rows else np.zeros((0, self.columns), np.float32))
        times = np.asarray(evidence.frame_times_s, np.float64)[chosen]
        return Encoding(self.version, times, hop_of(times, evidence.duration_s), embeddings, self.scores_of(embeddings))

    def scores_of(self, embeddings: Row) -> Row:
        """The scores [n, scored] among [n, columns]."""
        return np.ascontiguousarray(embeddings[:, : self.scored])

    def forward(self, items: Sequence[Letterboxed]) -> list[Row]:
        """What is in each frame. Frames of one shape go through the network together."""
        rows: list[Row] = [np.zeros(0, np.float32)] * len(items)
        shapes: dict[tuple[int, ...], list[int]] = {}
        for index, frame in enumerate(items):
            shapes.setdefault(frame.canvas.shape, []).append(index)
        for members in shapes.values():
            frames = [items[one] for one in members]
            batch = torch.from_numpy(np.stack([frame.canvas for frame in frames])).to(self.device)
            with torch.inference_mode():
                found = self.look(frames, batch)
            for one, row in zip(members, found, strict=True):
                rows[one] = row
        return rows
