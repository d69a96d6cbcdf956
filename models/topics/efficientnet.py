"""EfficientNet-Lite2: what is in a picture, as ImageNet-1k classes and an embedding.

Tan and Le 2019, "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks" (arXiv 1905.11946). The lite
variant has no squeeze-and-excitation, ReLU6 for swish, and a stem and head of fixed width.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from ..protocol import Encoding, Evidence
from ..registry.weights import load
from ..serving.batcher import MicroBatcher
from ..serving.device import inference_dtype
from ..serving.layers import Activation, Convolution, fold_batch_norm
from ..serving.scores import LinearScores, as_kept, softmax

WEIGHTS = "efficientnet-lite2"
INPUT_SIDE = 260
"""Side of the square that the network sees, px."""
RESIZE_SIDE = 297
"""Short side that a picture is scaled to before the crop, px: 260 / 0.875."""
PIXEL_MEAN = 127.0
PIXEL_SCALE = 128.0
BATCH_NORM_EPS = 1e-3
EMBEDDING = 1280
CLASSES = 1000
FIRST_BLOCKS = {0: 1, 1: 2, 4: 2, 7: 2, 11: 1, 15: 2, 20: 1}
"""Stride of each stage by its first block; every other block has stride 1."""
CPU_SLICE = 4
"""Pictures at once on a CPU: larger batches leave the cache and take up to twice the time a picture."""

Crop = npt.NDArray[np.uint8]
Row = npt.NDArray[np.float32]


class _Block(nn.Module):
    """Inverted bottleneck: expand 1x1, depthwise, project 1x1, and the input added where the shapes allow."""

    def __init__(self, tensors: Mapping[str, Tensor], index: int) -> None:
        super().__init__()
        stride = FIRST_BLOCKS.get(index, 1)
        prefix = f"_blocks.{index}."
        layers = []
        if f"{prefix}_expand_conv.weight" in tensors:
            layers.append(_convolution(tensors, f"{prefix}_expand_conv", f"{prefix}_bn0", "relu6"))
        layers.append(_convolution(tensors, f"{prefix}_depthwise_conv", f"{prefix}_bn1", "relu6", stride))
        layers.append(_convolution(tensors, f"{prefix}_project_conv", f"{prefix}_bn2", "none"))
        self.layers = nn.Sequential(*layers)
        # The first layer is depthwise in a block without expansion: its output is as wide as the block's input.
        entering = layers[0].weight.shape[1] if len(layers) == 3 else layers[0].weight.shape[0]
        self.adds = stride == 1 and entering == layers[-1].weight.shape[0]

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.layers(x)
        return y.add_(x) if self.adds else y


def _convolution(
    tensors: Mapping[str, Tensor], name: str, norm: str, activation: Activation, stride: int = 1
) -> Convolution:
    weight, bias = fold_batch_norm(
        tensors[f"{name}.weight"],
        tensors[f"{norm}.weight"],
        tensors[f"{norm}.bias"],
        mean=tensors[f"{norm}.running_mean"],
        variance=tensors[f"{norm}.running_var"],
        eps=BATCH_NORM_EPS,
    )
    groups = weight.shape[0] if name.endswith("_depthwise_conv") else 1
    return Convolution(weight, bias, stride=stride, groups=groups, activation=activation)


class EfficientNetLite2(nn.Module):
    """The network: [n, 3, 260, 260] normalised RGB to embeddings [n, 1280] and class logits [n, 1000]."""

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        super().__init__()
        count = 1 + max(int(name.split(".")[1]) for name in tensors if name.startswith("_blocks."))
        self.features = nn.Sequential(
            _convolution(tensors, "_conv_stem", "_bn0", "relu6", stride=2),
            *(_Block(tensors, index) for index in range(count)),
            _convolution(tensors, "_conv_head", "_bn1", "relu6"),
        )
        self.classifier = nn.Linear(EMBEDDING, CLASSES, device="meta")
        self.classifier.load_state_dict({"weight": tensors["_fc.weight"], "bias": tensors["_fc.bias"]}, assign=True)
        self.eval().requires_grad_(False)

    def embed(self, x: Tensor) -> Tensor:
        """Embeddings alone."""
        embeddings: Tensor = self.features(x).mean((2, 3))
        return embeddings

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Embeddings and logits."""
        embeddings = self.embed(x)
        return embeddings, self.classifier(embeddings)


