"""Real media of every kind, made with PyAV."""

from __future__ import annotations

import io
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

from scripts.clips import own_schedule

COLOURS = {"red": (230, 30, 30), "green": (30, 200, 40), "blue": (30, 40, 220), "grey": (128, 128, 128)}


def scene(width: int, height: int, seed: int, step: int = 0) -> np.ndarray:
    """A textured picture; `step` moves it a little. Another seed is another scene."""
    rng = np.random.default_rng(seed)
    blocks = rng.integers(0, 256, (9, 16, 3), np.uint8)
    picture = np.asarray(Image.fromarray(blocks).resize((width, height), Image.Resampling.NEAREST))
    return np.roll(picture, step, axis=1)


def corners(width: int, height: int) -> np.ndarray:
    """Red top left, green top right, blue bottom left, grey bottom right."""
    picture = np.empty((height, width, 3), np.uint8)
    top, left = height // 2, width // 2
    picture[:top, :left], picture[:top, left:] = COLOURS["red"], COLOURS["green"]
    picture[top:, :left], picture[top:, left:] = COLOURS["blue"], COLOURS["grey"]
    return picture


class Studio:
    """Writes media files."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._count = 0

    def path(self, suffix: str) -> Path:
        self._count += 1
        return self.folder / f"{self._count}{suffix}"

    def raw(self, data: bytes, suffix: str = ".bin") -> Path:
        path = self.path(suffix)
        path.write_bytes(data)
        return path

    def video(
        self,
        pictures: Sequence[np.ndarray],
        *,
        suffix: str = ".mp4",
        codec: str = "libx264",
        pix_fmt: str = "yuv420p",
        rate: int = 25,
        times_ms: Sequence[int] | None = None,
        tone_s: float = 0.0,
        audio_codec: str = "aac",
        audio_rate: int = 44_100,
        rotate: float | None = None,
        aspect: Fraction | None = None,
        options: dict[str, str] | None = None,
    ) -> Path:
        path = self.path(suffix)
        with own_schedule(), av.open(str(path), "w") as out:
            stream: Any = out.add_stream(codec, rate=rate, options=options or {})
            stream.height, stream.width = pictures[0].shape[:2]
            stream.pix_fmt = pix_fmt
            if aspect is not None:
                stream.codec_context.sample_aspect_ratio = aspect
            if times_ms is not None:
                stream.time_base = stream.codec_context.time_base = Fraction(1, 1000)
            if rotate is not None:
                stream.set_display_rotation(rotate)
            sound = self._tone_stream(out, audio_codec, audio_rate) if tone_s else None
            for index, picture in enumerate(pictures):
                frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
                frame.pts = times_ms[index] if times_ms is not None else index
                frame.time_base = Fraction(1, 1000) if times_ms is not None else Fraction(1, rate)
                out.mux(stream.encode(frame))
            out.mux(stream.encode(None))
            if sound is not None:
                self._play(out, sound, tone_s)
        return path

    def sound(self, seconds: float, *, suffix: str = ".wav", codec: str = "pcm_s16le", rate: int = 44_100) -> Path:
        path = self.path(suffix)
        with av.open(str(path), "w") as out:
            self._play(out, self._tone_stream(out, codec, rate), seconds)
        return path

    def _tone_stream(self, out: Any, codec: str, rate: int = 44_100) -> Any:
        rate = 48_000 if codec == "libopus" else rate
        return out.add_stream(codec, rate=rate, layout="stereo")

    def _play(self, out: Any, stream: Any, seconds: float, frequency: float = 440.0) -> None:
        rate = stream.codec_context.sample_rate
        count = round(seconds * rate)
        tone = (0.5 * np.sin(2 * np.pi * frequency * np.arange(count) / rate)).astype(np.float32)
        for start in range(0, count, 1024):
            part = np.ascontiguousarray(np.repeat(tone[None, start : start + 1024], 2, axis=0))
            frame = av.AudioFrame.from_ndarray(part, format="fltp", layout="stereo")
            frame.sample_rate, frame.pts, frame.time_base = rate, start, Fraction(1, rate)
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))

    def picture(self, picture: np.ndarray, kind: str, **options: Any) -> Path:
        memory = io.BytesIO()
        Image.fromarray(picture).save(memory, kind, **options)
        return self.raw(memory.getvalue(), f".{kind}")

    def gif(self, pictures: Sequence[np.ndarray], frame_ms: int) -> Path:
        path = self.path(".gif")
        first, *rest = map(Image.fromarray, pictures)
        first.save(path, save_all=True, append_images=rest, duration=frame_ms, loop=0)
        return path


@pytest.fixture
def studio(tmp_path: Path) -> Studio:
    folder = tmp_path / "studio"
    folder.mkdir()
    return Studio(folder)


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """6 s, 320 x 180, 25 frames a second: three scenes of 2 s each, with a tone of 440 Hz."""
    studio = Studio(tmp_path_factory.mktemp("clip"))
    pictures = [scene(320, 180, seed, step) for seed in (1, 2, 3) for step in range(50)]
    return studio.video(pictures, tone_s=6.0)


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    folder = tmp_path / "scratch"
    folder.mkdir()
    return folder


@pytest.fixture(scope="session")
def pictures() -> Any:
    """The picture makers, for tests."""

    class Pictures:
        scene = staticmethod(scene)
        corners = staticmethod(corners)
        colours = COLOURS

    return Pictures
