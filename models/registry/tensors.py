"""Named tensors as converters make them, and constants that a file quantised."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from .sources import WeightsError

TFLITE_INT8 = 9
TFLITE_INT32 = 2
TFLITE_FLOAT32 = 0
TFLITE_FLOAT16 = 1


class ConversionFailed(WeightsError):
    """The file is not what the converter expects."""


@dataclass(frozen=True)
class Tensors:
    """A converted file."""

    tensors: dict[str, torch.Tensor]
    labels: tuple[str, ...] = field(default=())
    """Names of the classes, in the order of the network's outputs, where the file has them."""


def dequantised(model: Any, tensor: Any) -> np.ndarray:
    """Float values of a constant: scale x (q - zero point), per channel where it is so quantised."""
    raw = model.Buffers(tensor.Buffer()).DataAsNumpy()
    shape = tuple(int(size) for size in tensor.ShapeAsNumpy())
    kind = tensor.Type()
    if kind == TFLITE_FLOAT32:
        return raw.view("<f4").reshape(shape)
    if kind == TFLITE_FLOAT16:
        return raw.view("<f2").astype(np.float32).reshape(shape)
    if kind not in (TFLITE_INT8, TFLITE_INT32):
        raise ConversionFailed(f"a constant of tensor type {kind}")
    values = raw.view("<i1" if kind == TFLITE_INT8 else "<i4").reshape(shape).astype(np.float64)
    quantisation = tensor.Quantization()
    scale = quantisation.ScaleAsNumpy().astype(np.float64)
    zero = quantisation.ZeroPointAsNumpy().astype(np.float64)
    if scale.size > 1:
        along = [1] * values.ndim
        along[quantisation.QuantizedDimension()] = scale.size
        scale, zero = scale.reshape(along), zero.reshape(along)
    return (values - zero) * scale
