"""Training end to end on small data with a known truth: what is learned, what is refused, what is resumed."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

from models.protocol import Encoding, Evidence
from models.registry.taggers import build_tagger
from models.registry.versions import Registry, VersionIncompatible
from models.serving.head import KINDS, Head
from models.topics.extension import extension_for
from models.topics.taxonomy import load_taxonomy
from models.training.calibrate import calibrate
from models.training.fit import Plan, fit
from models.training.heads import TrainedHead
from models.training.targets import TrainingError, targets, trainable
from models.training.train import train

CPU = torch.device("cpu")


@pytest.mark.parametrize("kind", KINDS)
def test_a_head_learns_what_is_there(make_data, registry: Registry, kind) -> None:
    data = make_data(uploads=240)
    version = train(data, Plan(kind), registry, CPU).version
    rows = version.manifest["metrics"]["labels"]
    assert all(row["split"] == "test" and row["f1"] >= 0.85 and row["average_precision"] > 0.9 for row in rows.values())
    assert all(row["ece"] < 0.15 for row in rows.values())
    assert version.manifest["data"]["hash"] == data.hash


def test_attention_sees_what_shows_in_one_frame(make_data, registry: Registry) -> None:
    data = make_data(uploads=240, brief=True, strength=2.0)
    found = {
        kind: train(data, Plan(kind, epochs=300), registry, CPU).version.manifest["metrics"]["mean_average_precision"]
        for kind in ("linear", "attention")
    }
    assert found["attention"] > 0.9
    assert found["attention"] >= found["linear"]


@pytest.mark.parametrize("kind", KINDS)
def test_nodes_run_the_same_head_that_was_trained(kind) -> None:
    random = np.random.default_rng(0)
    torch.manual_seed(0)
    rows = random.normal(size=(7, 16)).astype(np.float16)
    trained = TrainedHead(kind, random.normal(size=16).astype(np.float32), np.full(16, 0.3, np.float32), 3).eval()
    for parameter in trained.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    padded = torch.zeros(1, 9, 16)
    padded[0, :7] = torch.from_numpy(rows.astype(np.float32))
    with torch.inference_mode():
        expected = trained(padded, torch.arange(9)[None] < 7)[0].numpy()
    served = Head(kind, ("a", "b", "c"), trained.arrays(), np.ones(3), np.zeros(3), np.full(3, 0.5))
    assert np.allclose(served.logits(rows), expected, atol=1e-4)


def test_the_same_seed_gives_the_same_head(make_data, registry: Registry) -> None:
    data = make_data()
    first, second, third = (
        train(data, Plan("mlp", seed, epochs=5), registry, CPU).version.manifest["files"]["head.safetensors"]
        for seed in (1, 1, 2)
    )
    assert first == second != third


def test_what_nobody_judged_is_not_learned_from(make_data) -> None:
    """Labels that contradict the picture are hidden: with them hidden, the split's other uploads alone decide."""
    data = make_data(judge=lambda number, label, present: number % 2 == 0)
    known = targets(data, data.of("train"), data.labels)
    assert set(known.weights[:, 0]) == {0.0, 1.0}
    altered = replace(known, values=np.where(known.weights == 0, 1 - known.values, known.values))
    checked = targets(data, data.of("validation"), data.labels)
    first, second = (fit(part, checked, Plan(epochs=3), CPU).arrays for part in (known, altered))
    assert all(np.array_equal(first[name], second[name]) for name in first)


def test_a_killed_run_goes_on_and_ends_as_one_that_ran_through(make_data, registry: Registry, tmp_path) -> None:
    data = make_data()
    parts = [targets(data, data.of(split), data.labels) for split in ("train", "validation")]
    plan, checkpoint = Plan("mlp", epochs=12), tmp_path / "checkpoint.safetensors"
    through = fit(*parts, plan, CPU)

    def kill(epoch: int, *_: object) -> None:
        if epoch == 8:  # before its checkpoint is written: the one of epoch 7 is there
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(*parts, plan, CPU, checkpoint=checkpoint, progress=kill)
    shutil.copyfile(checkpoint, tmp_path / "kept")
    resumed = fit(*parts, plan, CPU, checkpoint=checkpoint, resume=True)
    assert (resumed.resumed_from, resumed.epochs, resumed.best_epoch) == (7, through.epochs, through.best_epoch)
    assert all(np.array_equal(resumed.arrays[name], through.arrays[name]) for name in through.arrays)
    assert not checkpoint.exists()
    shutil.copyfile(tmp_path / "kept", checkpoint)
    assert fit(*parts, replace(plan, seed=5), CPU, checkpoint=checkpoint, resume=True).resumed_from == 0
    checkpoint.write_bytes(b"nonsense")
    assert fit(*parts, plan, CPU, checkpoint=checkpoint, resume=True).resumed_from == 0


