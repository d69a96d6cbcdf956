"""Small labelled data sets with a known truth, and registries of their own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from models.registry.versions import Registry
from models.training.dataset import DataSet, Item, write

KEY = b"a key of the tests"


def make(
    folder: Path,
    labels: tuple[str, ...] = ("animals/cat", "food/fruit"),
    *,
    uploads: int = 60,
    dimension: int = 32,
    tagger: str = "topics",
    encoder: str = "efficientnet-lite2@1",
    judge: Callable[[int, str, bool], bool] = lambda number, label, present: True,
    brief: bool = False,
    seed: int = 0,
    strength: float = 3.0,
) -> DataSet:
    """Uploads of 2 to 6 frames; each label is a direction, and every third upload has it. `judge` says what is known.

    With `brief`, only one frame of an upload shows it.
    """
    random = np.random.default_rng(seed)
    directions = np.linalg.qr(random.normal(size=(dimension, dimension)))[0][: len(labels)]
    rows, items, first = [], [], 0
    for number in range(uploads):
        count = int(random.integers(2, 7))
        mine = random.normal(size=(count, dimension))
        known: dict[str, float] = {}
        for column, label in enumerate(labels):
            present = (number + column) % 3 == 0
            if present:
                where = slice(0, 1) if brief else slice(None)
                mine[where] += strength * (3 if brief else 1) * directions[column]
            if judge(number, label, present):
                known[label] = float(present)
        split = ("train", "train", "validation", "test")[(number // 3) % 4]
        slices = {"language": ("en", "it")[number % 2], "country": "IT", "duration_s": count * 0.5, "layout": "single"}
        items.append(Item(f"u{number}", f"g{number}", split, (first, first + count), known, slices))  # type: ignore[arg-type]
        rows.append(mine)
        first += count
    times = np.concatenate([np.arange(len(mine)) * 0.5 for mine in rows])
    data = DataSet(
        tagger=tagger,
        taxonomy="taxonomy@1",
        encoder=encoder,
        labels=labels,
        items=tuple(items),
        embeddings=np.concatenate(rows).astype(np.float16),
        times_s=times.astype(np.float32),
        created_at="2026-11-24T00:00:00+00:00",
    )
    return write(folder, data)


@pytest.fixture
def make_data(tmp_path: Path) -> Callable[..., DataSet]:
    """Makes data sets; see `make`."""
    return lambda name="data", **options: make(tmp_path / name, **options)


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry(tmp_path / "registry", KEY)
