"""From kept embeddings to class scores: a network's last layer, without the network.

Embeddings are kept in half precision. So that heads say the same of an upload when it is tagged and when it is tagged
again from what is kept, an encoder hands on only what half precision holds, and makes its scores from that, here: in
single precision on the CPU, wherever the network itself runs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from torch import nn

Rows = npt.NDArray[np.float32]


@dataclass(frozen=True)
class LinearScores:
    """A linear layer and what turns its logits into probabilities. Safe to share between threads."""

    weight: Rows
    """[d, classes]"""
    bias: Rows
    """[classes]"""
    link: Callable[[Rows], Rows]

    @classmethod
    def of(cls, layer: nn.Linear, link: Callable[[Rows], Rows]) -> LinearScores:
        """A copy of a network's last layer."""
        weight, bias = (tensor.detach().float().cpu().numpy() for tensor in (layer.weight, layer.bias))
        return cls(np.ascontiguousarray(weight.T), bias.copy(), link)

    def __call__(self, embeddings: Rows) -> Rows:
        """Probabilities [n, classes] of embeddings [n, d]."""
        return self.link(np.ascontiguousarray(embeddings, np.float32) @ self.weight + self.bias)


def softmax(logits: Rows) -> Rows:
    """Rows that sum to 1."""
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def sigmoid(logits: Rows) -> Rows:
    """Each class by itself."""
    return np.asarray(0.5 * (1.0 + np.tanh(0.5 * logits)))  # the textbook's form overflows


def as_kept(embeddings: npt.NDArray[np.floating]) -> Rows:
    """[n, d] as they will be read again: through half precision."""
    return embeddings.astype(np.float16).astype(np.float32)
