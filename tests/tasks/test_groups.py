"""Near-duplicates are found exactly, block by block."""

from __future__ import annotations

import numpy as np
import pytest

from tasks.groups import ALIKE, alike_components


def plain(means: np.ndarray) -> list[int]:
    """By every pair, one after another."""
    units = means / np.maximum(np.linalg.norm(means, axis=1, keepdims=True), 1e-9)
    numbers = list(range(len(units)))
    for one in range(len(units)):
        for other in range(one):
            if units[one] @ units[other] >= ALIKE and numbers[one] != numbers[other]:
                old, new = numbers[one], numbers[other]
                numbers = [new if number == old else number for number in numbers]
    return numbers


def same(one: list[int], other: list[int]) -> bool:
    pairs = set(zip(one, other, strict=True))
    return len(pairs) == len({first for first, _ in pairs}) == len({second for _, second in pairs})


@pytest.mark.parametrize(("uploads", "spread"), [(150, 0.05), (300, 0.25), (300, 0.31), (700, 0.33), (200, 1.0)])
def test_as_by_every_pair(uploads: int, spread: float) -> None:
    random = np.random.default_rng(uploads)
    centres = np.maximum(random.normal(size=(12, 256)), 0)
    means = centres[random.integers(0, 12, uploads)] + random.normal(size=(uploads, 256)) * spread * 0.7
    means = means.astype(np.float32)
    assert same(alike_components(means).tolist(), plain(means))


def test_chains_connect_and_zeros_are_like_no_other() -> None:
    angles = np.deg2rad(np.arange(0, 180, 15))
    chain = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    assert len(set(alike_components(chain).tolist())) == 1
    zeros = np.zeros((3, 8), np.float32)
    assert len(set(alike_components(zeros).tolist())) == 3


def test_one_file_sent_very_often_is_one_group() -> None:
    row = np.random.default_rng(0).random((1, 1280)).astype(np.float32)
    assert len(set(alike_components(np.repeat(row, 20_000, axis=0)).tolist())) == 1
