"""The packaged topics head: from classes and embeddings of a picture to the topics' probabilities.

ImageNet has few classes for flowers, none for planets, and calls a gazania a hair slide. So what the classes say of
each topic is corrected by a linear map of the embedding, held near zero by a ridge:
`logits = tau * log(p + FLOOR) + embedding @ W + b`, a softmax over all topics and "none of them". A topic without
examples has no column in W: it stands as the classes say it.

`head.safetensors` is written by `python -m benchmarks.topics_head`; its metadata says by which method and on what data.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors.numpy import save_file

from ..serving.packaged import read_packaged
from .taxonomy import Taxonomy

FITTED = Path(__file__).with_name("head.safetensors")
FORMAT = "1"
"""1: first version."""
FLOOR = 1e-4
"""Added to a topic's class probability before the logarithm: what the classes rule out the embedding may still say."""
NONE = "(none)"
"""The label of what is no topic."""

Floats = npt.NDArray[np.float64]
Rows = npt.NDArray[np.float32]


@dataclass(frozen=True)
class PictureHead:
    """Immutable, so safe to share between threads."""

    encoder: str
    """`name@version` of the encoder that it was fitted on."""
    labels: tuple[str, ...]
    """Topics with a column in `weight`; may hold `NONE`."""
    mean: Rows
    """[d] of the square roots of embeddings."""
    scale: Rows
    """[d]"""
    weight: Rows
    """[d, labels]"""
    bias: Rows
    """[labels]"""
    tau: float
    """How far the classes are trusted; above 1 they are made surer."""

    def features(self, embeddings: npt.NDArray[Any]) -> Rows:
        """[n, d] embeddings, none negative, as the linear map takes them. Square roots tame a few loud dimensions."""
        return (np.sqrt(np.maximum(embeddings, 0)).astype(np.float32) - self.mean) * self.scale

    def probabilities(self, scores: Rows, embeddings: Rows, taxonomy: Taxonomy) -> Floats:
        """Each topic with its children, [n, topics], from class probabilities [n, classes] and embeddings [n, d].

        Raises:
            ValueError: the embeddings are not those that the head was fitted on.
        """
        if embeddings.ndim != 2 or embeddings.shape[1] != len(self.mean):
            raise ValueError(f"the head reads embeddings [n, {len(self.mean)}], not {list(embeddings.shape)}")
        logits = self.tau * class_logits(scores, taxonomy)
        known = [position for position, label in enumerate(self.labels) if label == NONE or label in taxonomy.index]
        columns = [len(taxonomy.topics) if self.labels[p] == NONE else taxonomy.index[self.labels[p]] for p in known]
        logits[:, columns] += (self.features(embeddings) @ self.weight + self.bias)[:, known]
        return with_children(softmax(logits), taxonomy)


def class_logits(scores: Rows, taxonomy: Taxonomy) -> Floats:
    """[n, topics + 1] log of what the classes say of each topic itself, and last of none of them."""
    # Classes that broke (all zero, or not numbers) say "none", not the first topic.
    sums = np.nan_to_num(np.asarray(scores, np.float64)) @ taxonomy.own_matrix
    rest = np.clip(1.0 - sums.sum(axis=1, keepdims=True), 0.0, 1.0)
    return np.log(np.concatenate([sums, rest], axis=1) + FLOOR)


def softmax(logits: Floats) -> Floats:
    """Rows that sum to 1."""
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=-1, keepdims=True))


def with_children(own: Floats, taxonomy: Taxonomy) -> Floats:
    """[n, topics + 1] of topics themselves to [n, topics], each with its children."""
    return np.asarray(own[..., :-1] @ taxonomy.descent)


def load_head(path: Path = FITTED) -> PictureHead:
    """Read a fitted head. One of another format is a bug, and raises `ValueError`."""
    metadata, tensors = read_packaged(path, FORMAT)
    labels = tuple(metadata["labels"].split(" "))
    if tensors["weight"].shape != (len(tensors["mean"]), len(labels)) or tensors["bias"].shape != (len(labels),):
        raise ValueError(f"{path.name}: its tensors do not fit its labels")
    return PictureHead(
        encoder=metadata["encoder"],
        labels=labels,
        mean=tensors["mean"],
        scale=tensors["scale"],
        weight=tensors["weight"],
        bias=tensors["bias"],
        tau=float(metadata["tau"]),
    )


def save_head(head: PictureHead, path: Path, notes: Mapping[str, str]) -> None:
    """Write a head, in half precision, with how it came about."""
    tensors = {name: getattr(head, name) for name in ("mean", "scale", "bias")}
    tensors["weight"] = head.weight.astype(np.float16)
    metadata = {
        "format": FORMAT,
        "encoder": head.encoder,
        "labels": " ".join(head.labels),
        "tau": f"{head.tau:.6f}",
        **notes,
    }
    save_file({name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}, path, metadata=metadata)
