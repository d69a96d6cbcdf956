"""Sound events by a transformer of a model hub: AST (Gong et al. 2021, "AST: Audio Spectrogram Transformer").

One setting names it, with its revision: a branch could change under a farm. It hears windows of its own length
(10.24 s), so it says *what* more surely than YAMNet, and YAMNet with the outline says *when*. Any `transformers`
checkpoint for audio classification that AST's feature extractor feeds and whose labels are AudioSet's will do; CED's
is no part of `transformers` and would run code from the hub, which tagfarm does not.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from ..protocol import WAVEFORM_RATE, Encoding, Evidence, WeightsMissing
from ..serving.batcher import MicroBatcher
from ..serving.device import inference_dtype
from ..serving.scores import LinearScores, Rows, as_kept, sigmoid
from .audioset import class_names

REVISION = re.compile(r"[0-9a-f]{40}")
SHARED_LABELS = 400
"""Of YAMNet's 521 classes, that a checkpoint has to know: all of AudioSet's have them."""
OVERLAP = 0.5
"""Of windows."""

Window = npt.NDArray[np.float32]


class HubUnusable(WeightsMissing):
    """The setting names nothing that can be used. The message says why and what to do."""

    def __init__(self, name: str, why: str) -> None:
        super().__init__(name)
        self.args = (f"TAGFARM_MODELS__SOUND_HUB={name}: {why}",)


class HubEncoder:
    """`models.protocol.Encoder` of the waveform: embeddings [n, d], probabilities [n, 521] of YAMNet's classes.

    A class that the checkpoint does not have is 0.
    """

    name = "sound-hub"

    def __init__(self, source: str, *, device: torch.device, max_batch: int = 8, max_wait_s: float = 0.01) -> None:
        """Load `owner/name@REVISION` (40 hex digits) from the hub or its cache, or a folder.

        Raises:
            HubUnusable: no revision, no such checkpoint, no `transformers`, or other labels.
        """
        network, self._features, labels = _loaded(source)
        columns = _columns(source, labels)
        layer = network.classifier
        self._norm = layer.layernorm.to(device)
        self.classifier = _for_classes(LinearScores.of(layer.dense, sigmoid), columns)
        self.version = f"hub:{source.rstrip('/').rsplit('/', 1)[-1]}"
        self.window_s = float(self._features.max_length) * HOP_S
        self.embedding = int(layer.dense.in_features)
        self.device, self.dtype = device, inference_dtype(device)
        self.network = network.audio_spectrogram_transformer.to(device=device, dtype=self.dtype).eval()
        self.batcher: MicroBatcher[Window, Rows] = MicroBatcher(
            self.forward, max_batch=max_batch, max_wait_s=max_wait_s, name=self.name
        )

    def encode(self, evidence: Evidence) -> Encoding:
        """Encode the sound of one upload, in windows that overlap by half."""
        sound = np.nan_to_num(np.asarray(evidence.waveform, np.float32), nan=0.0, posinf=1.0, neginf=-1.0)
        length = round(self.window_s * WAVEFORM_RATE)
        step = round(length * (1 - OVERLAP))
        count = (1 + max(0, -(-(len(sound) - length) // step))) if len(sound) else 0
        rows = self.batcher.submit_many([sound[at * step : at * step + length] for at in range(count)])
        embeddings = as_kept(np.stack(rows) if rows else np.zeros((0, self.embedding), np.float32))
        times = np.arange(count, dtype=np.float64) * step / WAVEFORM_RATE
        return Encoding(self.version, times, step / WAVEFORM_RATE, embeddings, self.scores_of(embeddings))

    def scores_of(self, embeddings: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Probabilities [n, 521] of kept embeddings: the network's own last layer."""
        return self.classifier(embeddings)

    def close(self) -> None:
        """Stop the batcher's thread."""
        self.batcher.close()

    def forward(self, batch: Sequence[Window]) -> list[Rows]:
        """Run windows through the network: an embedding each."""
        heard = self._features(list(batch), sampling_rate=WAVEFORM_RATE, return_tensors="pt")
        with torch.inference_mode():
            pooled = self.network(heard["input_values"].to(device=self.device, dtype=self.dtype)).pooler_output
            return list(self._norm(pooled.float()).cpu().numpy())


HOP_S = 0.01
"""AST's frames."""


def _loaded(source: str) -> tuple[Any, Any, dict[int, str]]:
    name, _, revision = source.partition("@")
    local = Path(source).expanduser()
    if not local.is_dir() and not REVISION.fullmatch(revision):
        raise HubUnusable(source, "name a revision, NAME@REVISION with 40 hex digits, or a folder")
    try:
        from transformers import ASTFeatureExtractor, ASTForAudioClassification
    except ImportError:
        raise HubUnusable(source, "transformers is not installed; run: pip install 'tagfarm[hub]'") from None
    place, pinned = (str(local), "main") if local.is_dir() else (name, revision)
    try:
        network = ASTForAudioClassification.from_pretrained(place, revision=pinned, use_safetensors=True)
        features = ASTFeatureExtractor.from_pretrained(place, revision=pinned)
    except (OSError, ValueError) as error:
        raise HubUnusable(source, f"cannot be loaded: {str(error).splitlines()[0]}") from error
    return (
        network.requires_grad_(False),
        features,
        {int(place): str(label) for place, label in (network.config.id2label or {}).items()},
    )


def _columns(source: str, labels: dict[int, str]) -> npt.NDArray[np.intp]:
    """[521]: the checkpoint's output of each of YAMNet's classes; -1: it has none."""
    places = {label: int(place) for place, label in labels.items()}
    columns = np.array([places.get(name, -1) for name in class_names()], np.intp)
    if (columns >= 0).sum() < SHARED_LABELS:
        raise HubUnusable(source, "its labels are not AudioSet's display names")
    return columns


def _for_classes(scores: LinearScores, columns: npt.NDArray[np.intp]) -> LinearScores:
    """The last layer, its outputs in the order of YAMNet's classes; what it has not stays near 0."""
    known = columns >= 0
    weight = np.where(known, scores.weight[:, columns], 0.0).astype(np.float32)
    bias = np.where(known, scores.bias[columns], -20.0).astype(np.float32)
    return LinearScores(np.ascontiguousarray(weight), bias, scores.link)
