"""Damaged pictures through the farm's decoder and its quality tagger, beside what the peers say of them.

A damaged clip is made once and kept in the corpus's cache with its peers' scores; it is decoded and judged in every
run.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import numpy.typing as npt

from media.decode import decode
from media.types import Limits
from models.protocol import Evidence
from models.quality.picture import PictureMeasures
from models.quality.tagger import PICTURE, QualityTagger

from .corpus import corpus_root
from .picture_faults import FAULTS
from .picture_peers import Brisque, ssim
from .picture_sources import MovingPicture, moving_picture, write_picture

VERSION = 1
"""Raised when sources or faults give other clips."""
LOOKS = 3
"""Frames that the peers see, spread over the clip; SSIM sees more, since it is held against every frame's original."""
SSIM_LOOKS = 12
UNSPOILT = "none"
PEERS = ("BRISQUE", "SSIM")


@dataclass(frozen=True)
class Trial:
    """One clip judged. `level` 0 is the undamaged one, then 1 to 6."""

    source: str
    half: str
    fault: str
    level: int
    score: float
    quality: dict[str, Any]
    """`quality` of the document"""
    measures: dict[str, Any]
    peers: dict[str, float]
    """Higher is better in all of them"""


def judge_source(number: int) -> list[Trial]:
    """All trials of the source of this number. To be called in a process of its own."""
    cv2.setNumThreads(1)
    folder = corpus_root() / "quality-clips"
    folder.mkdir(parents=True, exist_ok=True)
    picture = moving_picture(number)
    return [_judge(picture, fault, level, folder) for fault, level in _cases()]


def _cases() -> Iterator[tuple[str, int]]:
    yield UNSPOILT, 0
    for fault, kind in FAULTS.items():
        for level in range(1, len(kind.levels) + 1):
            yield fault, level


def _judge(picture: MovingPicture, fault: str, level: int, folder: Path) -> Trial:
    stem = f"{VERSION}-{picture.name}-{fault}-{level}".replace(" ", "_")
    clip, noted = folder / f"{stem}.mp4", folder / f"{stem}.json"
    if not noted.is_file():
        part = folder / f"part-{stem}.mp4"
        if fault == UNSPOILT:
            write_picture(picture.planes, part)
        else:
            FAULTS[fault].write(picture.planes, FAULTS[fault].levels[level - 1], part)
        part.rename(clip)
        part = folder / f"part-{stem}.json"
        part.write_text(json.dumps(_peers(clip, picture)))
        part.rename(noted)
    evidence = evidence_of_file(clip)
    section = QualityTagger().tag(evidence) or {}
    measures = dict(evidence.observations[PICTURE])
    measures.pop("curves", None)
    peers = json.loads(noted.read_text())
    score = section["picture"]["score"]
    return Trial(picture.name, picture.half, fault, level, score, section, measures, peers)


def evidence_of_file(path: Path, observers: Any = (PictureMeasures,)) -> Evidence:
    """What the quality tagger reads of a file."""
    with tempfile.TemporaryDirectory() as scratch:
        media = decode(path, Path(scratch), Limits(), [observer() for observer in observers])
        return Evidence(
            duration_s=media.info.duration_s,
            frames=np.array(media.frames),
            frame_times_s=np.array(media.frame_times_s),
            shots=media.shots,
            waveform=np.array(media.waveform),
            still=media.info.still,
            has_audio=media.info.audio is not None,
            observations=media.observations,
        )


def _peers(clip: Path, picture: MovingPicture) -> dict[str, float]:
    with av.open(str(clip)) as container:
        lumas = [np.ascontiguousarray(_luma(frame.to_ndarray())) for frame in container.decode(video=0)]
    brisque = Brisque.fetch()
    few = np.linspace(0, len(lumas) - 1, LOOKS + 2).round().astype(int)[1:-1]
    many = np.linspace(0, len(lumas) - 1, SSIM_LOOKS).round().astype(int)
    return {
        "BRISQUE": -float(np.mean([brisque.score(lumas[index]) for index in few])),
        "SSIM": float(np.mean([ssim(lumas[index], picture.luma[index]) for index in many])),
    }


def _luma(planes: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    return planes[: planes.shape[0] * 2 // 3]
