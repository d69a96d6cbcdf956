"""Open a file under limits and say what it is, before anything of it is decoded.

This runs FFmpeg's parsers over hostile bytes: the farm calls it inside the sandboxed decoder process only.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import av.error
import av.logging

from media import formats
from media.types import AudioStream, Limits, MediaError, MediaInfo, VideoStream

MAX_PLAUSIBLE_FPS = 1000.0
MICROSECOND = 1e-6
PROBED_PIXELS = 4
INT_MAX = 2**31 - 1

av.logging.set_level(None)


@dataclass(frozen=True)
class OpenedMedia:
    """An open container, with the streams that will be decoded."""

    container: Any
    video: Any | None
    audio: Any | None
    info: MediaInfo


def probe(path: Path, limits: Limits) -> MediaInfo:
    """Describe one file. Rotation and stillness are only known once a frame is decoded: see `DecodedMedia.info`.

    Raises:
        MediaError: `unsupported` (not media), `corrupt` (media beyond use) or `too_large` (a cap, by declared values).
    """
    fd = open_input(path)
    try:
        with open_media(fd, limits) as media:
            return media.info
    finally:
        os.close(fd)


def open_input(path: Path) -> int:
    """A read-only descriptor of a regular file; neither follows a link nor waits on a pipe."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise MediaError("unsupported", f"the file cannot be opened: {error.strerror}") from None
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise MediaError("unsupported", "it is not a regular file")
    return fd


@contextmanager
def open_media(fd: int, limits: Limits) -> Iterator[OpenedMedia]:
    """Open what descriptor `fd` refers to. FFmpeg can reach nothing but that descriptor.

    Raises:
        MediaError: see `probe`.
    """
    size = os.fstat(fd).st_size
    head = os.pread(fd, formats.SIGNATURE_BYTES, 0)
    if not head:
        raise MediaError("unsupported", "the file is empty")
    if size > limits.max_bytes:
        raise MediaError("too_large", f"the file has {size} bytes, more than {limits.max_bytes}")
    claim = formats.signature(head)
    _check_pixels(formats.declared_size(_long_head(fd, claim, head)), limits)
    if formats.is_animated_webp(head):
        raise MediaError("unsupported", "animated WebP is not read here: use GIF, MP4 or WebM")
    os.lseek(fd, 0, os.SEEK_SET)
    try:
        container = av.open("fd:", options=_options(fd, limits), metadata_errors="replace")
    except av.error.MemoryError:
        raise MediaError("too_large", "opening the file needs more memory than is allowed") from None
    except (av.error.FFmpegError, ValueError) as error:
        raise _opening_failed(claim, error) from None
    try:
        yield _describe(container, claim, limits)
    finally:
        container.close()


def _long_head(fd: int, claim: str | None, head: bytes) -> bytes:
    """A JPEG may hold a thumbnail and colour profile before its size."""
    return os.pread(fd, 1 << 20, 0) if claim == "jpeg" else head


def _options(fd: int, limits: Limits) -> dict[str, str]:
    return {
        "fd": str(fd),
        "protocol_whitelist": formats.PROTOCOLS,
        "format_whitelist": ",".join(formats.DEMUXERS),
        "codec_whitelist": ",".join(formats.DECODERS),
        "max_streams": str(formats.MAX_STREAMS),
        # FFmpeg may decode a frame to describe a stream. It forgets the size of what it refuses, so it is let see
        # somewhat more than is allowed: what lies in between can be told to be too large.
        "max_pixels": str(min(PROBED_PIXELS * limits.max_pixels, INT_MAX)),
    }


def _opening_failed(claim: str | None, error: Exception) -> MediaError:
    if claim is not None:
        return MediaError("corrupt", f"it begins like {claim} but cannot be read: {_strerror(error)}")
    return MediaError("unsupported", "it is no picture, video or sound in a format that is read here")


def _strerror(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or type(error).__name__)