def test_a_new_topic_from_few_uploads_that_nobody_contrasted(make_data, registry: Registry) -> None:
    """People said which uploads show it, and nothing of the others: these are its background."""
    data = make_data(labels=("hobbies/kites",), uploads=120, judge=lambda number, label, present: present)
    with pytest.raises(TrainingError, match="hardly a judged absence"):
        train(data, Plan(), registry, CPU, background=False)
    extra = extension_for(load_taxonomy(), data.labels)
    trained = train(data, Plan(), registry, CPU, only=["hobbies/kites"], extra_topics=extra)
    assert trained.background == ("hobbies/kites",)
    assert trained.version.manifest["data"]["background"] == ["hobbies/kites"]
    assert trained.version.manifest["metrics"]["labels"]["hobbies/kites"]["f1"] >= 0.8
    tagger = build_tagger(trained.version)
    tagger.picture_head = None  # the packaged head reads 1280 dimensions, and this data set has 32
    rows = data.rows(next(item for item in data.of("test") if item.labels))
    said = tagger.tag(evidence(rows))
    assert [topic["topic"] for topic in said] == ["hobbies/kites"]
    assert tagger.version == f"efficientnet-lite2-taxonomy@3+topics-head@{trained.version.number}"


def test_a_topic_that_no_taxonomy_has_cannot_be_run(make_data, registry: Registry) -> None:
    data = make_data(labels=("hobbies/kites",))
    version = train(data, Plan(epochs=2), registry, CPU).version
    with pytest.raises(VersionIncompatible, match="hobbies/kites"):
        build_tagger(version)


@pytest.mark.parametrize(("field", "value"), [("encoder", "another@2"), ("taxonomy", "taxonomy@2")])
def test_another_encoder_or_taxonomy_is_incompatible(make_data, registry: Registry, field: str, value: str) -> None:
    data = replace(make_data(), **{field: value})
    version = train(data, Plan(epochs=2), registry, CPU).version
    with pytest.raises(VersionIncompatible, match=value):
        build_tagger(version)


def test_too_few_uploads_are_refused_by_name_and_left_out_otherwise(make_data) -> None:
    data = make_data(judge=lambda number, label, present: label == "animals/cat" or number < 4)
    labels, left_out = trainable(data)
    assert labels == ("animals/cat",)
    assert "needed" in left_out["food/fruit"]
    with pytest.raises(TrainingError, match="food/fruit"):
        trainable(data, ["food/fruit"])
    with pytest.raises(TrainingError, match="no label 'sky'"):
        trainable(data, ["sky"])


def test_calibration_takes_back_the_weight_of_positives() -> None:
    random = np.random.default_rng(0)
    present = random.random(4000) < 0.1
    honest = np.where(present, 1.5, -1.5) + random.normal(size=4000) + np.log(0.1 / 0.9)
    curve = calibrate(honest + np.log(9.0), present.astype(float), np.ones(4000), 9.0)
    scores = curve.score(honest + np.log(9.0))
    for low, high in ((0.0, 0.2), (0.2, 0.5), (0.5, 1.0)):
        inside = (scores >= low) & (scores < high)
        assert abs(scores[inside].mean() - present[inside].mean()) < 0.06


def test_events_and_quality_are_trained_by_the_same_code(make_data, registry: Registry) -> None:
    events = make_data("events", labels=("Dog",), tagger="events", encoder="yamnet@2", dimension=1024, strength=30.0)
    tagger = build_tagger(train(events, Plan(epochs=30), registry, CPU).version)
    rows = events.rows(next(item for item in events.items if item.labels["Dog"] == 1))
    heard = Encoding("yamnet@2", np.arange(len(rows)) * 0.48, 0.48, rows, np.zeros((len(rows), 521), np.float32))
    said = tagger.tag(replace(evidence(rows), encodings={"yamnet": heard}))
    assert [event["event"] for event in said if not event["implied"]] == ["Dog"]
    assert [event["event"] for event in said if event["implied"]] == ["Domestic animals, pets", "Animal"]
    assert said[0]["ranges"]
    quality = make_data("quality", labels=("picture",), tagger="quality", dimension=1280, strength=30.0)
    assert build_tagger(train(quality, Plan(epochs=5), registry, CPU).version).section == "quality"


def test_the_manifest_is_plain_json(make_data, registry: Registry) -> None:
    version = train(make_data(), Plan(epochs=2), registry, CPU).version
    assert json.loads((version.folder / "manifest.json").read_text()) == version.manifest
    assert version.manifest["statistics"]["uploads"] == 45


def evidence(rows: np.ndarray) -> Evidence:
    times = np.arange(len(rows)) * 0.5
    unsure = np.full((len(rows), 1000), 1e-3, np.float32)
    return Evidence(
        duration_s=len(rows) * 0.5,
        frames=np.zeros((0, 0, 0, 3), np.uint8),
        frame_times_s=times,
        shots=[],
        waveform=np.zeros(0, np.float32),
        encodings={"picture": Encoding("efficientnet-lite2@1", times, 0.5, rows, unsure)},
    )
