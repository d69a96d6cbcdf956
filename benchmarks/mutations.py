"""Files that are nearly right: real ones of many containers and codecs, and what is done to them."""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np

from benchmarks import broken
from scripts import clips

SEED = 20261125
MOST_MUTATIONS = 4
Random = np.random.Generator
Mutation = Callable[[bytes, Random], bytes]

# Beside those of `benchmarks.broken`: extension, video codec, sound codec.
MORE = (
    ("mkv", "libx264", "flac"),
    ("mkv", "ffv1", "pcm_s16le"),
    ("mkv", "libvpx", "libvorbis"),
    ("mp4", "libx265", "mp3"),
    ("mp4", "libsvtav1", "aac"),
    ("mp4", "libaom-av1", "aac"),
    ("flv", "flv1", "mp3"),
    ("3gp", "h263", None),
    ("mov", "prores_ks", "pcm_s24le"),
    ("avi", "mjpeg", "pcm_u8"),
    ("mpg", "mpeg1video", "mp2"),
    ("ogg", None, "libopus"),
    ("ogg", None, "libvorbis"),
    ("aac", None, "aac"),
    ("ac3", None, "ac3"),
    ("aiff", None, "pcm_s16be"),
    ("wav", None, "adpcm_ms"),
    ("mka", None, "alac"),
)
STILLS = (("bmp", "bmp", "bgr24"), ("tif", "tiff", "rgb24"), ("webp", "libwebp", "yuv420p"))


@functools.cache
def corpus() -> dict[str, bytes]:
    """Real small files by `container/codecs`. What this FFmpeg cannot encode is left out: see the report's list."""
    files = {f"{suffix}/base": data for suffix, data in broken.bases().items()}
    random = np.random.default_rng(SEED)
    pictures = [random.integers(0, 255, (144, 176, 3), dtype=np.uint8) for _ in range(8)]
    heard = (0.3 * np.sin(np.linspace(0, 2000, clips.SOUND_RATE)) * np.ones((2, 1))).astype(np.float32)
    with tempfile.TemporaryDirectory() as folder:
        for suffix, video, audio in MORE:
            path = Path(folder) / f"x.{suffix}"
            try:
                clips.write(
                    path,
                    pictures if video else None,
                    heard if audio else None,
                    fps=12,
                    video_codec=video or "libx264",
                    audio_codec=audio or "aac",
                )
            except (av.error.FFmpegError, ValueError, TypeError):
                continue
            files[f"{suffix}/{video}+{audio}"] = path.read_bytes()
    for suffix, codec, pixels in STILLS:
        try:
            files[f"{suffix}/{codec}"] = broken.still(pictures[0], codec, pixels)
        except (av.error.FFmpegError, ValueError):
            continue
    return files


def wild_number(data: bytes, random: Random) -> bytes:
    """A number somewhere is wild, big- or little-endian, of 1 to 8 bytes: a size, a count, a time, an offset."""
    array = bytearray(data)
    for _ in range(int(random.integers(1, 9))):
        width = int(random.choice([1, 2, 4, 8]))
        at = int(random.integers(0, max(1, len(array) - width)))
        value = int(random.choice([0, 1, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, 0x7FFFFFFFFFFFFFFF]))
        order: Any = random.choice(["big", "little"])
        array[at : at + width] = (value & ((1 << 8 * width) - 1)).to_bytes(width, order)
    return bytes(array[: len(data)])


def doubled(data: bytes, random: Random) -> bytes:
    """A stretch comes many times."""
    start = int(random.integers(0, len(data)))
    stretch = data[start : start + int(random.integers(1, 2000))]
    return data[:start] + stretch * int(random.integers(2, 200)) + data[start:]


def spliced(data: bytes, random: Random) -> bytes:
    """A stretch of another file stands in this one."""
    names = sorted(corpus())
    other = corpus()[names[int(random.integers(len(names)))]]
    start, at = int(random.integers(0, len(other))), int(random.integers(0, len(data)))
    stretch = other[start : start + int(random.integers(1, len(other) + 1))]
    return data[:at] + stretch + data[at + (len(stretch) if random.random() < 0.5 else 0) :]


MUTATIONS: dict[str, Mutation] = {
    **broken.MUTATIONS,
    "wild number": wild_number,
    "stretch doubled": doubled,
    "spliced": spliced,
}


def mutated(number: int, seed: int = SEED) -> tuple[str, str, bytes]:
    """File `number` of a seed: what it was, what was done to it, and its bytes."""
    random = np.random.default_rng((seed, number))
    names = sorted(corpus())
    name = names[int(random.integers(len(names)))]
    data, done = corpus()[name], []
    for _ in range(int(random.integers(1, MOST_MUTATIONS + 1))):
        mutation = sorted(MUTATIONS)[int(random.integers(len(MUTATIONS)))]
        data = MUTATIONS[mutation](data, random) or b"\0"
        done.append(mutation)
    return name, ", ".join(done), data
