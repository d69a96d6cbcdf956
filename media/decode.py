"""One pass over a file: frames to observers, shots and samples; sound to observers and a waveform.

Runs inside the sandboxed decoder process. Memory is bounded whatever the file's duration, real or declared.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import av.error
import numpy as np

from media import exchange, formats
from media.frames import FrameConverter, FrameMoment, LazyFrameView, LumaReader
from media.probe import INT_MAX, OpenedMedia, open_input, open_media, pixel_aspect
from media.quantiser import QUANTISER_OPTIONS
from media.sampling import FrameSampler
from media.shots import ShotDetector
from media.sound import SoundTrack
from media.types import DecodedMedia, FrameView, Limits, MediaError, Observer, SoundBlock

log = logging.getLogger(__name__)


DEFAULT_FRAME_S = 1 / 25
"""Taken for a frame's duration where neither file nor neighbours say one, s."""
MAX_START_SKEW_S = 60.0
"""Picture and sound that start further apart than this do not share a clock: each starts at 0."""
PRIMING_S = 0.1
"""Sound that starts ahead of the picture by less than this is the codec's run-in: the picture's start is 0."""
SHORTFALL_S = 1.0
"""A file that ends earlier than declared by more than this (and `SHORTFALL_SHARE`) has lost its end."""
SHORTFALL_SHARE = 0.05


def decode(path: Path, scratch: Path, limits: Limits, observers: Sequence[Observer]) -> DecodedMedia:
    """Decode one file; large results are files in the folder `scratch`.

    Raises:
        MediaError: `unsupported`, `corrupt` or `too_large`. The deadline is the pool's to keep.
    """
    fd = open_input(path)
    try:
        return decode_descriptor(fd, scratch, limits, observers)
    finally:
        os.close(fd)


def decode_descriptor(fd: int, scratch: Path, limits: Limits, observers: Sequence[Observer]) -> DecodedMedia:
    """As `decode`, for a file that is open already."""
    with open_media(fd, limits) as media:
        return _Pass(media, scratch, limits, observers).run()


class _Audience:
    """The observers. One that fails is heard no more, and its error stands in for its result."""

    def __init__(self, observers: Sequence[Observer]) -> None:
        self._observers = list(observers)
        self._failed: dict[str, Mapping[str, Any]] = {}

    def frame(self, view: FrameView) -> None:
        for observer in tuple(self._observers):
            try:
                observer.frame(view)
            except Exception as error:
                self._lose(observer, error)

    def sound(self, block: SoundBlock) -> None:
        for observer in tuple(self._observers):
            try:
                observer.sound(block)
            except Exception as error:
                self._lose(observer, error)

    def results(self, waveform: Any) -> dict[str, Mapping[str, Any]]:
        found: dict[str, Mapping[str, Any]] = {}
        for observer in tuple(self._observers):
            try:
                found[observer.name] = observer.result(waveform)
            except Exception as error:
                self._lose(observer, error)
        return found | self._failed

    def _lose(self, observer: Observer, error: Exception) -> None:
        log.exception("observer %s failed", observer.name)
        self._observers.remove(observer)
        self._failed[observer.name] = {"error": f"{type(error).__name__}: {error}"}


class _Clock:
    """Presentation times of one stream's frames, ascending, whatever the file says."""

    def __init__(self, origin_s: float, frame_s: float) -> None:
        self._origin = origin_s
        self._frame_s = frame_s
        self.last: float | None = None
        self.end = 0.0

    def next(self, frame: Any) -> float:
        unit = float(frame.time_base) if frame.time_base else 0.0
        time_s = self.end if frame.pts is None or not unit else max(0.0, frame.pts * unit - self._origin)
        if self.last is not None and time_s <= self.last:
            time_s = self.last + self._frame_s
        duration = frame.duration * unit if frame.duration and unit else self._frame_s
        self.last = time_s
        self.end = time_s + max(0.0, duration)
        return time_s


