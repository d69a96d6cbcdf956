from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from models.protocol import Encoder, Encoding, Evidence, WeightsMissing
from models.registry.weights import load
from models.sounds import yamnet
from models.sounds.audioset import class_names
from models.sounds.yamnet import LEVEL, MAX_GAIN, LogMel, SoundEncoder, gains, patches
from models.sounds.yamnet_geometry import HOP_S

CPU = torch.device("cpu")
RATE = 16_000


def evidence(waveform: np.ndarray) -> Evidence:
    frames = np.zeros((0, 1, 1, 3), np.uint8)
    return Evidence(len(waveform) / RATE, frames, np.zeros(0), (), waveform.astype(np.float32), has_audio=True)


@pytest.fixture(scope="module")
def encoder(weights_dir: Path) -> SoundEncoder:
    return SoundEncoder(weights_dir, device=CPU)


def best(encoding: Encoding, count: int) -> list[str]:
    return [class_names()[i] for i in np.argsort(-encoding.scores.max(axis=0))[:count]]


@pytest.mark.parametrize(
    ("animal", "event"),
    [
        ("cow", "Moo"),
        ("dog", "Dog"),
        ("duck", "Duck"),
        ("frog", "Frog"),
        ("horse", "Neigh, whinny"),
        ("owl", "Owl"),
        ("rooster", "Chicken, rooster"),
        ("sheep", "Sheep"),
    ],
)
def test_real_animals(encoder: SoundEncoder, animal_sounds: dict[str, np.ndarray], animal: str, event: str) -> None:
    assert event in best(encoder.encode(evidence(animal_sounds[animal])), 5)


def test_tone_noise_and_silence(encoder: SoundEncoder) -> None:
    time = np.arange(5 * RATE) / RATE
    assert best(encoder.encode(evidence(0.3 * np.sin(2 * np.pi * 440 * time))), 1) == ["Sine wave"]
    noise = np.random.default_rng(0).standard_normal(5 * RATE) * 0.1
    assert "White noise" in best(encoder.encode(evidence(noise)), 3)
    assert best(encoder.encode(evidence(np.zeros(5 * RATE))), 1) == ["Silence"]


# What the original file says in the TensorFlow Lite runtime (its activations are int8; ours are float).
ORIGINAL = {
    "Theremin": 0.2617,
    "Sine wave": 0.1992,
    "Chirp tone": 0.1484,
    "Noise": 0.1484,
    "Sonar": 0.1094,
    "Sound effect": 0.1094,
    "Music": 0.1094,
    "Synthesizer": 0.0820,
}


def test_scores_as_the_original_gives_them(encoder: SoundEncoder) -> None:
    time = np.arange(15_600) / RATE
    chirp = 0.2 * np.sin(2 * np.pi * (300 * time + 600 * time**2))
    hum = 0.1 * np.sin(2 * np.pi * 80 * time) * np.sin(2 * np.pi * 5 * time)
    hiss = 0.02 * np.random.default_rng(0).standard_normal(15_600)
    # At its own level, as the original hears it.
    rows = encoder.forward([encoder.front_end((chirp + hum + hiss).astype(np.float32))])
    scores = encoder.scores_of(np.stack(rows))[0]
    assert {class_names()[i] for i in np.argsort(-scores)[:8]} == set(ORIGINAL)
    for name, score in ORIGINAL.items():
        assert scores[class_names().index(name)] == pytest.approx(score, abs=0.03)
    assert scores.sum() == pytest.approx(1.887, abs=0.1)


def test_loud_and_soft_are_heard_alike(encoder: SoundEncoder, animal_sounds: dict[str, np.ndarray]) -> None:
    crow = animal_sounds["rooster"]
    loud, soft = (encoder.encode(evidence(crow * gain)).scores for gain in (1.0, 0.2))
    np.testing.assert_allclose(loud, soft, atol=1e-3)


def test_a_loud_sound_does_not_hush_one_that_is_far_from_it(
    encoder: SoundEncoder, animal_sounds: dict[str, np.ndarray]
) -> None:
    crow, gap = animal_sounds["rooster"], np.zeros(5 * RATE, np.float32)
    noise = np.random.default_rng(0).standard_normal(5 * RATE) * 0.2
    encoding = encoder.encode(evidence(np.concatenate([noise, gap, crow * 0.1])))
    late = encoding.scores[encoding.times_s >= 10]
    assert late[:, class_names().index("Chicken, rooster")].max() > 0.8


