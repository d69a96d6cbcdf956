"""What the frozen part of an encoder gives of a data set's uploads, kept on disk: an epoch of fine-tuning then costs
its last blocks alone, and a killed run decodes nothing twice.

One file an upload, `FOLDER/HASH.safetensors`, "features" [frames, c, h, w] in half precision (EfficientNet-Lite2 before
its last blocks: about 34 kB a frame). They can be made again from the uploads' files, so deleting the folder loses
nothing but time.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from .dataset import DataSet, Item

NAME = "features"
AT_ONCE = 32
"""Frames put through the last blocks at a time."""

Features = npt.NDArray[np.float16]


class FeatureCache:
    """The features of one data set's uploads.

    Args:
        data_folder: the data set's.
        encoder: `name@N` of the encoder.
        blocks: how many of its last blocks are left out.
    """

    def __init__(self, data_folder: Path, encoder: str, blocks: int) -> None:
        self.folder = data_folder / NAME / f"{encoder.replace('/', '_')}-{blocks}"

    def has(self, item: Item) -> bool:
        """Whether an upload's features are there."""
        return self._path(item).is_file()

    def put(self, item: Item, features: npt.NDArray[np.floating]) -> None:
        """Keep an upload's features, whole or not at all."""
        from safetensors.numpy import save

        self.folder.mkdir(parents=True, exist_ok=True)
        path = self._path(item)
        incoming = path.with_name(f".{path.name}.{os.getpid()}.incoming")
        incoming.write_bytes(save({NAME: np.ascontiguousarray(features, np.float16)}))
        incoming.replace(path)

    def get(self, item: Item) -> Features | None:
        """An upload's features; None: they are not there, damaged, or of another number of frames than the data set
        has rows."""
        from safetensors import SafetensorError
        from safetensors.numpy import load

        try:
            found: Features = load(self._path(item).read_bytes())[NAME]
        except (OSError, KeyError, ValueError, SafetensorError):
            return None
        return found if found.ndim == 4 and len(found) == item.rows[1] - item.rows[0] else None

    def _path(self, item: Item) -> Path:
        name = hashlib.sha256(item.upload_id.encode("utf-8", "surrogatepass")).hexdigest()
        return self.folder / f"{name[:32]}.safetensors"


def embed(tail: nn.Module, features: Features, device: torch.device) -> npt.NDArray[np.float16]:
    """Features [n, c, h, w] through the last blocks: embeddings [n, d], as they are kept."""
    rows = []
    with torch.inference_mode():
        for at in range(0, len(features), AT_ONCE):
            part = torch.from_numpy(features[at : at + AT_ONCE].astype(np.float32)).to(device)
            rows.append(tail(part.contiguous(memory_format=torch.channels_last)).float().cpu().numpy())
    return np.concatenate(rows).astype(np.float16)


def with_embeddings(data: DataSet, rows: dict[str, npt.NDArray[np.float16]]) -> DataSet:
    """The data set with the embeddings of these uploads in place of its own, and without the others. What stands beside
    the embeddings in a row (measures) stays there."""
    items: list[Item] = []
    parts: list[npt.NDArray[np.float16]] = []
    times: list[npt.NDArray[np.float32]] = []
    first = 0
    for item in data.items:
        if item.upload_id not in rows:
            continue
        mine = rows[item.upload_id]
        old = data.embeddings[item.rows[0] : item.rows[1]]
        parts.append(np.concatenate([mine, old[:, mine.shape[1] :]], axis=1))
        times.append(data.times_s[item.rows[0] : item.rows[1]])
        items.append(replace(item, rows=(first, first + len(mine))))
        first += len(mine)
    return replace(
        data,
        items=tuple(items),
        embeddings=np.concatenate(parts) if parts else data.embeddings[:0],
        times_s=np.concatenate(times) if times else data.times_s[:0],
    )


def embedded(
    data: DataSet, items: Sequence[Item], cache: FeatureCache, tail: nn.Module, device: torch.device
) -> dict[str, npt.NDArray[np.float16]]:
    """By upload, the embeddings that an encoder with these last blocks gives; without those that have no features."""
    found = {}
    for item in items:
        features = cache.get(item)
        if features is not None and len(features):
            found[item.upload_id] = embed(tail, features, device)
    return found
