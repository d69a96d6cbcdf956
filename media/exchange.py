"""What the decoder process hands back: one JSON file and the arrays beside it, in a folder of their own.

The folder may have been written by a process that a hostile upload has taken over, so nothing in it is believed:
sizes are capped, no pickle is read, no link is followed, and whatever does not fit becomes `corrupt`.

Format history: 1 - first version.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast, get_args

import numpy as np

from media import arrays
from media.types import AudioStream, DecodedMedia, Failure, MediaError, MediaInfo, VideoStream

FORMAT = 1
RESULT_FILE = "result.json"
FRAMES_FILE = "frames.npy"
WAVEFORM_FILE = "waveform.npy"
MAX_RESULT_BYTES = 64 << 20
MAX_TEXT = 500
"""Characters of a name or reason."""
_ARRAY_KEY = "$array"
_ARRAY_NAME = re.compile(r"array-[0-9]{1,6}\.npy")


class DecoderBug(Exception):
    """The decoder failed in a way that it should not have; holds the traceback from its process."""


def save(folder: Path, media: DecodedMedia) -> None:
    """Write a result. The waveform is in the folder already, as `WAVEFORM_FILE`."""
    arrays.write(folder / FRAMES_FILE, media.frames)
    writer = _ArrayWriter(folder)
    observations: dict[str, Any] = {}
    for name, observation in media.observations.items():
        try:
            observations[name] = writer.plain(dict(observation))
        except (TypeError, ValueError) as error:
            observations[name] = {"error": f"its result cannot be handed over: {error}"}
    _write(
        folder,
        {
            "info": asdict(media.info),
            "frame_times_s": media.frame_times_s.tolist(),
            "shots": [list(shot) for shot in media.shots],
            "frames_decoded": media.frames_decoded,
            "damaged": media.damaged,
            "observations": observations,
        },
    )


def save_failure(folder: Path, error: MediaError) -> None:
    """Write that the media failed."""
    _write(folder, {"outcome": error.outcome, "reason": error.reason})


def save_bug(folder: Path, traceback: str) -> None:
    """Write that the decoder itself failed."""
    _write(folder, {"bug": traceback[-8000:]})


def load(folder: Path) -> DecodedMedia:
    """Read what `save`, `save_failure` or `save_bug` wrote.

    Raises:
        MediaError: what the decoder said of the file; `corrupt` where its answer makes no sense.
        DecoderBug: what `save_bug` wrote.
    """
    try:
        answer = _read(folder)
        if "bug" in answer:
            raise DecoderBug(str(answer["bug"]))
        if "outcome" in answer:
            outcome = answer["outcome"] if answer["outcome"] in get_args(Failure) else "corrupt"
            raise MediaError(cast(Failure, outcome), _text(answer["reason"]))
        return _media(folder, answer)
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError, OverflowError) as error:
        raise MediaError("corrupt", f"the decoder's answer makes no sense ({type(error).__name__})") from error


def _write(folder: Path, answer: Mapping[str, Any]) -> None:
    (folder / RESULT_FILE).write_text(json.dumps({"format": FORMAT, **answer}))


def _read(folder: Path) -> dict[str, Any]:
    fd = os.open(folder / RESULT_FILE, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(fd, "rb") as file:
        text = file.read(MAX_RESULT_BYTES + 1)
    if len(text) > MAX_RESULT_BYTES:
        raise ValueError("too long")
    answer = json.loads(text)
    if not isinstance(answer, dict) or answer.get("format") != FORMAT:
        raise ValueError("another format")
    return answer


def _media(folder: Path, answer: Mapping[str, Any]) -> DecodedMedia:
    frames = arrays.read(folder / FRAMES_FILE)
    waveform = arrays.read(folder / WAVEFORM_FILE)
    times = np.array(answer["frame_times_s"], np.float64).reshape(-1)
    if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[3] != 3 or len(frames) != len(times):
        raise ValueError("frames")
    if waveform.dtype != np.float32 or waveform.ndim != 1:
        raise ValueError("waveform")
    if not np.isfinite(times).all() or (np.diff(times) < 0).any():
        raise ValueError("frame times")
    return DecodedMedia(
        info=_info(answer["info"]),
        frames=frames,
        frame_times_s=times,
        shots=[(_number(start), _number(end)) for start, end in answer["shots"]],
        waveform=waveform,
        frames_decoded=int(answer["frames_decoded"]),
        damaged=bool(answer["damaged"]),
        observations={
            _text(name): cast(dict[str, Any], _revived(folder, observation))
            for name, observation in answer["observations"].items()
            if isinstance(observation, dict)
        },
    )


def _info(fields: Mapping[str, Any]) -> MediaInfo:
    video, audio = fields["video"], fields["audio"]
    return MediaInfo(
        container=_text(fields["container"]),
        duration_s=_number(fields["duration_s"]),
        video=None
        if video is None
        else VideoStream(
            codec=_text(video["codec"]),
            width=int(video["width"]),
            height=int(video["height"]),
            fps=None if video["fps"] is None else _number(video["fps"]),
            rotation=int(video["rotation"]),
        ),
        audio=None
        if audio is None
        else AudioStream(
            codec=_text(audio["codec"]), sample_rate=int(audio["sample_rate"]), channels=int(audio["channels"])
        ),
        still=bool(fields["still"]),
    )


def _text(value: Any) -> str:
    return "".join(character for character in str(value)[:MAX_TEXT] if character.isprintable())


def _number(value: Any) -> float:
    number = float(value)
    if not np.isfinite(number) or number < 0:
        raise ValueError("not a time")
    return number


class _ArrayWriter:
    """Replaces arrays by the names of files that hold them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._count = 0

    def plain(self, value: Any) -> Any:
        if isinstance(value, np.ndarray):
            name = f"array-{self._count}.npy"
            self._count += 1
            arrays.write(self._folder / name, value)
            return {_ARRAY_KEY: name}
        if isinstance(value, np.generic):
            return value.item()
        if isinstance(value, Mapping):
            if not all(isinstance(key, str) for key in value):
                raise TypeError("keys must be strings")
            return {key: self.plain(part) for key, part in value.items()}
        if isinstance(value, list | tuple):
            return [self.plain(part) for part in value]
        if value is None or isinstance(value, str | int | float | bool):
            return value
        raise TypeError(f"{type(value).__name__} is neither plain nor an array")


def _revived(folder: Path, value: Any) -> Any:
    if isinstance(value, list):
        return [_revived(folder, part) for part in value]
    if isinstance(value, dict):
        if value.keys() == {_ARRAY_KEY}:
            name = value[_ARRAY_KEY]
            if not isinstance(name, str) or not _ARRAY_NAME.fullmatch(name):
                raise ValueError("an array's name")
            return arrays.read(folder / name)
        return {key: _revived(folder, part) for key, part in value.items()}
    return value
