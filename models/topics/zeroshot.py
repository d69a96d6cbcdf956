"""Zero-shot labels: frames against described topics, with an encoder of pictures and words from the hub.

A label's score is the chance that a frame shows it. SigLIP gives that itself: sigmoid(scale x cosine + bias). CLIP only
compares texts, so there the label stands against the background's prompts, in a softmax of its own: one label more
changes no other label's score. Prompts of one label are averaged as unit vectors (Radford et al. 2021, section 3.1.4).

Scores follow from kept embeddings, so new labels are said of an archive without a frame being decoded.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file
from torch import Tensor

from ..protocol import Encoding, Evidence
from ..serving.batcher import MicroBatcher
from ..serving.moments import hop_of, moments
from ..serving.scores import as_kept
from .hub import ModelName, PairedModel
from .zeroshot_labels import Labels

log = logging.getLogger(__name__)

RATE_HZ = 1.0
"""Frames a second that are looked at: a vision transformer costs ten times the packaged network."""
MOST = 32
"""Frames of one upload at most."""
CACHE_FORMAT = 1
"""1: first version."""

Rows = npt.NDArray[np.float32]


class ZeroShotEncoder:
    """`models.protocol.Encoder`: unit embeddings [n, d], chances [n, labels] in the order of the labels."""

    name = "zeroshot"

    def __init__(
        self,
        model: str,
        labels: Labels,
        cache: Path,
        *,
        device: torch.device,
        max_batch: int = 32,
        max_wait_s: float = 0.01,
    ) -> None:
        """Load the model and embed the labels' prompts, or read them from `cache`.

        Raises:
            UnpinnedModel: `model` is neither a folder nor pinned to a commit.
            HubUnavailable: the model cannot be loaded.
        """
        named = ModelName.parse(model)
        self.labels = labels
        self.version = named.version
        self.model = PairedModel(named, device)
        prompts = [*labels.background, *(prompt for label in labels.labels for prompt in label.prompts)]
        rows = self._texts(named, prompts, cache)
        self.background, rest = rows[: len(labels.background)], rows[len(labels.background) :]
        ends = np.cumsum([len(label.prompts) for label in labels.labels])
        means = np.stack([part.mean(axis=0) for part in np.split(rest, ends[:-1])])
        self.directions = means / np.maximum(np.linalg.norm(means, axis=1, keepdims=True), 1e-12)
        self.batcher: MicroBatcher[Tensor, Rows] = MicroBatcher(
            self.forward, max_batch=max_batch, max_wait_s=max_wait_s, name=self.name
        )

    def encode(self, evidence: Evidence) -> Encoding:
        """Encode a sub-sample of the frames."""
        chosen = moments(evidence.frame_times_s, evidence.shots, RATE_HZ, MOST)
        rows = self.batcher.submit_many([self.model.prepare(evidence.frames[index]) for index in chosen])
        width = self.directions.shape[1]
        embeddings = as_kept(np.stack(rows) if rows else np.zeros((0, width), np.float32))
        times = np.asarray(evidence.frame_times_s, np.float64)[chosen]
        return Encoding(self.version, times, hop_of(times, evidence.duration_s), embeddings, self.scores_of(embeddings))

    def scores_of(self, embeddings: Rows) -> Rows:
        """Chances [n, labels] of kept embeddings [n, d]."""
        logits = self.model.scale * (embeddings @ self.directions.T)
        if self.model.bias is not None:
            against = -np.float32(self.model.bias)
        else:
            rivals = self.model.scale * (embeddings @ self.background.T)
            peak = rivals.max(axis=1, keepdims=True)
            against = peak + np.log(np.exp(rivals - peak).sum(axis=1, keepdims=True))
        return np.asarray(0.5 * (1.0 + np.tanh(0.5 * (logits - against))), np.float32)

    def close(self) -> None:
        """Stop the batcher's thread."""
        self.batcher.close()

    def forward(self, prepared: Sequence[Tensor]) -> list[Rows]:
        """Run prepared frames through the picture's tower: a unit vector [d] each."""
        return list(self.model.pictures(prepared))

    def _texts(self, named: ModelName, prompts: Sequence[str], cache: Path) -> Rows:
        """[n, d] of the prompts, from the cache where these very prompts were embedded by this very revision."""
        if named.revision is None:  # a folder's content may change under its name
            return self.model.texts(prompts)
        key = json.dumps([CACHE_FORMAT, named.path, named.revision, list(prompts)])
        kept = cache / f"prompts-{hashlib.sha256(key.encode()).hexdigest()[:32]}.safetensors"
        try:
            rows = load_file(kept)["rows"]
            if rows.ndim == 2 and len(rows) == len(prompts) and np.isfinite(rows).all():
                return np.asarray(rows, np.float32)
        except (OSError, KeyError, SafetensorError):
            pass
        rows = self.model.texts(prompts)
        try:
            cache.mkdir(parents=True, exist_ok=True)
            partial = kept.with_suffix(f".{id(self)}.partial")
            save_file({"rows": np.ascontiguousarray(rows)}, partial)
            partial.replace(kept)
        except OSError as error:
            log.warning("embedded prompts cannot be kept: %s", error)
        return rows
