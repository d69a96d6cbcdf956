"""An encoder's last blocks trained with a head: what it learns, what it is refused for, and that nodes say the same."""

from __future__ import annotations

import gc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from models.protocol import Encoding, Evidence
from models.registry.taggers import build_tagger, own_encoders
from models.registry.versions import Registry, Version, VersionCorrupt, VersionIncompatible
from models.serving.batcher import BatcherClosed
from models.topics.efficientnet import PictureEncoder, prepare, run
from models.topics.tuned import Tail, TunedPictureEncoder, trunk_of
from models.training.dataset import DataSet, Item, write
from models.training.features import FeatureCache, embed, embedded
from models.training.fine_tune import fine_tune
from models.training.fit import Plan
from models.training.judges import judge_of
from models.training.targets import TrainingError
from models.training.tune import Tuned, TuningPlan

CPU = torch.device("cpu")
BLOCKS = 1
LABEL = "animals/cat"
UPLOADS, FRAMES = 32, 2
SPLITS = ("train", "train", "validation", "test")


def picture(number: int, frame: int) -> np.ndarray:
    """Noise; where the label is there, on every other row with a weak stripe."""
    random = np.random.default_rng([number, frame])
    seen = random.integers(60, 200, (297, 297, 3))
    if number % 2 == 0:
        seen[::6] = seen[::6] * 0.6
    return seen.astype(np.uint8)


@pytest.fixture(scope="module")
def encoder(weights_dir: Path):
    made = PictureEncoder(weights_dir, device=CPU)
    yield made
    made.close()


