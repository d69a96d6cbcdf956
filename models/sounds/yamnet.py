"""YAMNet: what is heard, as AudioSet classes and an embedding.

Plakal and Ellis 2020, a MobileNet v1 (Howard et al. 2017, arXiv 1704.04861) on log-mel patches, trained on AudioSet
(Gemmeke et al. 2017). The weights are those published for TensorFlow Lite, dequantised: the window and the mel matrix
are the file's own. What is not theirs: each patch is brought to one level first. The network hears other things in a
loud sound than in the same one when it is soft, and AudioSet's videos are softer than effects that fill the scale.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from ..protocol import Encoding, Evidence
from ..registry.weights import load
from ..serving.batcher import MicroBatcher
from ..serving.device import inference_dtype
from ..serving.layers import Convolution
from ..serving.scores import LinearScores, as_kept, sigmoid
from .yamnet_geometry import FRAME, FRAME_HOP, HOP_S, PATCH_FRAMES, PATCH_HOP

WEIGHTS = "yamnet"
FFT = 512
PATCH_SAMPLES = (PATCH_FRAMES - 1) * FRAME_HOP + FRAME
EMBEDDING = 1024
CLASSES = 521
CONVOLUTIONS = 27
HALVING = (0, 3, 7, 11, 23)
"""The convolutions with stride 2; odd ones are depthwise."""
BLOCK_FRAMES = 4096
"""Frames transformed at once: about 20 MB."""
LEVEL = 1.6
"""Root mean square of the mel magnitudes that the network gets to hear. Best of 0.1 to 3.2 on the dev half of
`benchmarks/truth/effects.toml`; white noise of rms 0.034 has it."""
LEVEL_FRAMES = 200
"""Frames before and after a patch that count for its level: 2 s. A loud part does not hush what is far from it."""
MAX_GAIN = 4.0
"""12 dB, so that a noise floor stays one."""
CPU_SLICE = 16
"""Patches at once on a CPU, so that a batch stays in the cache."""

Patch = npt.NDArray[np.float32]
Row = npt.NDArray[np.float32]


class Yamnet(nn.Module):
    """The network: log-mel patches [n, 96, 64] to embeddings [n, 1024] and class logits [n, 521]."""

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.features = nn.Sequential(*(self._convolution(tensors, index) for index in range(CONVOLUTIONS)))
        self.classifier = nn.Linear(EMBEDDING, CLASSES, device="meta")
        self.classifier.load_state_dict({"weight": tensors["dense.weight"], "bias": tensors["dense.bias"]}, assign=True)
        self.eval().requires_grad_(False)

    @staticmethod
    def _convolution(tensors: Mapping[str, Tensor], index: int) -> Convolution:
        weight, bias = tensors[f"conv{index}.weight"], tensors[f"conv{index}.bias"]
        stride = 2 if index in HALVING else 1
        groups = weight.shape[0] if index % 2 else 1
        return Convolution(weight, bias, stride=stride, groups=groups, activation="relu6")

    def embed(self, patches: Tensor) -> Tensor:
        """Embeddings alone."""
        embeddings: Tensor = self.features(patches[:, None]).mean((2, 3))
        return embeddings

    def forward(self, patches: Tensor) -> tuple[Tensor, Tensor]:
        """Embeddings and logits."""
        embeddings = self.embed(patches)
        return embeddings, self.classifier(embeddings)


class LogMel:
    """The network's front end: 16 kHz sound to log-mel frames.

    On the CPU and in numpy, since it is called from the threads of many uploads: torch would give each its own OpenMP
    pool.
    """

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        self.window = tensors["window"].numpy()
        self.mel = tensors["mel"].numpy()
        self.offset = tensors["mel_offset"].numpy()

    def __call__(self, waveform: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """[samples] to [frames, 64], only whole frames."""
        return self.log(self.magnitudes(waveform))

    def log(self, magnitudes: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """What the network reads of magnitudes."""
        return np.log(magnitudes + self.offset)

    def magnitudes(self, waveform: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """[samples] to mel magnitudes [frames, 64], linear in the sound's amplitude."""
        frames = np.lib.stride_tricks.sliding_window_view(waveform, FRAME)[::FRAME_HOP]
        blocks = [self._block(frames[at : at + BLOCK_FRAMES]) for at in range(0, len(frames), BLOCK_FRAMES)]
        return np.concatenate(blocks)

    def _block(self, frames: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        return np.abs(np.fft.rfft(frames * self.window, FFT)).astype(np.float32) @ self.mel


def gains(magnitudes: npt.NDArray[np.float32], sounding: int, count: int) -> npt.NDArray[np.float32]:
    """What each patch's magnitudes [frames, 64] are multiplied by: [count].

    The level is that of the bands that the network hears, so that rumble below them does not count.

    Args:
        magnitudes: of the whole sound.
        sounding: frames that hold some of it; behind them is only filling.
        count: of patches.
    """
    power = np.concatenate(([0.0], np.cumsum(np.square(magnitudes[:sounding]).mean(axis=1), dtype=np.float64)))
    starts = np.arange(count) * PATCH_HOP
    first = np.clip(starts - LEVEL_FRAMES, 0, sounding - 1)
    end = np.clip(starts + PATCH_FRAMES + LEVEL_FRAMES, 1, sounding)
    # Differences of a running sum: never below 0 but for rounding.
    level = np.sqrt(np.maximum(power[end] - power[first], 0.0) / (end - first))
    return (LEVEL / np.maximum(level, LEVEL / MAX_GAIN)).astype(np.float32)


def patches(waveform: npt.NDArray[np.float32], front_end: LogMel) -> list[Patch]:
    """The patches of a sound, each [96, 64], every 0.48 s, each at one level (`gains`).

    The last is filled up with silence; no sound, no patch.
    """
    if len(waveform) == 0:
        return []
    # A broken decoder's NaN or infinity would spread over every class of its patch.
    sound = np.nan_to_num(np.asarray(waveform, dtype=np.float32), nan=0.0, posinf=1.0, neginf=-1.0)
    hop = PATCH_HOP * FRAME_HOP
    count = 1 + max(0, -(-(len(sound) - PATCH_SAMPLES) // hop))
    sounding = -(-len(sound) // FRAME_HOP)
    sound = np.pad(sound, (0, (count - 1) * hop + PATCH_SAMPLES - len(sound)))
    heard = front_end.magnitudes(sound)
    gain = gains(heard, min(sounding, len(heard)), count)
    return [
        front_end.log(heard[at * PATCH_HOP : at * PATCH_HOP + PATCH_FRAMES] * gain[at]).astype(np.float32, copy=False)
        for at in range(count)
    ]


class SoundEncoder:
    """`models.protocol.Encoder` of the waveform: embeddings [n, 1024], AudioSet probabilities [n, 521] every 0.48 s.

    Row i has heard 0.96 s of sound from its time on.
    """

    name = "yamnet"
    version = "yamnet@2"
    """2: patches at one level."""

    def __init__(
        self, weights_dir: Path, *, device: torch.device, max_batch: int = 64, max_wait_s: float = 0.01
    ) -> None:
        """Build it from the weights installed in `weights_dir`.

        Raises:
            WeightsMissing: they are not there.
        """
        tensors = load(WEIGHTS, weights_dir).tensors
        self.front_end = LogMel(tensors)
        self.device = device
        self.dtype = inference_dtype(device)
        network = Yamnet(tensors)
        self.classifier = LinearScores.of(network.classifier, sigmoid)
        self.network = network.to(device=device, dtype=self.dtype)
        self.batcher: MicroBatcher[Patch, Row] = MicroBatcher(
            self.forward, max_batch=max_batch, max_wait_s=max_wait_s, name=self.name
        )

    def encode(self, evidence: Evidence) -> Encoding:
        """Encode the sound of one upload."""
        rows = self.batcher.submit_many(patches(evidence.waveform, self.front_end))
        embeddings = as_kept(np.stack(rows) if rows else np.zeros((0, EMBEDDING), np.float32))
        times = np.arange(len(rows), dtype=np.float64) * HOP_S
        return Encoding(self.version, times, HOP_S, embeddings, self.scores_of(embeddings))

    def scores_of(self, embeddings: Row) -> Row:
        """AudioSet probabilities [n, 521] of kept embeddings [n, 1024]: the network's own last layer."""
        return self.classifier(embeddings)

    def close(self) -> None:
        """Stop the batcher's thread."""
        self.batcher.close()

    def forward(self, batch: Sequence[Patch]) -> list[Row]:
        """Run patches through the network: an embedding [1024] each."""
        stacked = torch.from_numpy(np.stack(batch)).to(device=self.device, dtype=self.dtype)
        with torch.inference_mode():
            parts = stacked.split(CPU_SLICE if self.device.type == "cpu" else len(batch))
            rows = [self.network.embed(part).float() for part in parts]
            return list(torch.cat(rows).cpu().numpy())
