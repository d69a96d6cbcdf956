"""EfficientNet-Lite2 with its last blocks fine-tuned: an encoder of a trained version's own.

It runs beside the packaged encoder and never in its place: what is calibrated on the packaged embeddings goes on
reading those. The blocks before the tuned ones are the packaged network's, in the same memory. Batch-norms are folded
into the convolutions, and stay as they are (fine-tuned on few uploads their statistics would be worse, not better).
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from ..protocol import Encoding, Evidence
from ..serving.batcher import MicroBatcher
from ..serving.scores import as_kept
from .efficientnet import EMBEDDING, Crop, EfficientNetLite2, PictureEncoder, Row, prepare, run

MOST_BLOCKS = 8
"""Of the 23. Earlier ones see edges and textures, which are the same for every topic."""


class Tail(nn.Module):
    """The last blocks and the last convolution: what the trunk gives, [n, c, h, w], to embeddings [n, 1280]."""

    def __init__(self, network: EfficientNetLite2, blocks: int) -> None:
        super().__init__()
        if not 1 <= blocks <= MOST_BLOCKS:
            raise ValueError(f"1 to {MOST_BLOCKS} blocks can be fine-tuned, not {blocks}")
        self.features = copy.deepcopy(network.features[first_of(network, blocks) :])

    def forward(self, x: Tensor) -> Tensor:
        """Embeddings."""
        embeddings: Tensor = self.features(x).mean((2, 3))
        return embeddings

    def arrays(self) -> dict[str, npt.NDArray[np.float32]]:
        """Its tensors by name, as a version keeps them."""
        return {name: value.detach().float().cpu().contiguous().numpy() for name, value in self.state_dict().items()}

    def load(self, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
        """Take a version's tensors.

        Raises:
            ValueError: they do not fit.
        """
        mine = self.state_dict()
        if set(arrays) != set(mine):
            raise ValueError("the encoder's tensors are not those of its last blocks")
        for name, value in mine.items():
            if tuple(arrays[name].shape) != tuple(value.shape) or not np.isfinite(arrays[name]).all():
                raise ValueError(f"the encoder's tensor {name!r} does not fit")
            value.copy_(torch.from_numpy(np.asarray(arrays[name], np.float32)))


def first_of(network: EfficientNetLite2, blocks: int) -> int:
    """Where in `network.features` the last blocks begin."""
    return len(network.features) - 1 - blocks


def trunk_of(network: EfficientNetLite2, blocks: int) -> nn.Module:
    """All that comes before the last blocks, in the network's own memory."""
    return network.features[: first_of(network, blocks)]


class TunedPictureEncoder:
    """`models.protocol.Encoder` of sampled frames: embeddings [n, 1280], no class scores."""

    def __init__(
        self, base: PictureEncoder, name: str, version: str, blocks: int, arrays: Mapping[str, npt.NDArray[Any]]
    ) -> None:
        """Build it on the packaged encoder, on its device.

        Raises:
            ValueError: the tensors do not fit.
        """
        self.name, self.version = name, version
        self._device, self._dtype = base.device, base.dtype
        tail = Tail(base.network, blocks)
        tail.load(arrays)
        self._network = nn.Sequential(trunk_of(base.network, blocks), tail)
        of = base.batcher
        self.batcher: MicroBatcher[Crop, Row] = MicroBatcher(
            self._forward, max_batch=of.max_batch, max_wait_s=of.max_wait_s, name=name
        )

    def encode(self, evidence: Evidence) -> Encoding:
        """Encode all frames of one upload."""
        times = np.asarray(evidence.frame_times_s, dtype=np.float64)
        rows = self.batcher.submit_many([prepare(frame) for frame in evidence.frames])
        embeddings = as_kept(np.stack(rows) if rows else np.zeros((0, EMBEDDING), np.float32))
        hop_s = float(np.median(np.diff(times))) if len(times) > 1 else evidence.duration_s
        return Encoding(self.version, times, hop_s, embeddings, self.scores_of(embeddings))

    def scores_of(self, embeddings: Row) -> Row:
        """It has no classes: [n, 0]."""
        return np.zeros((len(embeddings), 0), np.float32)

    def close(self) -> None:
        """Stop the batcher's thread."""
        self.batcher.close()

    def _forward(self, crops: Sequence[Crop]) -> list[Row]:
        return list(run(self._network, crops, self._device, self._dtype).float().cpu().numpy())
