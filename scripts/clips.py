"""Make clips whose truth is known: cut, re-encode, put side by side, move over photos. For demo, tests, benchmarks.

Everything streams frame by frame, so a clip's length is not bounded by memory.
"""

from __future__ import annotations

import io
import itertools
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import cast

import av
import cv2
import numpy as np
import numpy.typing as npt

Frame = npt.NDArray[np.uint8]
"""[height, width, 3] RGB"""
Sound = npt.NDArray[np.float32]
"""[channels, samples]"""
SOUND_RATE = 44_100
"""Sample rate of every clip made here, Hz"""


def frames(path: Path, start_s: float = 0.0, duration_s: float | None = None, fps: float = 24.0) -> Iterator[Frame]:
    """Frames of a file at a constant rate, by time."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        if start_s > 0:
            container.seek(int(start_s * av.time_base))
        due = start_s
        for frame in container.decode(stream):
            while frame.time is not None and frame.time >= due - 1e-6:
                if duration_s is not None and due >= start_s + duration_s - 1e-6:
                    return
                yield _pixels(frame)
                due += 1 / fps


def sound(path: Path, start_s: float = 0.0, duration_s: float | None = None, rate: int = SOUND_RATE) -> Sound:
    """A file's sound, stereo, at `rate` Hz."""
    blocks: list[Sound] = []
    with av.open(str(path)) as container:
        resampler = av.AudioResampler("fltp", "stereo", rate)
        for frame in itertools.chain(container.decode(audio=0), [None]):
            blocks += [np.asarray(block.to_ndarray(), dtype=np.float32) for block in resampler.resample(frame)]
    whole = np.concatenate(blocks, axis=1)
    end = None if duration_s is None else int((start_s + duration_s) * rate)
    return whole[:, int(start_s * rate) : end]