def test_gain_brings_to_the_level_and_leaves_a_noise_floor_one() -> None:
    heard = np.concatenate([np.full((300, 64), 8.0), np.full((800, 64), 1e-4), np.zeros((96, 64))]).astype(np.float32)
    gain = gains(heard, 1100, 22)
    assert gain[0] == pytest.approx(LEVEL / 8)
    assert (gain[12:] == MAX_GAIN).all()
    assert gains(heard, 10, 1)[0] == pytest.approx(LEVEL / 8), "the filling behind a short sound does not count"
    assert gains(np.zeros((96, 64), np.float32), 1, 1)[0] == MAX_GAIN


def test_level_is_that_of_soft_noise(weights_dir: Path) -> None:
    noise = (np.random.default_rng(0).standard_normal(RATE) * 0.034).astype(np.float32)
    heard = LogMel(load(yamnet.WEIGHTS, weights_dir).tensors).magnitudes(noise)
    assert np.sqrt(np.square(heard).mean()) == pytest.approx(LEVEL, rel=0.1)


def test_front_end_is_the_published_one(weights_dir: Path) -> None:
    """Against the definition: periodic Hann, 64 HTK-mel bands from 125 to 7500 Hz, log(x + 0.001)."""
    sound = np.random.default_rng(0).standard_normal(RATE).astype(np.float32) * 0.1
    frames = np.stack([sound[at : at + 400] for at in range(0, RATE - 399, 160)])
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(400) / 400)
    magnitude = np.abs(np.fft.rfft(frames * window, 512))
    mel = lambda hz: 1127 * np.log(1 + np.asarray(hz) / 700)  # noqa: E731
    edges = np.linspace(mel(125), mel(7500), 66)
    position = mel(np.linspace(0, 8000, 257))[:, None]
    rising = (position - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - position) / (edges[2:] - edges[1:-1])
    bands = np.maximum(np.minimum(rising, falling), 0)
    bands[0] = 0
    expected = np.log(magnitude @ bands + 0.001)
    found = LogMel(load(yamnet.WEIGHTS, weights_dir).tensors)(sound)
    np.testing.assert_allclose(found, expected, atol=2e-3)


def test_class_list_is_the_weights_own(weights_dir: Path) -> None:
    assert class_names() == load(yamnet.WEIGHTS, weights_dir).labels
    assert len(class_names()) == 521


@pytest.mark.parametrize(
    ("samples", "rows"), [(0, 0), (1, 1), (15_600, 1), (15_601, 2), (15_600 + 7680, 2), (15_600 + 7681, 3)]
)
def test_every_sample_is_in_a_patch(encoder: SoundEncoder, samples: int, rows: int) -> None:
    encoding = encoder.encode(evidence(np.zeros(samples)))
    assert encoding.scores.shape == (rows, 521)
    assert encoding.embeddings.shape == (rows, 1024)
    np.testing.assert_allclose(encoding.times_s, np.arange(rows) * HOP_S)
    assert isinstance(encoder, Encoder)


def test_a_late_sound_is_heard_late(encoder: SoundEncoder, animal_sounds: dict[str, np.ndarray]) -> None:
    crow = animal_sounds["rooster"]
    sound = np.concatenate([np.zeros(10 * RATE, np.float32), crow])
    encoding = encoder.encode(evidence(sound))
    score = encoding.scores[:, class_names().index("Chicken, rooster")]
    assert score[encoding.times_s < 8.5].max() < 0.05
    assert score[encoding.times_s >= 10].max() > 0.8


def test_broken_samples_stay_where_they_are(encoder: SoundEncoder) -> None:
    sound = np.zeros(10 * RATE, np.float32)
    sound[5 * RATE : 5 * RATE + 3] = [np.nan, np.inf, -np.inf]
    encoding = encoder.encode(evidence(sound))
    assert np.isfinite(encoding.scores).all()
    assert class_names()[int(encoding.scores[0].argmax())] == "Silence"


def test_long_sound_is_cut_in_blocks_without_a_seam(weights_dir: Path) -> None:
    front_end = LogMel(load(yamnet.WEIGHTS, weights_dir).tensors)
    sound = np.random.default_rng(0).standard_normal(60 * RATE).astype(np.float32) * 0.1
    whole = patches(sound, front_end)
    for row in (0, 50, 84, 85, 86, len(whole) - 2):
        alone = front_end(sound[row * 7680 : row * 7680 + 15_600])
        gain = LEVEL / np.sqrt(np.square(np.exp(alone) - 0.001).mean())
        np.testing.assert_allclose(np.exp(whole[row]), gain * (np.exp(alone) - 0.001) + 0.001, rtol=0.05)


def test_missing_weights_say_so(tmp_path: Path) -> None:
    with pytest.raises(WeightsMissing, match="tagfarm weights pull yamnet"):
        SoundEncoder(tmp_path, device=CPU)
