"""What the decoder is asked and what it answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt

WAVEFORM_RATE = 16_000
"""Sample rate of every decoded waveform, Hz. All the sound networks and the fingerprint work at it."""

FRAME_SHORT_SIDE = 297
"""Short side of a sampled frame, px: what the default encoder's resize asks for, so it is scaled once."""

Failure = Literal["unsupported", "corrupt", "too_large", "timeout", "quarantined"]
"""How media can fail. These are also outcomes of the published contract."""


class MediaError(Exception):
    """A file that cannot be analysed. An expected result, never a bug.

    Attributes:
        outcome: one of `Failure`.
        reason: one sentence for a person; names what was wrong, holds no path and no secret.
    """

    def __init__(self, outcome: Failure, reason: str) -> None:
        super().__init__(reason)
        self.outcome: Failure = outcome
        self.reason = reason

    def __reduce__(self) -> tuple[Any, ...]:
        return (MediaError, (self.outcome, self.reason))


class DecoderDied(MediaError):
    """The process that decoded the file ended before it gave an answer. Perhaps the file's doing, perhaps not (the
    machine ran out of memory): worth another try, but not for ever."""

    def __init__(self, how: str) -> None:
        super().__init__("corrupt", f"the decoder process died: {how}")
        self.how = how

    def __reduce__(self) -> tuple[Any, ...]:
        return (DecoderDied, (self.how,))


@dataclass(frozen=True)
class Limits:
    """Caps on one upload. All are checked on the declared values before decoding, and again while decoding."""

    max_bytes: int = 2 * 1024**3
    max_pixels: int = 8192 * 4320
    """Largest frame, width x height in px."""
    max_frames: int = 1_000_000
    max_duration_s: float = 4 * 3600.0
    deadline_s: float = 120.0
    """Wall-clock time for one upload's decode; the process is killed at it."""
    memory_bytes: int = 4 * 1024**3
    """Address space above what the process needed before it saw the file."""
    scratch_bytes: int = 4 * 1024**3
    """What it may write in its scratch folder; looked at several times a second, so a little more comes about."""
    sample_rate_hz: float = 2.0
    """Frames sampled a second, until `max_sampled` is reached; then the rate is halved, as often as needed."""
    max_sampled: int = 96
    """Frames kept for the encoders, whatever the duration. A shot without a sample gets one, up to as many again."""
    max_audio_s: float = 600.0
    """Sound analysed from the start; the document's coverage says how far it went."""


@dataclass(frozen=True)
class VideoStream:
    """What the container and the decoder said of the picture. `width` and `height` are as displayed (rotated)."""

    codec: str
    width: int
    height: int
    fps: float | None
    rotation: int
    """Degrees clockwise that a player turns the picture by: 0, 90, 180 or 270."""


@dataclass(frozen=True)
class AudioStream:
    """What the container and the decoder said of the sound."""

    codec: str
    sample_rate: int
    channels: int


@dataclass(frozen=True)
class MediaInfo:
    """One file's description."""

    container: str
    duration_s: float
    video: VideoStream | None
    audio: AudioStream | None
    still: bool = False
    """A picture, not a moving one."""


@dataclass(frozen=True)
class FrameView:
    """One decoded frame as an observer sees it. The arrays are only valid during the call."""

    luma: npt.NDArray[np.uint8]
    """[height, width] full-resolution luma, full range 0-255, as coded (not rotated). A view: do not write.
    Made when first asked for, which is not free on every frame: ask for it when `sampled`, or decimate from `small`."""
    small: npt.NDArray[np.uint8]
    """[h, w] luma, every k-th pixel of every k-th row (short side about 90 px): a look that costs almost nothing."""
    time_s: float
    sampled: bool
    """True when this frame is also kept for the encoders: do what is dear only then."""
    index: int
    quantiser: float | None = None
    """Mean quantiser (QP, 0 finest to 51) with which H.264 coded the frame's blocks; None: another codec."""


@dataclass(frozen=True)
class SoundBlock:
    """A block of decoded sound. The arrays are only valid during the call."""

    native: npt.NDArray[np.float32]
    """[channels, samples] at the stream's own rate, nominally -1 to 1."""
    sample_rate: int
    time_s: float


class Observer(Protocol):
    """Something that watches the decoder's one pass. Runs inside the sandboxed process.

    MUST be built by a picklable zero-argument factory; MUST keep bounded memory whatever the duration; MUST NOT open
    files or sockets. An exception in an observer is a bug: it loses that observer's result (reported under its
    name), never the decode.
    """

    name: str

    def frame(self, view: FrameView) -> None:
        """See one frame, in presentation order."""

    def sound(self, block: SoundBlock) -> None:
        """Hear one block, in order."""

    def result(self, waveform: npt.NDArray[np.float32]) -> Mapping[str, Any]:
        """The observation: plain numbers, strings, lists and numpy arrays. `waveform` is mono at `WAVEFORM_RATE`."""


ObserverFactory = Callable[[], Observer]


@dataclass(frozen=True)
class DecodedMedia:
    """One decoded upload. The arrays are memory-mapped from scratch: valid until the scratch folder is removed."""

    info: MediaInfo
    frames: npt.NDArray[np.uint8]
    """[n, height, width, 3] RGB, upright, square pixels, short side at most `FRAME_SHORT_SIDE`. n may be 0."""
    frame_times_s: npt.NDArray[np.float64]
    """[n] presentation times, s, ascending."""
    shots: Sequence[tuple[float, float]]
    """Start and end of each shot, s; covers the whole video without gaps. Empty without a video stream."""
    waveform: npt.NDArray[np.float32]
    """[samples] mono at `WAVEFORM_RATE`. Empty without sound."""
    frames_decoded: int
    damaged: bool
    """True if decoding met errors or the file ended early, and went on with what there was."""
    observations: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """By observer name. An observer that failed has `{"error": "..."}`."""
