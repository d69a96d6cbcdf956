from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from models.protocol import Encoder, Evidence, WeightsMissing
from models.registry.weights import load
from models.sounds import silero
from models.sounds.silero import SpeechEncoder

CPU = torch.device("cpu")
RATE = 16_000


def evidence(waveform: np.ndarray) -> Evidence:
    return Evidence(
        len(waveform) / RATE, np.zeros((0, 1, 1, 3), np.uint8), np.zeros(0), (), waveform.astype(np.float32)
    )


@pytest.fixture(scope="module")
def encoder(weights_dir: Path) -> SpeechEncoder:
    return SpeechEncoder(weights_dir, device=CPU)


def frame_by_frame(tensors: dict[str, torch.Tensor], sound: np.ndarray) -> np.ndarray:
    """The published way: one frame of 512 samples after another, with an LSTM cell."""
    cell = nn.LSTMCell(128, 128)
    cell.load_state_dict({k.removeprefix("lstm_cell."): v for k, v in tensors.items() if "lstm" in k})
    padded = functional.pad(torch.from_numpy(sound), (64, -len(sound) % 512))
    state, found = None, []
    with torch.inference_mode():
        for at in range(64, len(padded), 512):
            x = functional.pad(padded[None, at - 64 : at + 512], (0, 64), mode="reflect")[:, None]
            x = functional.conv1d(x, tensors["stft_conv.weight"], stride=128)
            x = (x[:, :129] ** 2 + x[:, 129:] ** 2).sqrt()
            for name, stride in (("conv1", 1), ("conv2", 2), ("conv3", 2), ("conv4", 1)):
                weight, bias = tensors[f"{name}.weight"], tensors[f"{name}.bias"]
                x = functional.conv1d(x, weight, bias, stride=stride, padding=1).relu()
            state = cell(x[:, :, 0], state)
            final = functional.conv1d(
                state[0][:, :, None].relu(), tensors["final_conv.weight"], tensors["final_conv.bias"]
            )
            found.append(final.sigmoid().item())
    return np.array(found)


@pytest.mark.parametrize("samples", [1, 511, 512, 513, 20 * RATE + 77])
def test_equals_the_published_frame_by_frame_run(encoder: SpeechEncoder, weights_dir: Path, samples: int) -> None:
    """20 s are more than a block: the state has to be carried over."""
    time = np.arange(samples) / RATE
    voice = np.sin(2 * np.pi * 120 * time) * np.sin(2 * np.pi * 3 * time) * np.sin(2 * np.pi * 700 * time)
    sound = (voice + 0.01 * np.random.default_rng(0).standard_normal(samples)).astype(np.float32)
    encoding = encoder.encode(evidence(sound))
    expected = frame_by_frame(load(silero.WEIGHTS, weights_dir).tensors, sound)
    np.testing.assert_allclose(encoding.scores[:, 0], expected, atol=2e-4)
    np.testing.assert_allclose(encoding.times_s, np.arange(len(expected)) * 0.032)


def test_silence_noise_and_animals_are_no_speech(encoder: SpeechEncoder, animal_sounds: dict[str, np.ndarray]) -> None:
    assert encoder.encode(evidence(np.zeros(5 * RATE))).scores.max() < 0.1
    assert encoder.encode(evidence(np.random.default_rng(0).standard_normal(5 * RATE) * 0.1)).scores.max() < 0.1
    for animal in ("dog", "duck", "owl", "rooster"):
        assert encoder.encode(evidence(animal_sounds[animal])).scores.max() < 0.5


def test_no_sound_no_rows(encoder: SpeechEncoder) -> None:
    assert isinstance(encoder, Encoder)
    assert encoder.encode(evidence(np.zeros(0))).scores.shape == (0, 1)


def test_broken_samples_do_not_spread(encoder: SpeechEncoder) -> None:
    sound = np.zeros(5 * RATE)
    sound[RATE] = np.nan
    assert np.isfinite(encoder.encode(evidence(sound)).scores).all()


def test_missing_weights_say_so(tmp_path: Path) -> None:
    with pytest.raises(WeightsMissing, match="silero-vad"):
        SpeechEncoder(tmp_path, device=CPU)
