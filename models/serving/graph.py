"""Runs the short programs that `models.registry.graphs` makes of published networks, in torch, on any device."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..registry.graphs import IMAGE, PROGRAM, Step, program_of

_FUSED: Mapping[str, str] = {"none": "none", "relu": "relu", "swish": "swish"}
"""Activations by the names that oneDNN's fused convolution has for them: see `models.serving.layers`."""


class _Convolution(nn.Module):
    """Convolution with its padding, bias and activation."""

    weight: Tensor
    bias: Tensor

    def __init__(self, step: Step, weight: Tensor, bias: Tensor) -> None:
        super().__init__()
        self.register_buffer("weight", weight.contiguous(memory_format=torch.channels_last))
        self.register_buffer("bias", bias)
        left, right, top, bottom = step["pad"]
        self.even = left == right and top == bottom
        self.around = (left, right, top, bottom)
        self.stride, self.groups, self.act = step["stride"], step["groups"], step["act"]
        self.fuse = torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_convolution_pointwise")

    def forward(self, x: Tensor) -> Tensor:
        padding = [self.around[2], self.around[0]]
        if not self.even:
            x, padding = functional.pad(x, self.around), [0, 0]
        if self.fuse and x.device.type == "cpu" and x.dtype == torch.float32:
            fused: Tensor = torch.ops.mkldnn._convolution_pointwise(
                x, self.weight, self.bias, padding, [self.stride] * 2, [1, 1], self.groups, _FUSED[self.act], [], ""
            )
            return fused
        x = functional.conv2d(x, self.weight, self.bias, self.stride, padding, 1, self.groups)
        if self.act == "swish":
            return functional.silu(x, inplace=True)
        return functional.relu(x, inplace=True) if self.act == "relu" else x


def _focus(x: Tensor) -> Tensor:
    """YOLOX's first step: each 2 x 2 px as channels, the left column first."""
    return torch.cat([x[..., ::2, ::2], x[..., 1::2, ::2], x[..., ::2, 1::2], x[..., 1::2, 1::2]], 1)


_PLAIN: Mapping[str, Callable[..., Tensor]] = {
    "add": lambda step, a, b: a + b,
    "mul": lambda step, a, b: a * b,
    "relu": lambda step, a: functional.relu(a),
    "sigmoid": lambda step, a: torch.sigmoid(a),
    "concat": lambda step, *parts: torch.cat(parts, 1),
    "focus": lambda step, a: _focus(a),
    "mean": lambda step, a: a.mean((2, 3), keepdim=True),
    "channels": lambda step, a: functional.pad(a, (0, 0, 0, 0, 0, step["more"])),
    "nearest": lambda step, a: functional.interpolate(a, scale_factor=step["factor"], mode="nearest"),
    "bilinear": lambda step, a: functional.interpolate(
        a, scale_factor=step["factor"], mode="bilinear", align_corners=False
    ),
    "maxpool": lambda step, a: functional.max_pool2d(
        a, step["size"], step["stride"], step["pad"], ceil_mode=step["stride"] > 1
    ),
}


class Graph(nn.Module):
    """A program: [n, channels, h, w] to its outputs, in order. For inference only."""

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.steps = program_of(dict(tensors))
        self.convolutions = nn.ModuleDict(
            {
                step["tensor"]: _Convolution(
                    step, tensors[f"{step['tensor']}.weight"], tensors[f"{step['tensor']}.bias"]
                )
                for step in self.steps
                if step["op"] == "conv"
            }
        )
        unknown = {step["op"] for step in self.steps} - {"conv", "output", *_PLAIN}
        if unknown or PROGRAM not in tensors:
            raise ValueError(f"operations that are not known here: {', '.join(sorted(unknown))}")
        last: dict[str, int] = {name: number for number, step in enumerate(self.steps) for name in step["in"]}
        self.done_with = [
            [name for name in step["in"] if last[name] == number] for number, step in enumerate(self.steps)
        ]
        self.eval().requires_grad_(False)

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """Run it. What is not needed any more is let go of at once."""
        values: dict[str, Any] = {IMAGE: image}
        outputs = []
        for step, done in zip(self.steps, self.done_with, strict=True):
            inputs = [values[name] for name in step["in"]]
            if step["op"] == "output":
                outputs.append(inputs[0])
            elif step["op"] == "conv":
                values[step["out"]] = self.convolutions[step["tensor"]](inputs[0])
            else:
                values[step["out"]] = _PLAIN[step["op"]](step, *inputs)
            for name in set(done):
                del values[name]
        return tuple(outputs)
