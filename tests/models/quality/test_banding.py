import numpy as np
import pytest

from models.quality.banding import banding


def _slope(height: int = 120, width: int = 320) -> np.ndarray:
    return np.tile(np.linspace(20.0, 230.0, width), (height, 1)) + np.linspace(0.0, 20.0, height)[:, None]


def _banded(plane: np.ndarray, levels: int) -> np.ndarray:
    width = 255.0 / (levels - 1)
    return np.clip(np.rint(plane / width) * width, 0, 255).astype(np.uint8)


def test_fewer_levels_are_higher_stairs() -> None:
    amounts = [banding(_banded(_slope(), levels)) for levels in (128, 32, 16, 8, 4)]
    assert amounts == sorted(amounts)  # type: ignore[type-var]
    assert amounts[-1] > 20 * max(amounts[0], 0.5)  # type: ignore[operator, type-var]


def test_photographs_have_few(photos: dict[str, np.ndarray]) -> None:
    for name, photo in photos.items():
        assert banding(photo) < 0.4 * banding(_banded(photo.astype(float), 12)), name  # type: ignore[operator]


def test_noise_hides_stairs() -> None:
    noise = np.random.default_rng(0).normal(0.0, 8.0, (120, 320))
    rough = np.clip(_banded(_slope(), 16) + noise, 0, 255).astype(np.uint8)
    assert banding(rough) < 0.2 * banding(_banded(_slope(), 16))  # type: ignore[operator]


def test_edges_of_many_heights_count_less_than_stairs() -> None:
    def edges(heights: np.ndarray) -> np.ndarray:
        levels = np.stack([np.full(len(heights), 5.0), 5.0 + heights], axis=1).reshape(-1)
        return np.tile(np.kron(levels, np.ones(20)), (60, 1)).astype(np.uint8)

    many, same = banding(edges(np.geomspace(6, 240, 16))), banding(edges(np.full(16, 40.0)))
    assert many < 0.5 * same  # type: ignore[operator]


@pytest.mark.parametrize("shape", [(1, 1), (1, 400), (5, 5), (400, 1), (12, 12)])
def test_what_holds_no_slope_tells_nothing(shape: tuple[int, int]) -> None:
    assert banding(np.full(shape, 128, np.uint8)) is None
