"""Turn the files that packages carry into plain named tensors. No converter runs code from a file."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable

import numpy as np
import torch

from .graphs import convert_face_full_range, convert_open_nsfw, convert_yolox
from .tensors import ConversionFailed, Tensors, dequantised

YAMNET_CLASSES = 521
YAMNET_LABELS = "yamnet_label_list.txt"

Converter = Callable[..., Tensors]
"""Takes the bytes of a source's member, and of its further ones in order."""


def convert_state_dict(content: bytes) -> Tensors:
    """A torch checkpoint that is one flat dict of tensors, loaded without unpickling any code."""
    try:
        state = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as error:
        raise ConversionFailed(f"not a plain torch checkpoint: {error}") from error
    if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise ConversionFailed("the checkpoint is not one flat dict of tensors")
    # The count of training steps is of no use for inference.
    kept = {name: value for name, value in state.items() if not name.endswith("num_batches_tracked")}
    return Tensors({name: value.contiguous().clone() for name, value in kept.items()})


def convert_safetensors(content: bytes) -> Tensors:
    """A safetensors file."""
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        return Tensors(load(content))
    except (SafetensorError, ValueError, KeyError) as error:
        raise ConversionFailed(f"not a safetensors file: {error}") from error


def convert_yamnet(content: bytes) -> Tensors:
    """YAMNet as published for TensorFlow Lite (int8 per channel), dequantised.

    Gives `window` [400], `mel` [257, 64], `mel_offset` [64], `conv0`..`conv26` `.weight` (torch layout) and `.bias`,
    `dense.weight` [521, 1024] and `.bias`, and the display names zipped behind the network.
    """
    try:
        return _convert_yamnet(content)
    except ConversionFailed:
        raise
    except Exception as error:  # flatbuffers raises whatever a broken offset leads to
        raise ConversionFailed(f"not YAMNet as published for TensorFlow Lite: {error!r}") from error


def _convert_yamnet(content: bytes) -> Tensors:
    import tflite

    model = tflite.Model.GetRootAsModel(content, 0)
    graph = model.Subgraphs(0)
    tensors: dict[str, torch.Tensor] = {}
    convolutions = 0
    for index in range(graph.OperatorsLength()):
        operator = graph.Operators(index)
        code = model.OperatorCodes(operator.OpcodeIndex())
        kind = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())
        inputs = operator.InputsAsNumpy()
        if kind in (tflite.BuiltinOperator.CONV_2D, tflite.BuiltinOperator.DEPTHWISE_CONV_2D):
            weight, bias = (dequantised(model, graph.Tensors(int(i))) for i in inputs[1:3])
            # TensorFlow keeps [out, h, w, in], and depthwise [1, h, w, channels]; torch wants [out, in / groups, h, w].
            depthwise = kind == tflite.BuiltinOperator.DEPTHWISE_CONV_2D
            order = (3, 0, 1, 2) if depthwise else (0, 3, 1, 2)
            tensors[f"conv{convolutions}.weight"] = _tensor(weight.transpose(order))
            tensors[f"conv{convolutions}.bias"] = _tensor(bias)
            convolutions += 1
        elif kind == tflite.BuiltinOperator.FULLY_CONNECTED:
            weight, bias = (dequantised(model, graph.Tensors(int(i))) for i in inputs[1:3])
            if weight.shape[0] == YAMNET_CLASSES:
                tensors["dense.weight"], tensors["dense.bias"] = _tensor(weight), _tensor(bias)
            else:
                tensors["mel"], tensors["mel_offset"] = _tensor(weight.T), _tensor(bias)
        elif kind == tflite.BuiltinOperator.MUL:
            tensors["window"] = _tensor(dequantised(model, graph.Tensors(int(inputs[1]))))
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        labels = tuple(archive.read(YAMNET_LABELS).decode().splitlines())
    expected = {"window": (400,), "mel": (257, 64), "mel_offset": (64,), "dense.weight": (YAMNET_CLASSES, 1024)}
    found = {name: tuple(tensors[name].shape) for name in expected if name in tensors}
    if found != expected or convolutions != 27 or len(labels) != YAMNET_CLASSES:
        raise ConversionFailed(f"not YAMNet: {found}, {convolutions} convolutions, {len(labels)} labels")
    return Tensors(tensors, labels)


def _tensor(values: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.array(values, dtype=np.float32, order="C"))


def convert_musicnn(data: bytes, index: bytes) -> Tensors:
    """One of musicnn's networks (Pons and Serra 2019), from its TensorFlow 1 checkpoint, as it is named there.

    Kernels are brought to torch's layout: convolutions [out, in, time, frequency], dense layers [out, in].
    """
    from .checkpoint import NotACheckpoint, read_checkpoint

    try:
        found = read_checkpoint(index, data)
    except NotACheckpoint as error:
        raise ConversionFailed(f"not a TensorFlow checkpoint: {error}") from error
    order = {4: (3, 2, 0, 1), 2: (1, 0)}
    tensors = {
        # Adam's moments are of no use for inference.
        name: _tensor(values.transpose(order[values.ndim]) if values.ndim in order else values)
        for name, values in found.items()
        if "/Adam" not in name and "/" in name
    }
    expected = {"conv2d/kernel": (204, 1, 7, 38), "dense/kernel": (200, 1506), "dense_1/kernel": (50, 200)}
    shapes = {name: tuple(tensors[name].shape) for name in expected if name in tensors}
    if shapes != expected:
        raise ConversionFailed(f"not musicnn: {shapes}")
    return Tensors(tensors)


def convert_files(*contents: bytes) -> Tensors:
    """Files of another engine, kept whole: `file0`, `file1`, ..., uint8. The engine checks what they are."""
    return Tensors(
        {
            f"file{place}": torch.frombuffer(bytearray(content), dtype=torch.uint8)
            for place, content in enumerate(contents)
        }
    )


CONVERTERS: dict[str, Converter] = {
    "files": convert_files,
    "musicnn-checkpoint": convert_musicnn,
    "yolox-onnx": convert_yolox,
    "open-nsfw-onnx": convert_open_nsfw,
    "face-full-range-tflite": convert_face_full_range,
    "safetensors": convert_safetensors,
    "torch-state-dict": convert_state_dict,
    "yamnet-tflite": convert_yamnet,
}
