"""musicnn: what music is like, as the tags of two networks and their embeddings.

Pons and Serra 2019, "musicnn: pre-trained convolutional neural networks for music audio tagging" (arXiv 1909.06654):
one network learned from MagnaTagATune (instruments, vocals, character), one from the Million Song Dataset (genre, mood,
decade). Each hears 3 s of log-mel spectrum: filters as high as timbres and as long as rhythms, pooled over the
frequencies, then three residual layers, pooled over time.

They hear music only: where the evidence already holds the encoding `yamnet`, its score of the class Music chooses the
moments, and without music there are none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from ..protocol import WAVEFORM_RATE, Encoding, Evidence
from ..registry.weights import load
from ..serving.batcher import MicroBatcher
from ..serving.device import inference_dtype
from ..serving.scores import LinearScores, Rows, as_kept, sigmoid
from .mel import slaney_bands
from .moments import musical_moments
from .musicnn_tags import NETWORKS

FFT = 512
FRAME_HOP = 256
BANDS = 96
PATCH_FRAMES = 187
PATCH_SAMPLES = (PATCH_FRAMES - 1) * FRAME_HOP
"""Patches are as long as the networks learned: 3 s."""
PATCH_S = PATCH_SAMPLES / WAVEFORM_RATE
EMBEDDING = 200
TAGS = 50
NORM_EPSILON = 1e-3
"""As TensorFlow has it."""

Patch = npt.NDArray[np.float32]


class Musicnn(nn.Module):
    """One network: log-mel patches [n, 187, 96] to embeddings [n, 200] and tag logits [n, 50]."""

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.kernels = nn.ParameterList(tensors[f"conv2d{_nth(place)}/kernel"] for place in range(8))
        self.biases = nn.ParameterList(tensors[f"conv2d{_nth(place)}/bias"] for place in range(8))
        norms = [f"batch_normalization{_nth(place)}" for place in range(11)]
        scales = [
            tensors[f"{norm}/gamma"] / torch.sqrt(tensors[f"{norm}/moving_variance"] + NORM_EPSILON) for norm in norms
        ]
        shifts = [
            tensors[f"{norm}/beta"] - tensors[f"{norm}/moving_mean"] * scale
            for norm, scale in zip(norms, scales, strict=True)
        ]
        self.scales, self.shifts = nn.ParameterList(scales), nn.ParameterList(shifts)
        self.dense = nn.Linear(tensors["dense/kernel"].shape[1], EMBEDDING, device="meta")
        self.dense.load_state_dict({"weight": tensors["dense/kernel"], "bias": tensors["dense/bias"]}, assign=True)
        self.classifier = nn.Linear(EMBEDDING, TAGS, device="meta")
        self.classifier.load_state_dict(
            {"weight": tensors["dense_1/kernel"], "bias": tensors["dense_1/bias"]}, assign=True
        )
        self.eval().requires_grad_(False)

    def embed(self, patches: Tensor) -> Tensor:
        """Embeddings alone."""
        x = self._normed(patches[:, None], 0)
        # Filters as high as a timbre slide over all frequencies; only where they fit best counts.
        timbral = functional.pad(x, (0, 0, 3, 3))
        parts = [self._highest(functional.conv2d(timbral, self.kernels[k], self.biases[k]), k + 1) for k in (0, 1)]
        for k in (2, 3, 4):
            length = self.kernels[k].shape[2]
            padded = functional.pad(x, (0, 0, (length - 1) // 2, length // 2))
            parts.append(self._highest(functional.conv2d(padded, self.kernels[k], self.biases[k]), k + 1))
        front = torch.cat(parts, 1)  # [n, 561, time]
        first = self._middle(front, 5)
        second = self._middle(first, 6) + first
        third = self._middle(second, 7) + second
        features = torch.cat((front, first, second, third), 1)
        # TensorFlow's flatten has each feature's maximum beside its mean.
        pooled = torch.stack((features.amax(2), features.mean(2)), 2).flatten(1)
        return self._normed(functional.relu(self.dense(self._normed(pooled, 9))), 10)

    def forward(self, patches: Tensor) -> tuple[Tensor, Tensor]:
        """Embeddings and logits."""
        embeddings = self.embed(patches)
        return embeddings, self.classifier(embeddings)

    def _normed(self, x: Tensor, place: int) -> Tensor:
        shape = (1, -1) + (1,) * (x.ndim - 2)
        return x * self.scales[place].reshape(shape) + self.shifts[place].reshape(shape)

    def _highest(self, x: Tensor, place: int) -> Tensor:
        # The norm is increasing or decreasing in each channel, so it may follow the pooling of both ends.
        scale, shift = self.scales[place][:, None], self.shifts[place][:, None]
        highest = functional.relu(x.amax(3)) * scale
        if bool((scale < 0).any()):
            highest = torch.where(scale < 0, functional.relu(x.amin(3)) * scale, highest)
        return highest + shift

    def _middle(self, x: Tensor, place: int) -> Tensor:
        kernel = self.kernels[place]  # [64, 1, 7, channels]: over time and all channels
        weight = kernel[:, 0].transpose(1, 2)
        found = functional.relu(functional.conv1d(functional.pad(x, (3, 3)), weight, self.biases[place]))
        return self._normed(found, place + 1)


def _nth(place: int) -> str:
    return f"_{place}" if place else ""


@lru_cache(maxsize=1)
def _window() -> npt.NDArray[np.float32]:
    return np.hanning(FFT + 1)[:-1].astype(np.float32)


def log_mel(sound: npt.NDArray[np.float32]) -> Patch:
    """One patch [187, 96] of 3 s of sound: librosa's mel spectrum (Slaney's bands), log10(10000 x + 1)."""
    padded = np.pad(sound[:PATCH_SAMPLES], (FFT // 2, FFT // 2 + PATCH_SAMPLES - len(sound[:PATCH_SAMPLES])))
    frames = np.lib.stride_tricks.sliding_window_view(padded, FFT)[::FRAME_HOP][:PATCH_FRAMES]
    power = np.square(np.abs(np.fft.rfft(frames * _window()))).astype(np.float32)
    return np.log10(10_000.0 * (power @ slaney_bands(WAVEFORM_RATE, FFT, BANDS)) + 1.0).astype(np.float32)


class MusicEncoder:
    """`models.protocol.Encoder` of the waveform: embeddings [n, 400], tag probabilities [n, 100], of 3 s each.

    Columns are those of the two networks, side by side, as `NETWORKS` has them.
    """

    name = "musicnn"
    version = "musicnn@1"

    def __init__(
        self, weights_dir: Path, *, device: torch.device, max_batch: int = 16, max_wait_s: float = 0.01
    ) -> None:
        """Build it from the weights installed in `weights_dir`.

        Raises:
            WeightsMissing: they are not there.
        """
        networks = [Musicnn(load(name, weights_dir).tensors) for name in NETWORKS]
        self.classifiers = [LinearScores.of(network.classifier, sigmoid) for network in networks]
        self.device, self.dtype = device, inference_dtype(device)
        self.networks = [network.to(device=device, dtype=self.dtype) for network in networks]
        self.batcher: MicroBatcher[Patch, Rows] = MicroBatcher(
            self.forward, max_batch=max_batch, max_wait_s=max_wait_s, name=self.name
        )

    def encode(self, evidence: Evidence) -> Encoding:
        """Encode the music of one upload; sound without music, and none, give no rows."""
        sound = np.nan_to_num(np.asarray(evidence.waveform, dtype=np.float32), nan=0.0, posinf=1.0, neginf=-1.0)
        starts = musical_moments(len(sound) / WAVEFORM_RATE, evidence.encodings.get("yamnet"), PATCH_S)
        patches = [log_mel(sound[round(start * WAVEFORM_RATE) :][:PATCH_SAMPLES]) for start in starts]
        rows = self.batcher.submit_many(patches)
        embeddings = as_kept(np.stack(rows) if rows else np.zeros((0, EMBEDDING * len(NETWORKS)), np.float32))
        return Encoding(self.version, np.array(starts, np.float64), PATCH_S, embeddings, self.scores_of(embeddings))

    def scores_of(self, embeddings: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Tag probabilities [n, 100] of kept embeddings [n, 400]: each network's own last layer."""
        halves = np.split(np.asarray(embeddings, np.float32), len(self.classifiers), axis=1)
        return np.concatenate([told(half) for told, half in zip(self.classifiers, halves, strict=True)], axis=1)

    def close(self) -> None:
        """Stop the batcher's thread."""
        self.batcher.close()

    def forward(self, batch: Sequence[Patch]) -> list[Rows]:
        """Run patches through both networks: an embedding [400] each."""
        stacked = torch.from_numpy(np.stack(batch)).to(device=self.device, dtype=self.dtype)
        with torch.inference_mode():
            parts = [network.embed(stacked).float() for network in self.networks]
            return list(torch.cat(parts, 1).cpu().numpy())
