"""Silero VAD: the probability that somebody speaks, every 32 ms.

Silero Team 2024, Silero VAD (MIT), the 16 kHz network that the package has as safetensors (its TorchScript and ONNX
files hold another checkpoint). It is published to be called frame by frame; here its convolutions see a block of frames
at once and its LSTM runs over the block, which gives the same probabilities without a Python loop.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from ..protocol import WAVEFORM_RATE, Encoding, Evidence
from ..registry.weights import load
from ..serving.batcher import MicroBatcher

WEIGHTS = "silero-vad"
FRAME = 512
"""Samples a frame: 32 ms."""
CONTEXT = 64
"""Samples of the frame before that each frame is preceded by."""
FFT_HOP = 128
BINS = 129
HIDDEN = 128
BLOCK_FRAMES = 512
"""Frames in one pass: bounds memory, 16 s."""
HOP_S = FRAME / WAVEFORM_RATE
MAX_UPLOADS = 8
"""Whole sounds that one call of the network may be handed; they run one after another."""

Waveform = npt.NDArray[np.float32]
Probabilities = npt.NDArray[np.float32]


class SileroVad(nn.Module):
    """The network: blocks of one sound, in order, to probabilities. The LSTM's state is passed along."""

    transform: Tensor

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.register_buffer("transform", tensors["stft_conv.weight"])
        strides = {"conv1": 1, "conv2": 2, "conv3": 2, "conv4": 1}
        self.strides = tuple(strides.values())
        self.weights = nn.ParameterList(tensors[f"{name}.weight"] for name in strides)
        self.biases = nn.ParameterList(tensors[f"{name}.bias"] for name in strides)
        self.lstm = nn.LSTM(HIDDEN, HIDDEN)
        self.lstm.load_state_dict(
            {f"{kind}_l0": tensors[f"lstm_cell.{kind}"] for kind in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")}
        )
        self.final = nn.Linear(HIDDEN, 1)
        self.final.load_state_dict(
            {"weight": tensors["final_conv.weight"][:, :, 0], "bias": tensors["final_conv.bias"]}
        )
        self.eval().requires_grad_(False)

    def forward(self, frames: Tensor, state: tuple[Tensor, Tensor] | None) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Frames with context, [n, 576], to probabilities [n]."""
        x = functional.pad(frames[:, None], (0, CONTEXT), mode="reflect")
        x = functional.conv1d(x, self.transform, stride=FFT_HOP)
        x = torch.sqrt(x[:, :BINS] ** 2 + x[:, BINS:] ** 2)
        for weight, bias, stride in zip(self.weights, self.biases, self.strides, strict=True):
            x = functional.relu(functional.conv1d(x, weight, bias, stride=stride, padding=1))
        hidden, state = self.lstm(x[:, :, 0], state)
        return torch.sigmoid(self.final(functional.relu(hidden)))[:, 0], state


class SpeechEncoder:
    """`models.protocol.Encoder` of the waveform: scores [n, 1], the probability of speech every 32 ms; no embedding."""

    name = "silero"
    version = "silero-vad@1"

    def __init__(self, weights_dir: Path, *, device: torch.device) -> None:
        """Build it from the weights installed in `weights_dir`.

        Raises:
            WeightsMissing: they are not there.
        """
        self.device = device
        self.network = SileroVad(load(WEIGHTS, weights_dir).tensors).to(device)
        # Not for company (a sound is a sequence, and one batch of its own): for one thread, and for its counters.
        self.batcher: MicroBatcher[Waveform, Probabilities] = MicroBatcher(
            self.forward, max_batch=MAX_UPLOADS, max_wait_s=0.0, name=self.name
        )

    def encode(self, evidence: Evidence) -> Encoding:
        """Encode the sound of one upload."""
        sound = np.nan_to_num(np.asarray(evidence.waveform, dtype=np.float32), nan=0.0, posinf=1.0, neginf=-1.0)
        scores = self.batcher.submit_many([sound])[0] if len(sound) else np.zeros(0, np.float32)
        times = np.arange(len(scores), dtype=np.float64) * HOP_S
        return Encoding(self.version, times, HOP_S, np.zeros((len(scores), 0), np.float32), scores[:, None])

    def scores_of(self, embeddings: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Never asked: there are no embeddings, and so the scores themselves are kept."""
        raise ValueError("silero has no embeddings: its scores are kept")

    def close(self) -> None:
        """Stop the batcher's thread."""
        self.batcher.close()

    def forward(self, sounds: Sequence[Waveform]) -> list[Probabilities]:
        """Probabilities of each sound, one for every started frame."""
        return [self._one(sound) for sound in sounds]

    def _one(self, sound: Waveform) -> Probabilities:
        count = -(-len(sound) // FRAME)
        padded = np.pad(sound, (CONTEXT, count * FRAME - len(sound)))
        frames = torch.from_numpy(padded).unfold(0, FRAME + CONTEXT, FRAME)
        state = None
        found = []
        with torch.inference_mode():
            for block in frames.split(BLOCK_FRAMES):
                probabilities, state = self.network(block.to(self.device), state)
                found.append(probabilities.cpu().numpy())
        return np.concatenate(found)
