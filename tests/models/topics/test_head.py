from dataclasses import replace

import numpy as np
import pytest
from safetensors.numpy import save_file

from models.topics.extension import extend
from models.topics.head import NONE, PictureHead, class_logits, load_head, save_head, softmax, with_children
from models.topics.taxonomy import load_taxonomy

TABBY, ESPRESSO, WEB_SITE = 281, 967, 916


@pytest.fixture(scope="module")
def taxonomy():
    return load_taxonomy()


def small(**changes) -> PictureHead:
    head = PictureHead(
        encoder="net@1",
        labels=("animals/cat", NONE),
        mean=np.zeros(2, np.float32),
        scale=np.ones(2, np.float32),
        weight=np.array([[3.0, 0.0], [0.0, 3.0]], np.float32),
        bias=np.zeros(2, np.float32),
        tau=1.0,
    )
    return replace(head, **changes)


def classes(**shares: float) -> np.ndarray:
    row = np.zeros((1, 1000), np.float32)
    for name, share in shares.items():
        row[0, {"tabby": TABBY, "espresso": ESPRESSO, "site": WEB_SITE}[name]] = share
    return row


def test_without_an_opinion_the_classes_speak(taxonomy):
    said = small().probabilities(classes(tabby=0.6, espresso=0.4), np.zeros((1, 2), np.float32), taxonomy)[0]
    assert said[taxonomy.index["animals/cat"]] == pytest.approx(0.6, abs=0.01)
    assert said[taxonomy.index["food/coffee_tea"]] == pytest.approx(0.4, abs=0.01)
    # A parent holds its children, and some of the floor of each.
    assert said[taxonomy.index["animals"]] == pytest.approx(0.6, abs=0.02)


def test_the_embedding_moves_what_the_classes_leave_open(taxonomy):
    rows = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]], np.float32)
    scores = np.repeat(classes(tabby=0.2, espresso=0.6, site=0.2), 3, axis=0)
    cat = small().probabilities(scores, rows, taxonomy)[:, taxonomy.index["animals/cat"]]
    assert cat[1] > 0.7 > cat[0] > cat[2]


def test_every_row_is_a_distribution_over_topics_and_none(taxonomy):
    generator = np.random.default_rng(3)
    own = softmax(class_logits(generator.dirichlet(np.full(1000, 0.01), 8).astype(np.float32), taxonomy))
    assert np.allclose(own.sum(axis=1), 1)
    whole = with_children(own, taxonomy)
    for position, parent in enumerate(taxonomy.parents):
        if parent >= 0:
            assert (whole[:, parent] >= whole[:, position]).all()


@pytest.mark.parametrize("broken", [0.0, np.nan])
def test_classes_that_broke_are_no_topic(taxonomy, broken):
    scores = np.full((1, 1000), broken, np.float32)
    said = small().probabilities(scores, np.zeros((1, 2), np.float32), taxonomy)
    assert said.max() < 0.1


def test_rows_of_another_width_are_refused(taxonomy):
    with pytest.raises(ValueError, match=r"\[n, 2\]"):
        small().probabilities(classes(tabby=1.0), np.zeros((1, 3), np.float32), taxonomy)


def test_topics_that_are_added_leave_it_as_it_was(taxonomy):
    entry = {"id": "hobbies", "names": {"en": "Hobbies", "it": "Passatempi"}}
    wider = extend(taxonomy, {"format": 1, "extends": taxonomy.version, "topics": [entry]})
    row = np.array([[1.0, 0.5]], np.float32)
    before = small().probabilities(classes(tabby=0.5, site=0.5), row, taxonomy)
    after = small().probabilities(classes(tabby=0.5, site=0.5), row, wider)
    assert np.allclose(before, after[:, :-1], atol=1e-3)


def test_it_is_read_as_it_was_written(taxonomy, tmp_path):
    save_head(small(), tmp_path / "head.safetensors", {"data": "made up"})
    read = load_head(tmp_path / "head.safetensors")
    assert (read.labels, read.tau, read.encoder) == (("animals/cat", NONE), 1.0, "net@1")
    assert np.array_equal(read.weight, small().weight)
    save_file({"mean": np.zeros(2, np.float32)}, tmp_path / "old.safetensors", metadata={"format": "0"})
    with pytest.raises(ValueError, match="format 0"):
        load_head(tmp_path / "old.safetensors")
    save_head(small(bias=np.zeros(3, np.float32)), tmp_path / "bad.safetensors", {})
    with pytest.raises(ValueError, match="do not fit"):
        load_head(tmp_path / "bad.safetensors")


def test_the_packaged_head_is_for_the_published_topics(taxonomy):
    head = load_head()
    assert head.encoder == "efficientnet-lite2@1" and head.weight.shape[0] == 1280
    assert set(head.labels) - {NONE} <= set(taxonomy.index)
    assert all(np.isfinite(tensor).all() for tensor in (head.mean, head.scale, head.weight, head.bias))
