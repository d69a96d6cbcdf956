"""A convolution with its batch-norm folded in, padded as TensorFlow pads, and fast on a CPU.

Why this is not `nn.Conv2d` plus `nn.ReLU6`: in eager torch on a CPU the 1x1 convolutions of a mobile network go
through a plain im2col, and the activation is a pass of its own. oneDNN's fused operator (the one that torch's own
compiler emits) does both in one; on the networks here it gives the same bits in two thirds of the time.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

Activation = Literal["none", "relu", "relu6"]

RELU6_LIMITS = (0.0, 6.0)

_FUSED: dict[Activation, tuple[str, list[float]]] = {
    "none": ("none", []),
    "relu": ("relu", []),
    "relu6": ("hardtanh", list(RELU6_LIMITS)),
}


def same_padding(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """TensorFlow's SAME padding of one dimension: before and after. The odd pixel goes after."""
    total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


def fold_batch_norm(
    weight: Tensor, scale: Tensor, shift: Tensor, *, mean: Tensor, variance: Tensor, eps: float
) -> tuple[Tensor, Tensor]:
    """Weight and bias of the convolution that equals a bias-free one followed by this batch-norm."""
    gain = scale / torch.sqrt(variance + eps)
    return weight * gain[:, None, None, None], shift - mean * gain


class Convolution(nn.Module):
    """Square 2-d convolution, SAME padding, bias, activation. Its tensors are buffers: they are trained only where
    somebody asks for their gradient (`models.training.tune`).

    Shapes: [n, in, h, w] to [n, out, ceil(h / stride), ceil(w / stride)].
    """

    weight: Tensor
    bias: Tensor

    def __init__(
        self, weight: Tensor, bias: Tensor, *, stride: int = 1, groups: int = 1, activation: Activation = "none"
    ) -> None:
        super().__init__()
        self.register_buffer("weight", weight.contiguous(memory_format=torch.channels_last))
        self.register_buffer("bias", bias.contiguous())
        self.kernel = int(weight.shape[-1])
        self.stride = stride
        self.groups = groups
        self.activation: Activation = activation
        self.fuse = torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_convolution_pointwise")

    def forward(self, x: Tensor) -> Tensor:
        """Convolve, add the bias, activate."""
        rows = same_padding(x.shape[-2], self.kernel, self.stride)
        columns = same_padding(x.shape[-1], self.kernel, self.stride)
        padding = [rows[0], columns[0]]
        if rows[0] != rows[1] or columns[0] != columns[1]:
            x = functional.pad(x, (*columns, *rows))
            padding = [0, 0]
        # The fused operator has no gradient.
        fuse = self.fuse and not (self.weight.requires_grad and torch.is_grad_enabled())
        if fuse and x.device.type == "cpu" and x.dtype == torch.float32:
            attribute, scalars = _FUSED[self.activation]
            fused: Tensor = torch.ops.mkldnn._convolution_pointwise(
                x, self.weight, self.bias, padding, [self.stride] * 2, [1, 1], self.groups, attribute, scalars, ""
            )
            return fused
        x = functional.conv2d(x, self.weight, self.bias, self.stride, padding, 1, self.groups)
        if self.activation == "relu6":
            return functional.hardtanh(x, *RELU6_LIMITS, inplace=True)
        return functional.relu(x, inplace=True) if self.activation == "relu" else x
