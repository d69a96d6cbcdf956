"""What half precision does to scores: measured on real pictures and sounds, through the real last layers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from skimage import data

from models.protocol import Encoder, Evidence
from models.serving.scores import as_kept, sigmoid, softmax
from models.sounds.yamnet import SoundEncoder, patches
from models.topics.efficientnet import PictureEncoder, prepare
from models.topics.tagger import TopicsTagger

CPU = torch.device("cpu")
LARGEST_CHANGE = 0.005
FRAMES = 3
"""Frames of each photo, a shot of its own."""


@pytest.fixture(scope="module")
def picture(weights_dir: Path) -> PictureEncoder:
    return PictureEncoder(weights_dir, device=CPU)


@pytest.fixture(scope="module")
def sound(weights_dir: Path) -> SoundEncoder:
    return SoundEncoder(weights_dir, device=CPU)


@pytest.fixture(scope="module")
def photos() -> np.ndarray:
    shown = [data.cat(), data.coffee(), data.rocket(), data.astronaut(), data.chelsea()[:, ::-1]]
    return np.stack([photo[:300, :300] for photo in shown for _ in range(FRAMES)])


def evidence(frames: np.ndarray, waveform: np.ndarray) -> Evidence:
    times = np.arange(len(frames)) * 0.5
    shots = [(start * 0.5, (start + FRAMES) * 0.5) for start in range(0, len(frames), FRAMES)]
    return Evidence(len(frames) * 0.5, frames, times, shots, waveform.astype(np.float32))


def test_half_precision_changes_no_picture_score_much_and_no_topic(picture: PictureEncoder, photos: np.ndarray) -> None:
    exact = np.stack(picture.forward([prepare(frame) for frame in photos]))
    kept = as_kept(exact)
    assert (exact != kept).any()
    scores = [picture.scores_of(rows) for rows in (exact, kept)]
    np.testing.assert_allclose(scores[0], scores[1], atol=LARGEST_CHANGE)
    shown = evidence(photos, np.zeros(0))
    encoding = picture.encode(shown)
    np.testing.assert_array_equal(encoding.embeddings, kept)
    tagger = TopicsTagger()
    said = [
        tagger.tag(replace(shown, encodings={"picture": replace(encoding, embeddings=rows, scores=made)}))
        for rows, made in zip((exact, kept), scores, strict=True)
    ]
    assert said[0]
    assert [topic["topic"] for topic in said[0]] == [topic["topic"] for topic in said[1]]
    for one, other in zip(*said, strict=True):
        assert abs(one["score"] - other["score"]) <= LARGEST_CHANGE


def test_half_precision_changes_no_sound_score_much(sound: SoundEncoder, animal_sounds: dict[str, np.ndarray]) -> None:
    for wave in animal_sounds.values():
        exact = np.stack(sound.forward(patches(wave, sound.front_end)))
        np.testing.assert_allclose(sound.scores_of(exact), sound.scores_of(as_kept(exact)), atol=LARGEST_CHANGE)


def test_scores_are_those_of_the_networks_own_last_layer(
    picture: PictureEncoder, sound: SoundEncoder, photos: np.ndarray, animal_sounds: dict[str, np.ndarray]
) -> None:
    """Against torch's linear layer, softmax and sigmoid."""
    wave = animal_sounds["dog"]
    shown = evidence(photos, wave)
    links = {"picture": lambda logits: logits.softmax(1), "yamnet": torch.sigmoid}
    for encoder in (picture, sound):
        encoding = encoder.encode(shown)
        with torch.inference_mode():
            logits = encoder.network.classifier(torch.from_numpy(encoding.embeddings))
            expected = links[encoder.name](logits).numpy()
        np.testing.assert_allclose(encoding.scores, expected, atol=1e-5)
        assert isinstance(encoder, Encoder)
        np.testing.assert_array_equal(encoding.embeddings, as_kept(encoding.embeddings))
        np.testing.assert_array_equal(encoder.scores_of(encoding.embeddings), encoding.scores)


def test_extreme_logits_stay_probabilities() -> None:
    logits = np.array([[-1e4, 0.0, 1e4]], np.float32)
    assert sigmoid(logits).tolist() == [[0.0, 0.5, 1.0]]
    assert softmax(logits).tolist() == [[0.0, 0.0, 1.0]]
    assert softmax(np.zeros((0, 3), np.float32).reshape(0, 3)).shape == (0, 3)
