from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from models.serving.layers import Activation, Convolution, same_padding


@given(st.integers(1, 500), st.sampled_from([1, 3, 5]), st.integers(1, 3))
def test_same_padding_gives_as_many_places_as_tensorflow(size: int, kernel: int, stride: int) -> None:
    before, after = same_padding(size, kernel, stride)
    assert (size + before + after - kernel) // stride + 1 == -(-size // stride)
    assert after - before in (0, 1)


@settings(max_examples=30, deadline=None)
@given(
    height=st.integers(3, 20),
    width=st.integers(3, 20),
    kernel=st.sampled_from([1, 3, 5]),
    stride=st.integers(1, 2),
    depthwise=st.booleans(),
    fuse=st.booleans(),
    activation=st.sampled_from(["none", "relu", "relu6"]),
)
def test_equals_plain_torch(
    height: int, width: int, kernel: int, stride: int, depthwise: bool, fuse: bool, activation: Activation
) -> None:
    torch.manual_seed(0)
    x = 4 * torch.randn(2, 8, height, width)
    weight = torch.randn(8, 1 if depthwise else 8, kernel, kernel)
    bias = torch.randn(8)
    groups = 8 if depthwise else 1
    layer = Convolution(weight, bias, stride=stride, groups=groups, activation=activation)
    layer.fuse = layer.fuse and fuse
    rows, columns = same_padding(height, kernel, stride), same_padding(width, kernel, stride)
    plain = functional.conv2d(functional.pad(x, (*columns, *rows)), weight, bias, stride, 0, 1, groups)
    plain = {"none": plain, "relu": plain.relu(), "relu6": functional.relu6(plain)}[activation]
    kept = x.clone()
    torch.testing.assert_close(layer(x), plain, atol=1e-4, rtol=1e-4)
    assert torch.equal(x, kept)


def test_the_fused_operator_is_there() -> None:
    """Without it the networks still run, but at half the speed: an upgrade of torch must not lose it unseen."""
    if not torch.backends.mkldnn.is_available():
        pytest.skip("this torch has no oneDNN")
    assert Convolution(torch.zeros(1, 1, 1, 1), torch.zeros(1)).fuse
