"""Amounts that people gave: figures, what a head learns of them, and the verdict."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from models.quality.features import MEASURES, packaged_scores
from models.quality.scores import PICTURE_SHARE, PICTURE_WEIGHTS
from models.quality.tagger import QualityTagger
from models.quality.trained import trained_quality
from models.registry.versions import Registry
from models.training.dataset import DataSet, Item, read, write
from models.training.fit import Plan
from models.training.graded import graded_metrics, rank_correlation
from models.training.graded_evaluation import evaluate_graded
from models.training.judges import judge_of
from models.training.targets import TrainingError
from models.training.train import train

CPU = torch.device("cpu")
SPLITS = ("train", "train", "train", "validation", "test")


def rated(folder: Path, uploads: int = 150, seed: int = 0) -> DataSet:
    """What people gave follows one measure, which the packaged score counts little, and a direction of the rows."""
    random = np.random.default_rng(seed)
    rows, items = [], []
    for number in range(uploads):
        embedding = random.normal(size=(2, 16))
        measures = random.random(len(MEASURES))
        given = 0.15 + 0.7 * measures[MEASURES.index("stability")]
        embedding[:, 0] += 4 * (number % 2)
        given = float(np.clip(given - 0.1 * (number % 2), 0, 1))
        rows.append(np.concatenate([embedding, np.broadcast_to(measures, (2, len(MEASURES)))], axis=1))
        split = SPLITS[number // 2 % 5]
        items.append(Item(f"u{number}", f"g{number}", split, (2 * number, 2 * number + 2), {"picture": given}))  # type: ignore[arg-type]
    embeddings = np.concatenate(rows).astype(np.float16)
    times = np.tile(np.array([0, 0.5], np.float32), uploads)
    data = DataSet(
        "quality", "quality@1", "efficientnet-lite2@1", ("picture",), tuple(items), embeddings, times, "2026",
        measures=len(MEASURES),
    )  # fmt: skip
    return write(folder, data)


def test_rank_correlation_is_spearmans() -> None:
    from scipy.stats import spearmanr

    random = np.random.default_rng(0)
    first, second = random.integers(0, 5, 50).astype(float), random.random(50)
    assert rank_correlation(first, second) == pytest.approx(spearmanr(first, second).statistic)
    assert rank_correlation(np.ones(5), second[:5]) is None
    assert rank_correlation(first[:2], second[:2]) is None


def test_figures_and_their_intervals() -> None:
    given = np.linspace(0, 1, 40)
    found = graded_metrics("picture", given * 0.5 + 0.2, given, [f"g{number}" for number in range(40)])
    assert found.rank_correlation == pytest.approx(1.0)
    assert found.mean_absolute_error == pytest.approx(np.abs(given * 0.5 - 0.2).mean())
    assert found.bias == pytest.approx(-0.05)
    assert found.mean_absolute_error_interval is not None
    low, high = found.mean_absolute_error_interval
    assert low < found.mean_absolute_error < high
    assert graded_metrics("picture", given[:4], given[:4], list("abcd")).mean_absolute_error_interval is None


def test_a_data_set_keeps_how_many_measures_it_has(tmp_path: Path) -> None:
    data = rated(tmp_path)
    assert read(tmp_path).measures == data.measures == len(MEASURES)
    assert '"format": 2' in (tmp_path / "dataset.json").read_text()


def test_a_head_learns_what_people_give_and_beats_the_packaged_score(tmp_path: Path) -> None:
    data, registry = rated(tmp_path / "data"), Registry(tmp_path / "registry", b"a key of the tests")
    trained = train(data, Plan(), registry, CPU)
    metrics = trained.version.manifest["metrics"]
    assert metrics["graded"] and metrics["mean_f1"] is None
    assert metrics["labels"]["picture"]["rank_correlation"] > 0.8
    assert metrics["labels"]["picture"]["mean_absolute_error"] < 0.1
    judges = (judge_of("quality", trained.version, tmp_path), judge_of("quality", None, tmp_path))
    result = evaluate_graded(data, *judges)
    (row,) = result.labels
    assert row.champion is not None and row.champion.mean_absolute_error > row.version.mean_absolute_error  # type: ignore[operator]
    assert result.passes
    back = evaluate_graded(data, judges[1], judges[0])
    assert not back.passes
    assert any("from what people gave" in one for one in back.objections)
    assert trained_quality(trained.version).version == f"{QualityTagger.version}+quality-head@1"


def test_too_few_ratings_are_told(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="10"):
        train(rated(tmp_path / "data", uploads=10), Plan(), Registry(tmp_path / "r", b"k" * 16), CPU)
    few = rated(tmp_path / "few", uploads=60)
    result = evaluate_graded(few, judge_of("quality", None, tmp_path))
    assert not result.passes
    assert "too little to judge by" in result.objections[0]


def test_the_packaged_judge_says_what_the_tagger_says() -> None:
    row = np.ones(len(MEASURES))
    assert packaged_scores(row) == {"picture": 1.0, "score": 1.0}
    row[MEASURES.index("sharpness")] = 0.5
    said = packaged_scores(row)
    assert said["picture"] == pytest.approx(0.5 ** PICTURE_WEIGHTS["sharpness"], abs=1e-4)
    assert said["score"] == pytest.approx(said["picture"] ** PICTURE_SHARE)
    row[MEASURES.index("heard")] = 0.0
    assert packaged_scores(row)["score"] == said["picture"]
