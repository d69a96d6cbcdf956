from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from skimage import data
from torch.nn import functional

from models.protocol import Encoder, Evidence, WeightsMissing
from models.registry.weights import load
from models.serving.layers import Convolution
from models.topics import efficientnet
from models.topics.efficientnet import EfficientNetLite2, PictureEncoder, imagenet_classes, prepare

CPU = torch.device("cpu")


def evidence(*frames: np.ndarray) -> Evidence:
    stacked = np.stack(frames) if frames else np.zeros((0, 297, 528, 3), np.uint8)
    return Evidence(3.0, stacked, np.arange(len(frames)) * 0.5, (), np.zeros(0, np.float32))


@pytest.fixture(scope="module")
def encoder(weights_dir: Path) -> PictureEncoder:
    return PictureEncoder(weights_dir, device=CPU)


@pytest.mark.parametrize(
    ("photo", "expected"), [("cat", "Egyptian cat"), ("coffee", "espresso"), ("rocket", "missile")]
)
def test_real_photos(encoder: PictureEncoder, photo: str, expected: str) -> None:
    scores = encoder.encode(evidence(getattr(data, photo)())).scores[0]
    assert imagenet_classes()[int(scores.argmax())] == expected
    assert scores.sum() == pytest.approx(1.0, abs=1e-4)


def test_rows_are_in_order_and_independent_of_their_batch(encoder: PictureEncoder) -> None:
    photos = [data.cat(), data.coffee()[:300, :451], data.rocket()[:300, :451]] * 3
    together = encoder.encode(evidence(*photos))
    for index, photo in enumerate(photos[:3]):
        alone = encoder.encode(evidence(photo))
        np.testing.assert_allclose(together.embeddings[index], alone.embeddings[0], atol=1e-3)
        np.testing.assert_allclose(together.scores[index], alone.scores[0], atol=1e-4)
    assert together.embeddings.shape == (9, 1280)
    assert together.scores.shape == (9, 1000)
    assert together.hop_s == 0.5
    assert together.encoder == "efficientnet-lite2@1"


def test_no_frames_no_rows(encoder: PictureEncoder) -> None:
    assert isinstance(encoder, Encoder)
    nothing = encoder.encode(evidence())
    assert nothing.embeddings.shape == (0, 1280)
    assert nothing.scores.shape == (0, 1000)


def test_folded_and_fused_network_equals_the_plain_one(weights_dir: Path) -> None:
    """Against the checkpoint run literally: convolution, batch-norm, ReLU6, TensorFlow's padding, one after another."""
    tensors = load(efficientnet.WEIGHTS, weights_dir).tensors
    pixels = torch.from_numpy(prepare(data.cat())).permute(2, 0, 1)[None].float().sub(127).div(128)

    def step(x: torch.Tensor, name: str, norm: str, stride: int = 1, depthwise: bool = False) -> torch.Tensor:
        weight = tensors[f"{name}.weight"]
        kernel = weight.shape[-1]
        total = max((-(-x.shape[-1] // stride) - 1) * stride + kernel - x.shape[-1], 0)
        x = functional.pad(x, (total // 2, total - total // 2, total // 2, total - total // 2))
        x = functional.conv2d(x, weight, stride=stride, groups=x.shape[1] if depthwise else 1)
        mean, variance, gain, shift = (
            tensors[f"{norm}.{part}"] for part in ("running_mean", "running_var", "weight", "bias")
        )
        return functional.batch_norm(x, mean, variance, gain, shift, eps=1e-3)

    x = functional.relu6(step(pixels, "_conv_stem", "_bn0", 2))
    for index in range(21):
        before, prefix = x, f"_blocks.{index}."
        stride = {1: 2, 4: 2, 7: 2, 15: 2}.get(index, 1)
        if index:
            x = functional.relu6(step(x, f"{prefix}_expand_conv", f"{prefix}_bn0"))
        x = functional.relu6(step(x, f"{prefix}_depthwise_conv", f"{prefix}_bn1", stride, True))
        x = step(x, f"{prefix}_project_conv", f"{prefix}_bn2")
        if stride == 1 and before.shape == x.shape:
            x = x + before
    plain = functional.relu6(step(x, "_conv_head", "_bn1")).mean((2, 3))

    network = EfficientNetLite2(tensors)
    torch.testing.assert_close(network(pixels)[0], plain, atol=2e-4, rtol=0)
    for layer in network.modules():
        if isinstance(layer, Convolution):
            layer.fuse = False
    torch.testing.assert_close(network(pixels)[0], plain, atol=2e-4, rtol=0)


@pytest.mark.parametrize("shape", [(1, 1), (297, 1), (1, 5000), (2160, 3840), (297, 528), (297, 297)])
def test_any_frame_size_gives_one_crop(shape: tuple[int, int]) -> None:
    crop = prepare(np.full((*shape, 3), 77, np.uint8))
    assert crop.shape == (260, 260, 3)
    assert crop.dtype == np.uint8
    assert (crop == 77).all()


def test_crop_of_the_decoders_size_is_the_centre_untouched() -> None:
    frame = np.random.default_rng(1).integers(0, 255, (297, 528, 3), dtype=np.uint8)
    assert (prepare(frame) == frame[18:278, 134:394]).all()


def test_missing_weights_say_so(tmp_path: Path) -> None:
    with pytest.raises(WeightsMissing, match="tagfarm weights pull efficientnet-lite2"):
        PictureEncoder(tmp_path, device=CPU)