def write(
    path: Path,
    pictures: Iterable[Frame] | None,
    heard: Sound | Iterable[Sound] | None = None,
    *,
    fps: float = 24.0,
    video_codec: str = "libx264",
    audio_codec: str = "aac",
    audio_bitrate: int = 96_000,
    crf: int = 23,
    preset: str = "veryfast",
) -> Path:
    """Encode a clip. `pictures` are cropped to even sizes; `heard` is at `SOUND_RATE`, in blocks where it is long."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with own_schedule(), av.open(str(path), "w", container_options={"fflags": "+bitexact"}) as container:
        video: av.VideoStream | None = None
        audio: av.AudioStream | None = None
        pictures = iter(pictures) if pictures is not None else None
        first = next(pictures) if pictures is not None else None
        if first is not None:
            rate = Fraction(fps).limit_denominator(1001)
            video = cast(av.VideoStream, container.add_stream(video_codec, rate=rate))
            video.height, video.width = (first.shape[0] // 2 * 2, first.shape[1] // 2 * 2)
            video.pix_fmt = "yuv420p"
            video.thread_count = 1
            video.options = dict(_options(video_codec, crf, preset))
        if heard is not None:
            audio = cast(av.AudioStream, container.add_stream(audio_codec, rate=SOUND_RATE, layout="stereo"))
            audio.bit_rate = audio_bitrate
        if video is not None and first is not None and pictures is not None:
            for picture in itertools.chain([first], pictures):
                cropped = np.ascontiguousarray(picture[: video.height, : video.width])
                container.mux(video.encode(av.VideoFrame.from_ndarray(cropped, format="rgb24")))
            container.mux(video.encode(None))
        if audio is not None and heard is not None:
            for packet in _encode_sound(audio, heard):
                container.mux(packet)
    return path


@contextmanager
def own_schedule() -> Iterator[None]:
    """Leave the thread scheduled as it was: SVT-AV1 makes the thread that calls it a real-time one, where it may, and
    all processes that are started afterwards would be too."""
    if not hasattr(os, "sched_setscheduler"):
        yield
        return
    policy, given = os.sched_getscheduler(0), os.sched_getparam(0)
    try:
        yield
    finally:
        if os.sched_getscheduler(0) != policy:
            os.sched_setscheduler(0, policy, given)


def _options(codec: str, crf: int, preset: str) -> dict[str, str]:
    if codec == "libx265":
        return {"crf": str(crf), "preset": preset, "x265-params": "log-level=error"}
    if codec == "libx264":
        # With more threads, or looking ahead, x264 does not always make the same file again.
        return {"crf": str(crf), "preset": preset, "x264-params": "rc-lookahead=0:mbtree=0"}
    return {}


def _encode_sound(stream: av.AudioStream, heard: Sound | Iterable[Sound]) -> Iterator[list[av.Packet]]:
    fifo = av.AudioFifo()
    size = stream.codec_context.frame_size or 1024
    resampler = av.AudioResampler(stream.codec_context.format, "stereo", SOUND_RATE)
    for samples in [heard] if isinstance(heard, np.ndarray) else heard:
        whole = av.AudioFrame.from_ndarray(
            np.ascontiguousarray(samples, dtype=np.float32), format="fltp", layout="stereo"
        )
        whole.sample_rate = SOUND_RATE
        whole.pts = fifo.samples_written
        whole.time_base = Fraction(1, SOUND_RATE)
        fifo.write(whole)
        while (block := fifo.read(size)) is not None:
            for frame in resampler.resample(block):
                yield stream.encode(frame)
    if (rest := fifo.read(0, partial=True)) is not None:
        for frame in resampler.resample(rest):
            yield stream.encode(frame)
    yield stream.encode(None)


def resized(pictures: Iterable[Frame], width: int, height: int) -> Iterator[Frame]:
    """Fill `width` x `height`: scaled, then cropped around the middle."""
    for picture in pictures:
        scale = max(width / picture.shape[1], height / picture.shape[0])
        size = (max(width, round(picture.shape[1] * scale)), max(height, round(picture.shape[0] * scale)))
        scaled = cv2.resize(picture, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
        left, top = (scaled.shape[1] - width) // 2, (scaled.shape[0] - height) // 2
        yield np.asarray(scaled[top : top + height, left : left + width])


def side_by_side(left: Iterable[Frame], right: Iterable[Frame]) -> Iterator[Frame]:
    """A duet: two equal pictures, as long as the shorter."""
    for first, second in zip(left, right, strict=False):
        yield np.concatenate([first, second], axis=1)


def moved(photo: Frame, width: int, height: int, count: int, seed: int = 0) -> Iterator[Frame]:
    """A slow pan and zoom over a photo: `count` frames."""
    random = np.random.default_rng(seed)
    tall, wide = photo.shape[:2]
    side = min(wide / width, tall / height)
    first, last = random.permutation([0.86, 1.0])
    zooms = np.linspace(float(first), float(last), count)
    start, end = random.uniform(0, 1, 2), random.uniform(0, 1, 2)
    for step, zoom in zip(np.linspace(0, 1, count), zooms, strict=True):
        crop = (width * side * zoom, height * side * zoom)
        at = start + (end - start) * step
        left, top = at[0] * (wide - crop[0]), at[1] * (tall - crop[1])
        transform = np.array([[crop[0] / width, 0, left], [0, crop[1] / height, top]])
        flags = cv2.INTER_AREA if crop[0] > width else cv2.INTER_LINEAR
        yield np.asarray(cv2.warpAffine(photo, transform, (width, height), flags=flags | cv2.WARP_INVERSE_MAP))


def slideshow(photos: Sequence[Frame], width: int, height: int, fps: float, each_s: float) -> Iterator[Frame]:
    """Still pictures one after another, hard cuts."""
    for photo in photos:
        picture = next(resized([photo], width, height))
        yield from itertools.repeat(picture, round(each_s * fps))


def truncated(source: Path, target: Path, share: float) -> Path:
    """The first `share` of a file's bytes."""
    data = source.read_bytes()
    target.write_bytes(data[: int(len(data) * share)])
    return target


def image(data: bytes) -> Frame:
    """A picture's pixels, RGB."""
    with av.open(io.BytesIO(data), "r") as container:
        return _pixels(next(container.decode(container.streams.video[0])))


def _pixels(frame: av.VideoFrame) -> Frame:
    return np.asarray(frame.to_ndarray(format="rgb24"), dtype=np.uint8)