class _Pass:
    """The state of one pass."""

    def __init__(self, media: OpenedMedia, scratch: Path, limits: Limits, observers: Sequence[Observer]) -> None:
        self._media = media
        self._limits = limits
        self._audience = _Audience(observers)
        self._luma = LumaReader()
        self._shots = ShotDetector()
        self._sampler = FrameSampler(limits.sample_rate_hz, limits.max_sampled)
        self._sound = SoundTrack(scratch / exchange.WAVEFORM_FILE, limits.max_audio_s, self._audience.sound)
        self._frames = 0
        self._sound_frames = 0
        self._errors = 0
        self._converter = FrameConverter(pixel_aspect(media.video) if media.video is not None else Fraction(1))
        video_origin, self._sound_origin = _origins(media)
        fps = media.info.video.fps if media.info.video else None
        self._clock = _Clock(video_origin, 1 / fps if fps else DEFAULT_FRAME_S)

    def run(self) -> DecodedMedia:
        for stream in (self._media.video, self._media.audio):
            if stream is not None:
                # One thread costs the least CPU time for a file; the pool keeps the cores busy with several files.
                stream.codec_context.thread_type = "NONE"
                stream.codec_context.thread_count = 1
                pixels = str(min(self._limits.max_pixels, INT_MAX))
                stream.codec_context.options = {"max_pixels": pixels, **QUANTISER_OPTIONS}
        for frame in self._decoded():
            if isinstance(frame, av.VideoFrame):
                self._picture(frame)
            else:
                self._hear(frame)
            if self._sound.full and self._media.video is None:
                break
        return self._result()

    def _decoded(self) -> Iterator[Any]:
        """Frames of both streams as their packets come. Damage is counted and passed over."""
        streams = [stream for stream in (self._media.video, self._media.audio) if stream is not None]
        packets = self._media.container.demux(*streams)
        while True:
            try:
                packet = next(packets)
            except StopIteration:
                return
            except av.error.MemoryError:
                raise
            except av.error.FFmpegError:
                self._errors += 1
                break
            if packet.stream is self._media.audio and self._sound.full:
                continue
            yield from self._frames_of(packet.decode)
        for stream in streams:
            yield from self._frames_of(stream.codec_context.decode)

    def _frames_of(self, decode: Any) -> Sequence[Any]:
        try:
            return decode()
        except av.error.MemoryError:
            raise
        except av.error.EOFError:
            return ()
        except (av.error.FFmpegError, ValueError):
            self._errors += 1
            return ()

    def _picture(self, frame: Any) -> None:
        if frame.width * frame.height > self._limits.max_pixels:
            raise MediaError("too_large", f"a frame has {frame.width} x {frame.height} px")
        if self._frames >= self._limits.max_frames:
            raise MediaError("too_large", f"it has more than {self._limits.max_frames} frames")
        time_s = self._clock.next(frame)
        if time_s > self._limits.max_duration_s:
            raise MediaError("too_large", f"it is longer than {self._limits.max_duration_s:.0f} s")
        self._errors += frame.is_corrupt
        small = self._luma.small(frame)
        if self._shots.see(time_s, small):
            self._sampler.cut(self._shots.cuts[-1])
        sampled = self._sampler.wants(time_s)
        if sampled:
            self._sampler.keep(time_s, self._converter.convert(frame))
        moment = FrameMoment(time_s, sampled, self._frames)
        self._audience.frame(LazyFrameView(self._luma, frame, small, moment))
        self._frames += 1

    def _hear(self, frame: Any) -> None:
        if self._sound.full:
            return
        time_s = None if frame.pts is None else frame.pts * float(frame.time_base) - self._sound_origin
        self._sound.take(frame, time_s)
        self._sound_frames += 1

    def _result(self) -> DecodedMedia:
        waveform = self._sound.close()
        if not self._frames and not self._sound_frames:
            raise _nothing_decoded(self._media)
        pictures = self._sampler.samples
        return DecodedMedia(
            info=self._info(),
            frames=np.stack([sample.picture for sample in pictures]) if pictures else np.zeros((0, 1, 1, 3), np.uint8),
            frame_times_s=np.array([sample.time_s for sample in pictures], np.float64),
            shots=self._shots.shots(0.0 if self._still() else self._clock.end),
            waveform=waveform,
            frames_decoded=self._frames,
            damaged=self._damaged(),
            observations=self._audience.results(waveform),
        )

    def _still(self) -> bool:
        """One frame, in a file that never claimed to hold more (AVIF is a video container of one frame)."""
        info, video = self._media.info, self._media.video
        if self._frames != 1 or video is None or info.audio is not None:
            return False
        return info.still or video.frames == 1 or info.container in {"gif", "apng"}

    def _end(self) -> float:
        declared = self._media.info.duration_s
        if self._still():
            return 0.0
        decoded = max(self._clock.end if self._frames else 0.0, self._sound.end_s)
        return declared if self._sound.full and not self._damaged_tail(declared) else decoded

    def _damaged_tail(self, end_s: float) -> bool:
        missing = self._media.info.duration_s - end_s
        return missing > max(SHORTFALL_S, SHORTFALL_SHARE * self._media.info.duration_s)

    def _damaged(self) -> bool:
        info = self._media.info
        if (
            self._errors
            or self._sound.refused
            or (info.video and not self._frames)
            or (info.audio and not self._sound_frames)
        ):
            return True
        timed = not formats.TIMED_DEMUXERS.isdisjoint(info.container.split(","))
        return timed and not self._sound.full and not self._still() and self._damaged_tail(self._end())

    def _info(self) -> Any:
        info = self._media.info
        video = info.video if self._frames else None
        if video is not None:
            orientation = self._converter.orientation
            width, height = video.width, video.height
            if orientation.transpose:
                width, height = height, width
            fps = None if self._still() else video.fps
            video = replace(video, width=width, height=height, rotation=orientation.rotation, fps=fps)
        return replace(
            info,
            duration_s=self._end(),
            video=video,
            audio=info.audio if self._sound_frames else None,
            still=self._still(),
        )


def _origins(media: OpenedMedia) -> tuple[float, float]:
    """The time that counts as 0 in the picture's and in the sound's timestamps, s.

    They are the same, so that picture and sound stay together, unless the file's start times are absurd.
    """
    starts = [
        float(stream.start_time * stream.time_base)
        if stream is not None and stream.start_time is not None and stream.time_base
        else None
        for stream in (media.video, media.audio)
    ]
    video, audio = starts
    if video is None or audio is None:
        return video or 0.0, audio or 0.0
    if abs(video - audio) > MAX_START_SKEW_S:
        return video, audio
    origin = video if 0 <= video - audio < PRIMING_S else min(video, audio)
    return origin, origin


def _nothing_decoded(media: OpenedMedia) -> MediaError:
    name = media.info.container
    if name in formats.WEAK_DEMUXERS:
        return MediaError("unsupported", "it is no picture, video or sound in a format that is read here")
    return MediaError("corrupt", f"nothing in this {name.split(',')[0]} file can be decoded")
