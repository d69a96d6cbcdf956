import numpy as np
import pytest
import torch
from skimage import data

from models.protocol import Encoder, Encoding, Evidence, Tagger
from models.safety.open_nsfw import SafetyEncoder, SafetyTagger, prepare
from tasks.contract import Safety


@pytest.fixture(scope="module")
def encoder(weights_dir):
    made = SafetyEncoder(weights_dir, device=torch.device("cpu"))
    yield made
    made.close()


def evidence(frames: list[np.ndarray], **fields) -> Evidence:
    stack = np.stack(frames) if frames else np.zeros((0, 1, 1, 3), np.uint8)
    times = np.arange(len(frames)) * 2.0
    return Evidence(2.0 * len(frames), stack, times, [], np.zeros(0, np.float32), **fields)


def test_ordinary_photos_are_safe(encoder):
    assert isinstance(encoder, Encoder)
    for photo in (data.astronaut(), data.cat(), data.coffee(), data.rocket()):
        assert encoder.encode(evidence([photo])).scores[0, 0] < 0.2


def test_frames_are_squeezed_and_cropped_as_in_training():
    crop = prepare(np.full((297, 528, 3), (200, 100, 50), np.uint8))
    assert crop.shape == (224, 224, 3)
    assert np.abs(crop.reshape(-1, 3).mean(axis=0) - (50, 100, 200)).max() < 2  # BGR


def tagged(*scores: float):
    rows = np.array(scores, np.float32).reshape(-1, 1)
    encoding = Encoding("open-nsfw@1", np.arange(len(rows)) * 2.0, 2.0, np.zeros((len(rows), 0), np.float32), rows)
    return SafetyTagger().tag(evidence([], encodings={"safety": encoding}))


def test_the_section():
    assert isinstance(SafetyTagger(), Tagger)
    assert tagged() is None
    assert tagged(0.9) == {"nsfw": pytest.approx(0.9)}
    assert tagged(0.1, 0.9, 0.2, 0.1) == {"nsfw": pytest.approx(0.2)}  # one odd frame decides nothing
    assert Safety.model_validate(tagged(0.1, 0.8, 0.9)).nsfw == pytest.approx(0.8)
