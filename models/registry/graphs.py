"""From the graphs that packages carry (ONNX, TensorFlow Lite) to a short program of a few operations and its tensors.

The program is what `models.serving.graph` runs, on any device. A converter knows the one published file that the
manifest names by its sha256, takes only the operations that this file has, and folds batch-norms and activations into
the convolutions. No code of a file is run. The program is kept among the tensors, as UTF-8 JSON under `PROGRAM`.

A program is a list of steps, each `{"op", "in", "out", ...}`; the first step's input is `IMAGE`, and `output` steps
name what is given back. Everything is [n, channels, h, w].
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import numpy as np
import torch

from .tensors import ConversionFailed, Tensors, dequantised

PROGRAM = "program"
IMAGE = "image"
TFLITE_SAME = 0

Step = dict[str, Any]


def program_of(tensors: dict[str, torch.Tensor]) -> list[Step]:
    """The steps that are kept with the tensors."""
    steps: list[Step] = json.loads(bytes(tensors[PROGRAM].numpy()).decode())
    return steps


def convert_yolox(content: bytes) -> Tensors:
    """YOLOX as its authors export it: three maps [n, 85, h, w] of boxes, objectness and classes, finest first."""
    return _told("YOLOX as exported to ONNX", _convert_yolox, content)


def convert_open_nsfw(content: bytes) -> Tensors:
    """Yahoo's open_nsfw in ONNX: [n, 2, 1, 1] logits of safe and not."""
    return _told("open_nsfw as exported to ONNX", _convert_open_nsfw, content)


def convert_face_full_range(content: bytes) -> Tensors:
    """The full-range face detector as published for TensorFlow Lite: maps [n, 16, 48, 48] and [n, 1, 48, 48]."""
    return _told("the full-range face detector", _convert_face, content)


def _told(what: str, convert: Callable[[bytes], Tensors], content: bytes) -> Tensors:
    try:
        return convert(content)
    except ConversionFailed:
        raise
    except Exception as error:  # parsers raise whatever a broken file leads to
        raise ConversionFailed(f"not {what}: {error!r}") from error


def _kept(steps: Sequence[Step], tensors: dict[str, np.ndarray]) -> Tensors:
    text = json.dumps(_fused(list(steps)), separators=(",", ":")).encode()
    kept = {name: torch.from_numpy(np.array(value, np.float32, order="C")) for name, value in tensors.items()}
    return Tensors({**kept, PROGRAM: torch.frombuffer(bytearray(text), dtype=torch.uint8)})


def _fused(steps: list[Step]) -> list[Step]:
    """Activations of a convolution's output, taken by nothing else, as the convolution's own; x * sigmoid(x) is one."""
    uses = Counter(name for step in steps for name in step["in"])
    makers = {step["out"]: step for step in steps}
    dropped: set[int] = set()
    for step in steps:
        source = makers.get(step["in"][0])
        if step["op"] == "mul" and source is not None:
            gate = makers.get(step["in"][1])
            if gate is not None and gate["op"] == "sigmoid" and gate["in"] == [source["out"]]:
                dropped.add(id(gate))
                if source["op"] == "conv" and uses[source["out"]] == 2:
                    source["act"], source["out"] = "swish", step["out"]
                    dropped.add(id(step))
        elif step["op"] == "relu" and source is not None and source["op"] == "conv" and uses[source["out"]] == 1:
            source["act"], source["out"] = "relu", step["out"]
            dropped.add(id(step))
    return [step for step in steps if id(step) not in dropped]


def _onnx(content: bytes) -> tuple[Any, dict[str, np.ndarray]]:
    import onnx

    graph = onnx.load_from_string(content).graph
    return graph, {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer}


def _attributes(node: Any) -> dict[str, Any]:
    import onnx

    return {one.name: onnx.helper.get_attribute_value(one) for one in node.attribute}


def _conv(steps: list[Step], source: str, out: str, attributes: dict[str, Any]) -> str:
    top, left, bottom, right = attributes["pads"]
    if attributes["dilations"] != [1, 1] or attributes["strides"][0] != attributes["strides"][1]:
        raise ConversionFailed("a convolution that is dilated or uneven")
    name = f"conv{sum(step['op'] == 'conv' for step in steps)}"
    where = {"pad": [left, right, top, bottom], "stride": attributes["strides"][0], "groups": attributes["group"]}
    steps.append({"op": "conv", "in": [source], "out": out, "tensor": name, **where, "act": "none"})
    return name


