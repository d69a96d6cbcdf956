import numpy as np
import pytest
import torch
from skimage import data

from models.objects import coco
from models.objects.yolox import COUNTED_AT, FOUND_AT, ObjectsEncoder, boxes_of, summary
from models.protocol import Encoder, Evidence
from models.serving.letterbox import Letterboxed, letterbox


@pytest.fixture(scope="module")
def encoder(weights_dir):
    made = ObjectsEncoder(weights_dir, device=torch.device("cpu"))
    yield made
    made.close()


def evidence(*frames: np.ndarray) -> Evidence:
    stack = np.stack(frames) if frames else np.zeros((0, 1, 1, 3), np.uint8)
    times = np.arange(len(frames), dtype=np.float64)
    return Evidence(max(1.0, len(frames)), stack, times, [(0.0, float(len(frames)))], np.zeros(0, np.float32))


def test_what_is_in_photos_is_found(encoder):
    assert isinstance(encoder, Encoder)
    astronaut, cat, coffee = (
        encoder.encode(evidence(photo)).scores[0] for photo in (data.astronaut(), data.cat(), data.coffee())
    )
    assert astronaut[coco.PERSON] > 0.8 and astronaut[coco.INDEX["cat"]] == 0
    assert cat[coco.INDEX["cat"]] > 0.5 and cat[coco.PERSON] == 0
    assert coffee[coco.INDEX["cup"]] > 0.8


def test_counts_and_areas(encoder):
    two = np.concatenate([data.astronaut(), data.astronaut()[:, ::-1]], axis=1)
    encoding = encoder.encode(evidence(two))
    assert coco.counts(encoding)[0, coco.PERSON] == 2
    assert 0.2 < coco.areas(encoding)[0, coco.PERSON] < 0.5
    np.testing.assert_array_equal(coco.confidences(encoding), encoder.scores_of(encoding.embeddings))
    np.testing.assert_array_equal(encoding.embeddings, encoding.embeddings.astype(np.float16).astype(np.float32))


@pytest.mark.parametrize("shape", [(297, 528), (528, 297), (297, 297), (1, 400), (3, 3)])
def test_frames_of_any_shape(encoder, shape):
    random = np.random.default_rng(0).integers(0, 255, (*shape, 3)).astype(np.uint8)
    encoding = encoder.encode(evidence(random))
    assert encoding.embeddings.shape == (1, 240) and np.isfinite(encoding.embeddings).all()


def test_no_frames_no_rows(encoder):
    encoding = encoder.encode(evidence())
    assert encoding.scores.shape == (0, 80) and encoding.embeddings.shape == (0, 240)


def test_shapes_in_one_batch_do_not_mix(encoder):
    tall, wide = letterbox(data.cat()[:, :200], 416, 114), letterbox(data.coffee(), 416, 114)
    together = encoder.forward([tall, wide, tall])
    np.testing.assert_allclose(together[0], encoder.forward([tall])[0], atol=1e-4)
    np.testing.assert_allclose(together[1], encoder.forward([wide])[0], atol=1e-4)
    np.testing.assert_array_equal(together[0], together[2])


def test_boxes_of_one_class_that_overlap_are_one():
    grid = np.zeros((3, 3), np.float32)
    grid[:, 2] = 8
    cells = np.zeros((3, 85), np.float32)
    cells[:, :4] = [10, 10, 2, 2]
    cells[:, 4] = 1.0
    cells[:2, 5] = 0.9, 0.8  # twice a person
    cells[2, 6] = 0.5  # and a bicycle at the same place
    boxes, kinds, scores = boxes_of(cells, grid)
    assert kinds.tolist() == [0, 1] and scores.tolist() == pytest.approx([0.9, 0.5])
    row = summary(boxes, kinds, scores, Letterboxed(np.zeros((160, 160, 3), np.uint8), 160, 160)).reshape(3, 80)
    assert row[1, :2].tolist() == [1, 1] and FOUND_AT < COUNTED_AT
    assert row[2, 0] == pytest.approx((np.exp(2) * 8) ** 2 / 160**2, rel=1e-4)
