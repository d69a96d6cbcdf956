"""Decoded sound: one mono waveform on disk for the networks, and blocks at the stream's own rate for observers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import av.audio.resampler
import numpy as np
import numpy.typing as npt

from media.arrays import GrowingArray
from media.types import WAVEFORM_RATE, SoundBlock

GAP_S = 0.1
"""Where the timestamps jump ahead by more than this, silence is put in, so that sound stays under its picture."""
MAX_LEVEL = 16.0
"""Floating-point samples beyond this (24 dB over full scale) are damage, and so are those that are no numbers."""
MAX_GAP_S = 10.0
"""A jump longer than this is a lie or a cut: nothing is put in."""
BLOCK_S = 0.5
"""Observers hear blocks of about this length: a decoder's own frames are so short that calls would cost more."""

Samples = npt.NDArray[np.float32]


class SoundTrack:
    """Takes decoded audio frames, in order."""

    def __init__(self, path: Path, max_s: float, hear: Callable[[SoundBlock], None]) -> None:
        self._waveform = GrowingArray(path, np.float32)
        self._max_samples = round(max_s * WAVEFORM_RATE)
        self._hear = hear
        self._resampler: Any = None
        self._shape: tuple[str, str, int] | None = None
        self._pending: list[Samples] = []
        self._pending_rate = 0
        self._pending_start = 0.0
        self.end_s = 0.0
        self.refused = 0
        """Frames that could not be brought to the waveform's rate."""

    @property
    def full(self) -> bool:
        """True when the cap is reached: no further sound is wanted."""
        return self._waveform.length >= self._max_samples

    @property
    def samples(self) -> int:
        """Samples of the waveform so far."""
        return self._waveform.length

    def take(self, frame: Any, time_s: float | None) -> None:
        """Take one decoded frame that starts at `time_s` (None: right after the last)."""
        rate = frame.sample_rate
        if not rate or not frame.samples:
            return
        shape = (frame.format.name, frame.layout.name, rate)
        if shape != self._shape:
            # Streams may change rate or channels in the middle.
            self._flush()
            self._shape = shape
            self._resampler = _to_mono()
        if time_s is not None:
            self._align(time_s)
        start = self.end_s
        self.end_s = start + frame.samples / rate
        raw = frame.to_ndarray()
        if raw.dtype.kind == "f" and not np.abs(raw).max(initial=0.0) <= MAX_LEVEL:  # so written, NaN counts too
            raw = np.where(np.abs(raw) <= MAX_LEVEL, raw, 0).astype(raw.dtype)
            _overwrite(frame, raw)
        self._collect(native_samples(frame, raw), rate, start)
        try:
            parts = self._resampler.resample(frame)
        except av.error.FFmpegError:
            # A rate or layout that no resampler takes: the file says so of itself. Silence, so that time goes on.
            self.refused += 1
            self._resampler = _to_mono()
            self._write(np.zeros(round(min(frame.samples / rate, MAX_GAP_S) * WAVEFORM_RATE), np.float32))
            return
        for part in parts:
            self._write(part.to_ndarray()[0])

    def close(self) -> Samples:
        """Finish; the waveform, memory-mapped."""
        self._flush()
        return self._waveform.close()

    def _align(self, time_s: float) -> None:
        ahead = time_s - self.end_s
        if GAP_S < ahead <= MAX_GAP_S:
            self._flush()
            self._write(np.zeros(round(ahead * WAVEFORM_RATE), np.float32))
            self.end_s = time_s
            self._resampler = _to_mono()

    def _collect(self, samples: Samples, rate: int, start_s: float) -> None:
        if self._pending and (rate != self._pending_rate or len(samples) != len(self._pending[0])):
            self._emit()
        if not self._pending:
            self._pending_rate, self._pending_start = rate, start_s
        self._pending.append(samples)
        if sum(part.shape[1] for part in self._pending) >= BLOCK_S * rate:
            self._emit()

    def _emit(self) -> None:
        if self._pending:
            samples = self._pending[0] if len(self._pending) == 1 else np.concatenate(self._pending, axis=1)
            self._pending = []
            self._hear(SoundBlock(samples, self._pending_rate, self._pending_start))

    def _flush(self) -> None:
        self._emit()
        if self._resampler is not None:
            for part in self._resampler.resample(None):
                self._write(part.to_ndarray()[0])
            self._resampler = None

    def _write(self, samples: Samples) -> None:
        self._waveform.append(samples[: self._max_samples - self._waveform.length])


def _to_mono() -> Any:
    # Channels are weighted to a sum of 1: as floats, FFmpeg would let them add up to more than full scale.
    return av.audio.resampler.AudioResampler(
        format="flt", layout="mono", rate=WAVEFORM_RATE, options={"rematrix_maxval": "1.0"}
    )


def _overwrite(frame: Any, raw: npt.NDArray[Any]) -> None:
    """Put mended samples into the frame itself: a single one that is no number would spoil the waveform for good."""
    frame.make_writable()
    for plane, samples in zip(frame.planes, raw, strict=True):
        np.frombuffer(memoryview(plane), raw.dtype)[: samples.size] = samples


def native_samples(frame: Any, raw: npt.NDArray[Any]) -> Samples:
    """[channels, samples] float32, nominally -1 to 1, of a frame whose samples are `raw`, in any sample format."""
    if not frame.format.is_planar:
        raw = raw.reshape(-1, len(frame.layout.channels)).T
    if raw.dtype.kind == "f":
        return np.ascontiguousarray(raw, np.float32)
    if raw.dtype == np.uint8:
        return (np.ascontiguousarray(raw, np.float32) - 128.0) * np.float32(1 / 128)
    return np.ascontiguousarray(raw, np.float32) * np.float32(1.0 / (1 << (8 * raw.dtype.itemsize - 1)))