@pytest.fixture(scope="module")
def data(encoder: PictureEncoder, tmp_path_factory: pytest.TempPathFactory) -> DataSet:
    """A data set of real embeddings, and beside it the features before the last block."""
    folder = tmp_path_factory.mktemp("tuned")
    items, rows = [], []
    for number in range(UPLOADS):
        crops = [prepare(picture(number, frame)) for frame in range(FRAMES)]
        split, first = SPLITS[number // 2 % 4], number * FRAMES
        labels = {LABEL: float(number % 2 == 0)}
        items.append(Item(f"u{number}", f"g{number}", split, (first, first + FRAMES), labels))  # type: ignore[arg-type]
        rows.append(np.stack(encoder.forward(crops)))
    times = np.tile(np.arange(FRAMES, dtype=np.float32) * 0.5, UPLOADS)
    embeddings = np.concatenate(rows).astype(np.float16)
    made = write(
        folder, DataSet("topics", "taxonomy@1", encoder.version, (LABEL,), tuple(items), embeddings, times, "2026")
    )
    cache, trunk = FeatureCache(folder, encoder.version, BLOCKS), trunk_of(encoder.network, BLOCKS)
    for number, item in enumerate(items):
        crops = [prepare(picture(number, frame)) for frame in range(FRAMES)]
        cache.put(item, run(trunk, crops, CPU, torch.float32).numpy())
    return made


def cache_of(data: DataSet) -> FeatureCache:
    assert data.folder is not None
    return FeatureCache(data.folder, data.encoder, BLOCKS)


def tuned(data: DataSet, encoder: PictureEncoder, registry: Registry, **options) -> tuple[Version, Tuned]:
    tail = Tail(encoder.network, BLOCKS)
    plan = TuningPlan(BLOCKS, epochs=options.pop("epochs", 3))
    trained, done = fine_tune(data, cache_of(data), tail, Plan(epochs=40), plan, registry, CPU, **options)
    return trained.version, done


@pytest.fixture(scope="module")
def pair(data: DataSet, encoder: PictureEncoder, tmp_path_factory: pytest.TempPathFactory) -> tuple[Version, Tuned]:
    return tuned(data, encoder, Registry(tmp_path_factory.mktemp("registry"), b"a key of the tests"))


def evidence(data: DataSet, item: Item, number: int, *encodings: Encoding) -> Evidence:
    times = np.arange(FRAMES) * 0.5
    frames = np.stack([picture(number, frame) for frame in range(FRAMES)])
    return Evidence(
        1.0, frames, times, [(0.0, 1.0)], np.zeros(0, np.float32), encodings={e.encoder: e for e in encodings}
    )


def test_the_blocks_as_packaged_give_the_packaged_embeddings(data: DataSet, encoder: PictureEncoder) -> None:
    rows = embed(Tail(encoder.network, BLOCKS), cache_of(data).get(data.items[0]), CPU)  # type: ignore[arg-type]
    np.testing.assert_allclose(rows, data.rows(data.items[0]), atol=5e-3)


def test_tuning_learns_and_the_version_says_so(pair: tuple[Version, Tuned]) -> None:
    version, done = pair
    assert done.best_epoch > 0
    assert done.validation_loss < done.base_loss
    assert version.own_encoder == ("picture-topics-1", "efficientnet-lite2-topics@1")
    assert version.manifest["format"] == 2
    assert version.manifest["fine_tuning"]["blocks"] == BLOCKS
    assert set(version.manifest["files"]) == {"head.safetensors", "encoder.safetensors"}


def test_a_node_says_what_the_evaluation_judged(
    data: DataSet, encoder: PictureEncoder, pair: tuple[Version, Tuned], weights_dir: Path
) -> None:
    version = pair[0]
    tagger = build_tagger(version, {"picture": encoder})
    assert tagger.encoders == ("picture", "picture-topics-1")
    own = own_encoders(tagger)["picture-topics-1"]
    item, number = data.items[0], 0
    seen = own.encode(evidence(data, item, number))
    assert seen.scores.shape == (FRAMES, 0)
    tail = Tail(encoder.network, BLOCKS)
    tail.load(version.encoder_tensors())
    rows = embedded(data, data.items, cache_of(data), tail, CPU)
    np.testing.assert_allclose(seen.embeddings, rows[item.upload_id].astype(np.float32), atol=1e-2)
    judge = judge_of("topics", version, weights_dir, encoder, rows)
    scores = [judge.scores(data, one)[LABEL] for one in data.of("test")]
    there = [one.labels[LABEL] for one in data.of("test")]
    assert np.corrcoef(scores, there)[0, 1] > 0.5


def test_a_head_never_reads_the_packaged_embeddings(data: DataSet, encoder: PictureEncoder, pair) -> None:
    tagger = build_tagger(pair[0], {"picture": encoder})
    seen = evidence(data, data.items[0], 0)
    packaged = encoder.encode(seen)
    with pytest.raises(KeyError, match="picture-topics-1"):
        tagger.tag(replace(seen, encodings={"picture": packaged}))
    with pytest.raises(ValueError, match="not for efficientnet-lite2@1"):
        tagger.tag(replace(seen, encodings={"picture": packaged, "picture-topics-1": packaged}))


def test_an_encoder_ends_with_the_last_that_speaks_through_it(encoder: PictureEncoder, pair) -> None:
    tagger = build_tagger(pair[0], {"picture": encoder})
    own = own_encoders(tagger)["picture-topics-1"]
    assert isinstance(own, TunedPictureEncoder)
    seen = Evidence(1.0, np.zeros((1, 297, 297, 3), np.uint8), np.zeros(1), [], np.zeros(0, np.float32))
    assert own.encode(seen).embeddings.shape == (1, 1280)
    del tagger
    gc.collect()
    with pytest.raises(BatcherClosed):
        own.encode(seen)


def test_it_needs_its_base_and_its_tensors_whole(encoder: PictureEncoder, pair, tmp_path: Path) -> None:
    version = pair[0]
    with pytest.raises(VersionIncompatible, match="needs the encoder efficientnet-lite2@1"):
        build_tagger(version)
    registry = Registry(version.folder.parent.parent, b"a key of the tests")
    tensors = dict(version.encoder_tensors())
    fields = {
        k: v for k, v in version.manifest.items() if k not in ("files", "signature", "number", "tagger", "format")
    }
    name = next(iter(tensors))
    wrong = registry.add("topics", fields, version.tensors(), None, {**tensors, name: tensors[name][:1]})
    with pytest.raises(VersionIncompatible, match="does not fit"):
        build_tagger(wrong, {"picture": encoder})
    file = wrong.folder / "encoder.safetensors"
    file.write_bytes(file.read_bytes()[:-1] + b"x")
    with pytest.raises(VersionCorrupt, match=r"encoder\.safetensors is damaged"):
        registry.version("topics", wrong.number)


def test_a_killed_tuning_goes_on_and_ends_the_same(data: DataSet, encoder: PictureEncoder, tmp_path: Path) -> None:
    through, _ = tuned(data, encoder, Registry(tmp_path / "through", b"k" * 16))
    registry = Registry(tmp_path / "killed", b"k" * 16)

    def kill(epoch: int, *_: object) -> None:
        if epoch == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tuned(data, encoder, registry, progress=kill)
    after, done = tuned(data, encoder, registry, resume=True)
    assert done.resumed_from == 2
    for name, value in through.encoder_tensors().items():
        np.testing.assert_array_equal(value, after.encoder_tensors()[name])
    assert not list((registry.root / "topics").glob(".training-*"))


def test_what_is_no_better_is_no_version(data: DataSet, encoder: PictureEncoder, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("models.training.tune.BLOCKS_RATE", 10.0)
    registry = Registry(tmp_path, b"k" * 16)
    with pytest.raises(TrainingError, match="no better than the packaged encoder"):
        tuned(data, encoder, registry, epochs=1)
    assert registry.names() == []


def test_features_of_another_number_of_frames_are_none(data: DataSet, tmp_path: Path) -> None:
    cache, item = FeatureCache(tmp_path, "e@1", 1), data.items[0]
    assert cache.get(item) is None
    cache.put(item, np.zeros((FRAMES + 1, 4, 2, 2), np.float16))
    assert cache.get(item) is None
    cache.put(item, np.zeros((FRAMES, 4, 2, 2), np.float16))
    assert cache.get(item) is not None
    next(cache.folder.iterdir()).write_bytes(b"damaged")
    assert cache.get(item) is None
