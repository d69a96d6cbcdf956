"""Converted programs against the runtimes that the networks were published for."""

import numpy as np
import pytest
import torch

from models.registry.convert import CONVERTERS
from models.registry.graphs import PROGRAM, program_of
from models.registry.manifest import entry
from models.registry.sources import fetch_members
from models.registry.tensors import ConversionFailed
from models.registry.weights import load
from models.serving.graph import Graph

INPUTS = {"yolox-nano": (3, 416, 416), "open-nsfw": (3, 224, 224), "face-full-range": (3, 192, 192)}


@pytest.mark.parametrize("name", INPUTS)
def test_rows_do_not_depend_on_their_company(name, weights_dir):
    network = Graph(load(name, weights_dir).tensors)
    random = torch.from_numpy(np.random.default_rng(0).random((3, *INPUTS[name])).astype(np.float32)) * 2 - 1
    with torch.inference_mode():
        together, alone = network(random), network(random[1:2])
    for one, other in zip(together, alone, strict=True):
        torch.testing.assert_close(one[1:2], other, atol=2e-3, rtol=1e-3)


@pytest.mark.parametrize("name", ["yolox-nano", "open-nsfw"])
def test_as_onnxruntime_has_it(name, weights_dir, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    (content,) = fetch_members(entry(name).sources[0], tmp_path, lambda done, total: None)
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    source = session.get_inputs()[0].name
    picture = (np.random.default_rng(1).random((1, *INPUTS[name])) * 200).astype(np.float32)
    expected = session.run(None, {source: picture if name == "yolox-nano" else picture.transpose(0, 2, 3, 1)})[0]
    with torch.inference_mode():
        outputs = Graph(load(name, weights_dir).tensors)(torch.from_numpy(picture))
    if name == "yolox-nano":
        found = torch.cat([one.flatten(2) for one in outputs], 2).transpose(1, 2)
    else:
        found = torch.softmax(outputs[0].flatten(1), 1)
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-3)


def test_activations_are_the_convolutions_own(weights_dir):
    steps = program_of(load("yolox-nano", weights_dir).tensors)
    assert sum(step["op"] == "conv" and step["act"] == "swish" for step in steps) == 104
    assert {step["op"] for step in steps} == {
        "focus",
        "conv",
        "concat",
        "add",
        "maxpool",
        "nearest",
        "sigmoid",
        "output",
    }


@pytest.mark.parametrize("converter", ["yolox-onnx", "open-nsfw-onnx", "face-full-range-tflite"])
@pytest.mark.parametrize("content", [b"", b"\x00" * 64, b"not a network at all" * 9])
def test_another_file_is_refused(converter, content):
    with pytest.raises(ConversionFailed):
        CONVERTERS[converter](content)


def test_a_program_of_another_kind_is_refused():
    program = torch.frombuffer(bytearray(b'[{"op": "attention", "in": ["image"], "out": "x"}]'), dtype=torch.uint8)
    with pytest.raises(ValueError, match="attention"):
        Graph({PROGRAM: program})
