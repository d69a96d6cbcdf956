from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

from models.protocol import Encoder, Encoding, Evidence
from models.registry.weights import load
from models.sounds.audioset import indices
from models.sounds.mel import slaney_bands
from models.sounds.moments import MAX_MOMENTS, musical_moments
from models.sounds.musicnn import PATCH_S, PATCH_SAMPLES, MusicEncoder, Musicnn, log_mel
from models.sounds.musicnn_tags import COLUMNS, NETWORKS, NO_VOCALS, TOLD, VOCALS

RATE = 16_000


@pytest.fixture(scope="module")
def encoder(weights_dir: Path) -> Iterator[MusicEncoder]:
    made = MusicEncoder(weights_dir, device=torch.device("cpu"))
    yield made
    made.close()


def evidence(sound: np.ndarray, **encodings: Encoding) -> Evidence:
    none = np.zeros((0, 1, 1, 3), np.uint8)
    return Evidence(len(sound) / RATE, none, np.zeros(0), (), sound.astype(np.float32), encodings=encodings)


def published(tensors: dict[str, torch.Tensor], patches: torch.Tensor) -> torch.Tensor:
    """The network, operation by operation, in the order of its authors' code."""

    def norm(x: torch.Tensor, place: int) -> torch.Tensor:
        name = f"batch_normalization_{place}" if place else "batch_normalization"
        parts = [tensors[f"{name}/{part}"] for part in ("moving_mean", "moving_variance", "gamma", "beta")]
        return functional.batch_norm(x, *parts, training=False, eps=1e-3)

    def kernel(place: int) -> tuple[torch.Tensor, torch.Tensor]:
        name = f"conv2d_{place}" if place else "conv2d"
        return tensors[f"{name}/kernel"], tensors[f"{name}/bias"]

    x = norm(patches[:, None], 0)
    fronts = []
    for place in range(5):
        weight, bias = kernel(place)
        if place < 2:
            found = functional.conv2d(functional.pad(x, (0, 0, 3, 3)), weight, bias)
        else:
            found = functional.conv2d(x, weight, bias, padding="same")
        fronts.append(norm(functional.relu(found), place + 1).amax(3))
    layers = [torch.cat(fronts, 1)]
    for place in (5, 6, 7):
        weight, bias = kernel(place)
        image = layers[-1].transpose(1, 2)[:, None]  # [n, 1, time, channels]
        found = functional.relu(functional.conv2d(functional.pad(image, (0, 0, 3, 3)), weight, bias))[..., 0]
        found = norm(found, place + 1)
        layers.append(found if place == 5 else found + layers[-1])
    features = torch.cat(layers, 1)
    pooled = norm(torch.stack((features.amax(2), features.mean(2)), 2).flatten(1), 9)
    dense = functional.relu(functional.linear(pooled, tensors["dense/kernel"], tensors["dense/bias"]))
    return functional.linear(norm(dense, 10), tensors["dense_1/kernel"], tensors["dense_1/bias"])


@pytest.mark.parametrize("name", list(NETWORKS))
def test_the_network_is_the_published_one(name: str, weights_dir: Path) -> None:
    tensors = load(name, weights_dir).tensors
    patches = torch.rand((2, 187, 96), generator=torch.Generator().manual_seed(1)) * 3
    with torch.inference_mode():
        torch.testing.assert_close(Musicnn(tensors)(patches)[1], published(tensors, patches), atol=2e-4, rtol=1e-4)


@pytest.mark.slow
def test_the_front_end_is_librosas() -> None:
    import librosa

    sound = (0.3 * np.random.default_rng(2).standard_normal(PATCH_SAMPLES)).astype(np.float32)
    mel = librosa.feature.melspectrogram(y=sound, sr=RATE, n_fft=512, hop_length=256, n_mels=96).T
    assert np.abs(np.log10(10_000 * mel + 1)[:187] - log_mel(sound)).max() < 1e-4
    assert np.abs(librosa.filters.mel(sr=RATE, n_fft=400, n_mels=80).T - slaney_bands(RATE, 400, 80)).max() < 1e-7


def test_it_encodes_and_scores_are_those_of_its_embeddings(encoder: MusicEncoder) -> None:
    assert isinstance(encoder, Encoder)
    clock = np.arange(12 * RATE) / RATE
    found = encoder.encode(evidence(0.3 * np.sin(2 * np.pi * 220 * clock) * np.exp(-(clock % 0.5) * 6)))
    assert found.embeddings.shape == (2, 400) and found.scores.shape == (2, 100)
    assert (found.scores == encoder.scores_of(found.embeddings)).all()
    assert ((found.scores >= 0) & (found.scores <= 1)).all()
    assert len(encoder.encode(evidence(np.zeros(0))).times_s) == 0


def heard(rows: int, first: int, last: int) -> Encoding:
    scores = np.zeros((rows, 521), np.float32)
    scores[first:last, indices(["Music"])[0]] = 0.9
    return Encoding("yamnet@2", np.arange(rows) * 0.48, 0.48, np.zeros((rows, 0), np.float32), scores)


def test_it_hears_music_only(encoder: MusicEncoder) -> None:
    sound = 0.1 * np.random.default_rng(0).standard_normal(30 * RATE)
    assert len(encoder.encode(evidence(sound, yamnet=heard(62, 0, 0))).times_s) == 0
    starts = encoder.encode(evidence(sound, yamnet=heard(62, 25, 62))).times_s
    assert len(starts) and starts.min() >= 10


def test_moments_are_bounded_and_within_the_sound() -> None:
    assert musical_moments(1.0, None, PATCH_S) == []
    assert musical_moments(2.0, None, PATCH_S) == [0.0]
    assert len(musical_moments(15.0, None, PATCH_S)) == 3
    long = musical_moments(600.0, None, PATCH_S)
    assert len(long) == MAX_MOMENTS and long == sorted(long) and long[-1] + PATCH_S <= 600


def test_every_tag_that_is_told_exists() -> None:
    assert len(COLUMNS) == 100
    assert {word for words in TOLD.values() for word in words} | {*VOCALS, *NO_VOCALS} <= set(COLUMNS)


def test_damaged_sound_gives_numbers(encoder: MusicEncoder) -> None:
    given = evidence(np.zeros(4 * RATE))
    broken = encoder.encode(replace(given, waveform=np.full(4 * RATE, np.nan, np.float32)))
    assert np.isfinite(broken.scores).all()
