import numpy as np
import pytest
import torch
from skimage import data

from models.faces.blazeface import FacesEncoder
from models.faces.tagger import PeopleTagger, most
from models.objects.yolox import ObjectsEncoder
from models.protocol import Encoder, Evidence, Tagger
from tasks.contract import People


@pytest.fixture(scope="module")
def encoder(weights_dir):
    made = FacesEncoder(weights_dir, device=torch.device("cpu"))
    yield made
    made.close()


def evidence(*frames: np.ndarray) -> Evidence:
    stack = np.stack(frames) if frames else np.zeros((0, 1, 1, 3), np.uint8)
    times = np.arange(len(frames), dtype=np.float64)
    return Evidence(max(1.0, len(frames)), stack, times, [(0.0, float(len(frames)))], np.zeros(0, np.float32))


def test_a_face_is_found_and_a_cat_is_none(encoder):
    assert isinstance(encoder, Encoder)
    probability, count, area = encoder.encode(evidence(data.astronaut())).embeddings[0]
    assert probability > 0.8 and count == 1 and 0.02 < area < 0.15
    for photo in (data.cat(), data.coffee(), data.rocket()):
        assert encoder.encode(evidence(photo)).embeddings[0].tolist() == [0, 0, 0]


def test_three_faces(encoder):
    face = data.astronaut()[:250, 100:350]
    frame = np.concatenate([face, face[:, ::-1], face], axis=1)
    assert encoder.encode(evidence(frame)).embeddings[0, 1] == 3


def test_the_section(encoder, weights_dir):
    tagger = PeopleTagger()
    assert isinstance(tagger, Tagger)
    objects = ObjectsEncoder(weights_dir, device=torch.device("cpu"))
    try:
        for frames, expected in (((data.astronaut(),), {"faces_max": 1, "persons_max": 1}), ((), None)):
            seen = evidence(*frames)
            encodings = {one.name: one.encode(seen) for one in (encoder, objects)}
            section = tagger.tag(Evidence(**{**vars(seen), "encodings": encodings}))
            assert section == expected
            assert section is None or People.model_validate(section)
    finally:
        objects.close()


@pytest.mark.parametrize(("counts", "expected"), [([], 0), ([2], 2), ([0, 3], 3), ([0, 9, 1, 1], 1), ([2, 2, 0], 2)])
def test_one_moments_phantom_is_nobody(counts, expected):
    assert most(np.array(counts, np.float32)) == expected
