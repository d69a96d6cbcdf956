"""A trained head as nodes run it: a few matrix products in NumPy on an upload's embeddings.

Not in torch: heads run in the threads of many uploads, and torch would give each its own OpenMP pool. The same tensors
in torch are `models.training.heads`; the tests hold the two against each other.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, cast, get_args

import numpy as np
import numpy.typing as npt

HeadKind = Literal["linear", "mlp", "attention"]
KINDS: tuple[HeadKind, ...] = get_args(HeadKind)
SMALLEST = 1e-6

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Head:
    """Embeddings to calibrated scores. Immutable, so safe to share between threads."""

    kind: HeadKind
    labels: tuple[str, ...]
    tensors: Mapping[str, npt.NDArray[np.float32]]
    slope: Floats
    """[labels] of the logistic curve on the logit (Platt 1999)."""
    offset: Floats
    thresholds: Floats
    """[labels] least score at which a label is said."""

    @classmethod
    def of(cls, manifest: Mapping[str, Any], tensors: Mapping[str, npt.NDArray[Any]]) -> Head:
        """Build it from a version's manifest and tensors.

        Raises:
            ValueError, KeyError: they do not fit each other.
        """
        labels, kind = tuple(manifest["labels"]), manifest["head"]["kind"]
        if kind not in KINDS:
            raise ValueError(f"head {kind!r} is none of {', '.join(KINDS)}")
        curves = [manifest["calibration"][label] for label in labels]
        head = cls(
            kind=cast(HeadKind, kind),
            labels=labels,
            tensors={name: np.asarray(tensor, np.float32) for name, tensor in tensors.items()},
            slope=np.array([curve["slope"] for curve in curves], np.float64),
            offset=np.array([curve["offset"] for curve in curves], np.float64),
            thresholds=np.array([manifest["thresholds"][label] for label in labels], np.float64),
        )
        dimension = int(manifest["head"]["dimension"])
        if head.frame_logits(np.zeros((1, dimension), np.float32)).shape != (1, len(labels)):
            raise ValueError("the head's tensors do not fit its labels")
        return head

    def frame_logits(self, embeddings: npt.NDArray[Any]) -> Floats:
        """[frames, d] to [frames, labels], before calibration."""
        return self._frames(embeddings)[0]

    def logits(self, embeddings: npt.NDArray[Any]) -> Floats:
        """[frames, d] to [labels], pooled over the upload, before calibration. Frames must not be 0."""
        frames, hidden = self._frames(embeddings)
        if self.kind != "attention":
            return np.asarray(frames.mean(axis=0))
        gate = (hidden @ self.tensors["gate.weight"].T + self.tensors["gate.bias"]).astype(np.float64)
        weights = np.exp(gate - gate.max(axis=0))
        return np.asarray((frames * weights).sum(axis=0) / weights.sum(axis=0))

    def calibrated(self, logits: Floats) -> Floats:
        """Logits [..., labels] to scores: the chance that the label is right."""
        return np.asarray(1.0 / (1.0 + np.exp(-np.clip(self.slope * logits + self.offset, -30, 30))))

    def scores(self, embeddings: npt.NDArray[Any]) -> Floats:
        """[frames, d] to calibrated scores [labels] of the upload; 0 without frames."""
        if not len(embeddings):
            return np.zeros(len(self.labels))
        return self.calibrated(self.logits(embeddings))

    def frame_scores(self, embeddings: npt.NDArray[Any]) -> Floats:
        """[frames, d] to calibrated scores [frames, labels]."""
        return self.calibrated(self.frame_logits(embeddings))

    def _frames(self, embeddings: npt.NDArray[Any]) -> tuple[Floats, npt.NDArray[np.float32]]:
        # Rounded as they are kept, so that tagging from kept embeddings gives the very same scores.
        rows = np.asarray(embeddings, np.float16).astype(np.float32)
        hidden = (rows - self.tensors["mean"]) * self.tensors["scale"]
        if self.kind == "mlp":
            hidden = np.maximum(hidden @ self.tensors["hidden.weight"].T + self.tensors["hidden.bias"], 0)
        return (hidden @ self.tensors["out.weight"].T + self.tensors["out.bias"]).astype(np.float64), hidden
