"""Frames and sound as the decoder's pass shows them, made from real photographs and from seeded noise."""

from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from skimage import color, data

from models.quality.picture import PictureMeasures
from models.quality.sound import SoundMeasures


@pytest.fixture(scope="session")
def photos() -> dict[str, np.ndarray]:
    """Luma of four photographs."""
    pictures = {"astronaut": data.astronaut(), "cat": data.cat(), "coffee": data.coffee(), "rocket": data.rocket()}
    return {name: (color.rgb2gray(picture) * 255).astype(np.uint8) for name, picture in pictures.items()}


@pytest.fixture
def watch() -> Callable[..., dict[str, Any]]:
    """Show planes to `PictureMeasures` as the decoder does; its result."""

    def run(
        planes: Sequence[np.ndarray], fps: float = 30.0, every: int = 15, quantiser: float | None = None
    ) -> dict[str, Any]:
        observer = PictureMeasures()
        for index, plane in enumerate(planes):
            step = max(1, round(min(plane.shape) / 90))
            observer.frame(
                SimpleNamespace(
                    luma=plane,
                    small=plane[::step, ::step],
                    time_s=index / fps,
                    sampled=index % every == 0,
                    index=index,
                    quantiser=quantiser,
                )
            )
        return dict(observer.result(np.zeros(0, np.float32)))

    return run


@pytest.fixture
def hear() -> Callable[..., dict[str, Any]]:
    """Play [channels, samples] to `SoundMeasures` in a coder's blocks; its result."""

    def run(samples: np.ndarray, rate: int, block: int = 1024) -> dict[str, Any]:
        observer = SoundMeasures()
        for start in range(0, samples.shape[1], block):
            part = samples[:, start : start + block].astype(np.float32)
            observer.sound(SimpleNamespace(native=part, sample_rate=rate, time_s=start / rate))
        return dict(observer.result(np.zeros(0, np.float32)))

    return run