def _describe(container: Any, claim: str | None, limits: Limits) -> OpenedMedia:
    if len(container.streams) > formats.MAX_STREAMS:
        raise MediaError("too_large", f"the file has {len(container.streams)} streams, more than {formats.MAX_STREAMS}")
    video = _choose(container, "video")
    audio = _choose(container, "audio")
    if video is None and audio is None:
        _no_streams(container, claim)
    duration = _declared_duration(container, video, audio)
    if duration > limits.max_duration_s:
        raise MediaError("too_large", f"it declares {duration:.0f} s, more than {limits.max_duration_s:.0f} s")
    if video is not None:
        _check_pixels((video.codec_context.width, video.codec_context.height), limits)
        _check_frames(video, duration, limits)
    info = MediaInfo(
        container=container.format.name,
        duration_s=duration,
        video=_video_info(video) if video is not None else None,
        audio=_audio_info(audio) if audio is not None else None,
        still=video is not None and container.format.name in formats.STILL_DEMUXERS,
    )
    return OpenedMedia(container, video, audio, info)


def _choose(container: Any, kind: str) -> Any | None:
    """FFmpeg's own choice of the best stream; never a cover picture, never a codec that is not on the list."""
    cover = av.stream.Disposition.attached_pic | av.stream.Disposition.timed_thumbnails
    usable = [
        stream
        for stream in getattr(container.streams, kind)
        if stream.codec_context is not None
        and stream.codec_context.codec.name in formats.DECODERS
        and not stream.disposition & cover
    ]
    best = container.streams.best(kind)
    if best in usable:
        return best
    return usable[0] if usable else None


def _no_streams(container: Any, claim: str | None) -> None:
    kinds = {stream.type for stream in container.streams}
    if kinds & {"video", "audio"}:
        raise MediaError("unsupported", "its picture and sound are in codecs that are not read here")
    if claim is None:
        raise MediaError("unsupported", "it is no picture, video or sound")
    if container.streams:
        raise MediaError("unsupported", "it holds neither picture nor sound")
    raise MediaError("corrupt", f"it begins like {claim} but holds no stream")


def _declared_duration(container: Any, video: Any | None, audio: Any | None) -> float:
    """The longest duration that container or streams declare, s; 0 where none does."""
    declared = [container.duration * MICROSECOND if container.duration else 0.0]
    for stream in (video, audio):
        if stream is not None and stream.duration and stream.time_base:
            declared.append(float(stream.duration * stream.time_base))
    return max(0.0, *declared) if len(declared) > 1 else max(0.0, declared[0])


def _check_pixels(size: tuple[int, int] | None, limits: Limits) -> None:
    if size is not None and size[0] * size[1] > limits.max_pixels:
        raise MediaError("too_large", f"it declares {size[0]} x {size[1]} px, more than {limits.max_pixels} px in all")


def _check_frames(video: Any, duration: float, limits: Limits) -> None:
    frames = video.frames or round(duration * (frame_rate(video) or 0.0))
    if frames > limits.max_frames:
        raise MediaError("too_large", f"it declares {frames} frames, more than {limits.max_frames}")


def frame_rate(video: Any) -> float | None:
    """Frames a second on average, as declared; None where nothing plausible is."""
    for rate in (video.average_rate, video.guessed_rate):
        if rate and 0 < float(rate) <= MAX_PLAUSIBLE_FPS:
            return float(rate)
    return None


def pixel_aspect(video: Any) -> Fraction:
    """Width of a pixel over its height. 1 where none is declared, and where what is declared is absurd."""
    aspect = video.sample_aspect_ratio or video.codec_context.sample_aspect_ratio
    if not aspect or not Fraction(1, 8) <= Fraction(aspect) <= 8:
        return Fraction(1)
    return Fraction(aspect)


def _video_info(video: Any) -> VideoStream:
    context = video.codec_context
    width = max(1, round(context.width * pixel_aspect(video))) if context.width else 0
    return VideoStream(
        codec=context.codec.canonical_name, width=width, height=context.height, fps=frame_rate(video), rotation=0
    )


def _audio_info(audio: Any) -> AudioStream:
    context = audio.codec_context
    return AudioStream(
        codec=context.codec.canonical_name, sample_rate=context.sample_rate or 0, channels=context.channels or 0
    )