def prepare(frame: npt.NDArray[np.uint8]) -> Crop:
    """The centre of a frame [h, w, 3] as the network sees it, [260, 260, 3].

    As scaling the short side to 297 px and cropping 260, but cropped first, so that a sliver of a picture costs no
    more than any other.
    """
    height, width = frame.shape[:2]
    side = INPUT_SIDE if min(height, width) == RESIZE_SIDE else round(min(height, width) * INPUT_SIDE / RESIZE_SIDE)
    side = max(side, 1)
    top, left = (height - side) // 2, (width - side) // 2
    crop = np.ascontiguousarray(frame[top : top + side, left : left + side])
    if side == INPUT_SIDE:
        return crop
    how = cv2.INTER_AREA if side > INPUT_SIDE else cv2.INTER_CUBIC  # bicubic without a filter would alias
    return np.asarray(cv2.resize(crop, (INPUT_SIDE, INPUT_SIDE), interpolation=how), dtype=np.uint8)


def imagenet_classes() -> tuple[str, ...]:
    """The names of the 1000 classes, in the order of the scores."""
    from torchvision.models import EfficientNet_B0_Weights

    return tuple(EfficientNet_B0_Weights.IMAGENET1K_V1.meta["categories"])


class PictureEncoder:
    """`models.protocol.Encoder` of sampled frames: embeddings [n, 1280], ImageNet-1k probabilities [n, 1000]."""

    name = "picture"
    version = "efficientnet-lite2@1"

    def __init__(
        self, weights_dir: Path, *, device: torch.device, max_batch: int = 32, max_wait_s: float = 0.01
    ) -> None:
        """Build it from the weights installed in `weights_dir`.

        Raises:
            WeightsMissing: they are not there.
        """
        self.device = device
        self.dtype = inference_dtype(device)
        network = EfficientNetLite2(load(WEIGHTS, weights_dir).tensors)
        self.classifier = LinearScores.of(network.classifier, softmax)
        self.network = network.to(device=device, dtype=self.dtype)
        self.batcher: MicroBatcher[Crop, Row] = MicroBatcher(
            self.forward, max_batch=max_batch, max_wait_s=max_wait_s, name=self.name
        )

    def encode(self, evidence: Evidence) -> Encoding:
        """Encode all frames of one upload."""
        times = np.asarray(evidence.frame_times_s, dtype=np.float64)
        rows = self.batcher.submit_many([prepare(frame) for frame in evidence.frames])
        embeddings = as_kept(np.stack(rows) if rows else np.zeros((0, EMBEDDING), np.float32))
        hop_s = float(np.median(np.diff(times))) if len(times) > 1 else evidence.duration_s
        return Encoding(self.version, times, hop_s, embeddings, self.scores_of(embeddings))

    def scores_of(self, embeddings: Row) -> Row:
        """ImageNet-1k probabilities [n, 1000] of kept embeddings [n, 1280]: the network's own last layer."""
        return self.classifier(embeddings)

    def close(self) -> None:
        """Stop the batcher's thread."""
        self.batcher.close()

    def forward(self, crops: Sequence[Crop]) -> list[Row]:
        """Run prepared crops through the network: an embedding [1280] each."""
        return list(run(self.network.embed, crops, self.device, self.dtype).float().cpu().numpy())


def run(network: Callable[[Tensor], Tensor], crops: Sequence[Crop], device: torch.device, dtype: torch.dtype) -> Tensor:
    """Normalise prepared crops, and put them through a network or the first part of one, in slices that suit the
    device."""
    batch = torch.from_numpy(np.stack(crops)).to(device)
    # [n, h, w, 3] seen as [n, 3, h, w] is channels_last already, which is what the convolutions like best.
    pixels = batch.permute(0, 3, 1, 2).to(dtype).sub_(PIXEL_MEAN).div_(PIXEL_SCALE)
    with torch.inference_mode():
        return torch.cat([network(part) for part in pixels.split(CPU_SLICE if device.type == "cpu" else len(crops))])