def _convert_yolox(content: bytes) -> Tensors:
    graph, constants = _onnx(content)
    steps: list[Step] = []
    tensors: dict[str, np.ndarray] = {}
    outputs = []
    simple = {"Sigmoid": "sigmoid", "Mul": "mul", "Add": "add"}
    for node in graph.node:
        attributes, source, out = _attributes(node), list(node.input), node.output[0]
        if node.op_type == "Slice":
            continue  # the slices part the picture's pixels into four; their concatenation is what is kept
        if node.op_type == "Conv":
            name = _conv(steps, source[0], out, attributes)
            tensors[f"{name}.weight"], tensors[f"{name}.bias"] = (constants[one] for one in source[1:])
        elif node.op_type in simple:
            steps.append({"op": simple[node.op_type], "in": source, "out": out})
        elif node.op_type == "Concat" and not steps:
            steps.append({"op": "focus", "in": [IMAGE], "out": out})
        elif node.op_type == "Concat" and attributes["axis"] == 1:
            steps.append({"op": "concat", "in": source, "out": out})
        elif node.op_type == "MaxPool":
            size = attributes["kernel_shape"][0]
            steps.append({"op": "maxpool", "in": source, "out": out, "size": size, "stride": 1, "pad": size // 2})
        elif node.op_type == "Resize":
            steps.append({"op": "nearest", "in": source[:1], "out": out, "factor": 2})
        elif node.op_type == "Reshape":
            outputs.append(source[0])
        elif node.op_type not in {"Concat", "Transpose"}:
            raise ConversionFailed(f"an operation {node.op_type}")
    if len(outputs) != 3 or len(tensors) != 226:
        raise ConversionFailed(f"not YOLOX-Nano: {len(outputs)} maps, {len(tensors)} tensors")
    steps += [{"op": "output", "in": [name], "out": name} for name in outputs]
    return _kept(steps, tensors)


def _convert_open_nsfw(content: bytes) -> Tensors:
    """Transposes and casts go (all is [n, channels, h, w] here); what follows a convolution by constants is folded."""
    graph, constants = _onnx(content)
    steps: list[Step] = []
    tensors: dict[str, np.ndarray] = {}
    same: dict[str, str] = {}
    for node in graph.node:
        source = [same.get(name, name) for name in node.input]
        out = node.output[0]
        known = [constants.get(name) for name in source]
        if node.op_type in {"Cast", "Identity", "Transpose"} or (node.op_type == "Pad" and source[0] != out):
            same[out] = IMAGE if source[0] == graph.input[0].name else source[0]
        elif node.op_type == "Conv":
            attributes = _attributes(node)
            if attributes["kernel_shape"] == [7, 7]:
                attributes["pads"] = [3, 3, 3, 3]  # the padding before it
            name = _conv(steps, source[0], out, attributes)
            tensors[f"{name}.weight"] = np.asarray(known[1], np.float64)
            tensors[f"{name}.bias"] = np.zeros(tensors[f"{name}.weight"].shape[0])
        elif node.op_type in {"Add", "Sub", "Mul"} and known[1] is not None and known[1].size > 1:
            constant = np.asarray(known[1], np.float64).reshape(-1)
            step = next((one for one in steps if one["out"] == source[0] and one["op"] == "conv"), None)
            if step is None:
                raise ConversionFailed(f"a constant that follows no convolution: {node.name}, {constant.shape}")
            _fold(tensors, step["tensor"], node.op_type, constant)
            same[out] = step["out"]
        elif node.op_type == "Add" and _made(steps, source):
            steps.append({"op": "add", "in": source, "out": out})
        elif node.op_type == "Relu":
            steps.append({"op": "relu", "in": source, "out": out})
        elif node.op_type == "MaxPool":
            steps.append({"op": "maxpool", "in": source, "out": out, "size": 3, "stride": 2, "pad": 0})
        elif node.op_type == "ReduceMean":
            steps.append({"op": "mean", "in": source, "out": out})
        elif node.op_type == "MatMul":
            name = _conv(steps, source[0], out, {"pads": [0] * 4, "dilations": [1, 1], "strides": [1, 1], "group": 1})
            tensors[f"{name}.weight"] = np.asarray(known[1], np.float64).T[:, :, None, None]
            tensors[f"{name}.bias"] = np.zeros(tensors[f"{name}.weight"].shape[0])
        # What is left reckons the paddings from the picture's size, which is always the same.
    if sum(step["op"] == "conv" for step in steps) != 54:
        raise ConversionFailed(f"not open_nsfw: {len(steps)} steps")
    steps.append({"op": "output", "in": [steps[-1]["out"]], "out": "logits"})
    return _kept(steps, tensors)


def _made(steps: Sequence[Step], names: Sequence[str]) -> bool:
    made = {step["out"] for step in steps}
    return all(name in made for name in names)


def _fold(tensors: dict[str, np.ndarray], name: str, operation: str, constant: np.ndarray) -> None:
    if operation == "Mul":
        tensors[f"{name}.weight"] = tensors[f"{name}.weight"] * constant[:, None, None, None]
        tensors[f"{name}.bias"] = tensors[f"{name}.bias"] * constant
    else:
        tensors[f"{name}.bias"] = tensors[f"{name}.bias"] + (constant if operation == "Add" else -constant)


class _Face:
    """A TensorFlow Lite graph on its way to a program."""

    plain: ClassVar[dict[str, tuple[str, int]]] = {"ADD": ("add", 2), "RELU": ("relu", 1), "RESHAPE": ("output", 1)}
    """Operations that need nothing but their inputs, of which so many count."""

    def __init__(self, model: Any) -> None:
        import tflite

        self.formats: Any = tflite
        self.model, self.graph = model, model.Subgraphs(0)
        self.constants: dict[int, np.ndarray] = {}
        self.steps: list[Step] = []
        self.tensors: dict[str, np.ndarray] = {}
        self.image = int(self.graph.InputsAsNumpy()[0])

    def shape(self, index: int) -> list[int]:
        return [int(size) for size in self.graph.Tensors(index).ShapeAsNumpy()]

    def constant(self, index: int) -> np.ndarray:
        known = self.constants.get(index)
        return dequantised(self.model, self.graph.Tensors(index)) if known is None else known

    def options(self, operator: Any, kind: Any) -> Any:
        table, found = operator.BuiltinOptions(), kind()
        found.Init(table.Bytes, table.Pos)
        return found

    def convolution(self, operator: Any, inputs: Sequence[int], out: int, depthwise: bool) -> None:
        kinds = self.formats.DepthwiseConv2DOptions, self.formats.Conv2DOptions
        said = self.options(operator, kinds[0] if depthwise else kinds[1])
        weight, stride = self.constant(inputs[1]), said.StrideH()
        before = after = 0
        if said.Padding() == TFLITE_SAME:
            total = max((self.shape(out)[1] - 1) * stride + weight.shape[1] - self.shape(inputs[0])[1], 0)
            before, after = total // 2, total - total // 2
        where = {
            "pads": [before, before, after, after],
            "dilations": [1, 1],
            "strides": [stride, stride],
            "group": weight.shape[3] if depthwise else 1,
        }
        name = _conv(self.steps, self.name(inputs[0]), str(out), where)
        self.tensors[f"{name}.weight"] = weight.transpose((3, 0, 1, 2) if depthwise else (0, 3, 1, 2))
        self.tensors[f"{name}.bias"] = self.constant(inputs[2])

    def name(self, index: int) -> str:
        return IMAGE if index == self.image else str(index)

    def take(self, operator: Any, kind: str) -> None:
        inputs, out = [int(one) for one in operator.InputsAsNumpy()], int(operator.OutputsAsNumpy()[0])
        step: Step = {"in": [self.name(inputs[0])], "out": str(out)}
        if kind == "DEQUANTIZE":
            self.constants[out] = self.constant(inputs[0])
        elif kind in {"CONV_2D", "DEPTHWISE_CONV_2D"}:
            self.convolution(operator, inputs, out, kind == "DEPTHWISE_CONV_2D")
        elif kind in self.plain:
            op, count = self.plain[kind]
            self.steps.append({**step, "op": op, "in": [self.name(one) for one in inputs[:count]]})
        elif kind == "MAX_POOL_2D":
            self.steps.append({**step, "op": "maxpool", "size": 2, "stride": 2, "pad": 0})
        elif kind == "PAD":
            more = self.shape(out)[3] - self.shape(inputs[0])[3]
            self.steps.append({**step, "op": "channels", "more": more})
        elif kind == "RESIZE_BILINEAR":
            said = self.options(operator, self.formats.ResizeBilinearOptions)
            if said.AlignCorners() or not said.HalfPixelCenters():
                raise ConversionFailed("a resize between other points")
            self.steps.append({**step, "op": "bilinear", "factor": 2})
        else:
            raise ConversionFailed(f"an operation {kind}")


def _convert_face(content: bytes) -> Tensors:
    import tflite

    operations = {value: name for name, value in vars(tflite.BuiltinOperator).items() if isinstance(value, int)}
    face = _Face(tflite.Model.GetRootAsModel(content, 0))
    for position in range(face.graph.OperatorsLength()):
        operator = face.graph.Operators(position)
        code = face.model.OperatorCodes(operator.OpcodeIndex())
        face.take(operator, operations[max(code.BuiltinCode(), code.DeprecatedBuiltinCode())])
    steps = face.steps
    if len(face.tensors) != 178 or sum(step["op"] == "output" for step in steps) != 2:
        raise ConversionFailed(f"not the full-range face detector: {len(face.tensors)} tensors")
    # Boxes first, then scores, whatever their order in the file.
    order = [str(int(one)) for one in face.graph.OutputsAsNumpy()]
    steps.sort(key=lambda step: order.index(step["out"]) if step["op"] == "output" else -1)
    return _kept(steps, face.tensors)
