"""RapidOCR (PP-OCRv6): the lines of text in an upload's key frames. An optional extra: `pip install 'tagfarm[text]'`.

It runs in onnxruntime on the CPU, wherever the other networks run: about a seventh of a second for a frame, and a
thirtieth for each line.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ..protocol import Encoding, Evidence
from ..serving.batcher import MicroBatcher
from ..serving.moments import hop_of, moments
from ..topics.ranges import frame_edges
from .cleaning import clean, says_something
from .merging import Reading, join

RATE_HZ = 1 / 3
"""Key frames a second."""
MOST = 8
"""Key frames of one upload at most."""
LONG_SIDE = 640
"""Frames are made smaller than this before text is looked for, px; never larger."""
SURE_AT = 0.7
"""Score from which a line is believed."""
MAX_LINES_A_FRAME = 40
"""Lines of one frame that are taken, the surest first: a page of a book is not read out."""
SMALLEST_SIDE = 16
"""A frame with a shorter side has no text that can be read, px."""

Frame = npt.NDArray[np.uint8]
Line = tuple[str, float, tuple[float, float, float, float]]


class TextReaderMissing(Exception):
    """RapidOCR is not installed. The message says how to get it."""

    def __init__(self) -> None:
        super().__init__("RapidOCR is not installed; run: pip install 'tagfarm[text]'")


def installed() -> bool:
    """Whether the optional extra is here."""
    return all(importlib.util.find_spec(name) is not None for name in ("rapidocr", "onnxruntime"))


class TextEncoder:
    """`models.protocol.Encoder` of an upload's key frames: `lines`, what was read; scores [n, 1], the share of each key
    frame that its lines cover; no embedding."""

    name = "text"
    version = "rapidocr-ppocrv6@1"

    def __init__(self) -> None:
        """Load the networks, which are inside of the package.

        Raises:
            TextReaderMissing: it is not installed.
        """
        if not installed():
            raise TextReaderMissing
        from rapidocr import RapidOCR

        engine = "EngineConfig.onnxruntime"
        self._read: Any = RapidOCR(
            params={
                "Global.use_cls": False,  # text over uploads is upright: a third network for each line is not worth it
                "Global.log_level": "error",
                "Det.limit_type": "max",
                "Det.limit_side_len": LONG_SIDE,
                f"{engine}.intra_op_num_threads": 1,
                f"{engine}.inter_op_num_threads": 1,
            }
        )
        # Not for company (frames are read one by one): for one thread, since the reader is not safe in many.
        self.batcher: MicroBatcher[Frame, list[Line]] = MicroBatcher(
            self.forward, max_batch=MOST, max_wait_s=0.0, name=self.name
        )

    def encode(self, evidence: Evidence) -> Encoding:
        """Read one upload's key frames."""
        chosen = moments(evidence.frame_times_s, evidence.shots, RATE_HZ, MOST)
        read = self.batcher.submit_many([evidence.frames[one] for one in chosen])
        times = np.asarray(evidence.frame_times_s, np.float64)[chosen]
        readings = [Reading(*line, moment) for moment, lines in enumerate(read) for line in lines]
        edges = frame_edges(times, evidence.shots, evidence.duration_s).tolist() if len(times) else []
        covered = np.array([[_covered(lines)] for lines in read], np.float32).reshape(-1, 1)
        nothing = np.zeros((len(times), 0), np.float32)
        hop_s = hop_of(times, evidence.duration_s)
        return Encoding(self.version, times, hop_s, nothing, covered, join(readings, edges))

    def scores_of(self, embeddings: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Never asked: there are no embeddings, and so the scores themselves are kept."""
        raise ValueError("text has no embeddings: its scores are kept")

    def close(self) -> None:
        """Stop the batcher's thread."""
        self.batcher.close()

    def forward(self, frames: Sequence[Frame]) -> list[list[Line]]:
        """The lines of each frame [h, w, 3]: clean text, score, box as shares of the frame."""
        return [self._lines(frame) for frame in frames]

    def _lines(self, frame: Frame) -> list[Line]:
        height, width = frame.shape[:2]
        if min(height, width) < SMALLEST_SIDE:
            return []
        said = self._read(np.ascontiguousarray(frame[:, :, ::-1]))
        if said.txts is None:
            return []
        size = np.array([width, height], np.float64)
        lines = []
        for text, score, corners in zip(said.txts, said.scores, said.boxes, strict=True):
            plain = clean(str(text))
            if says_something(plain) and float(score) >= SURE_AT:
                shares = np.clip(np.asarray(corners, np.float64) / size, 0.0, 1.0)
                left, top = (round(float(one), 4) for one in shares.min(axis=0))
                right, bottom = (round(float(one), 4) for one in shares.max(axis=0))
                lines.append((plain, float(score), (left, top, right, bottom)))
        return sorted(lines, key=lambda line: -line[1])[:MAX_LINES_A_FRAME]


def _covered(lines: Sequence[Line]) -> float:
    """Share of the frame that the lines cover; where they overlap it counts twice, up to all of it."""
    return min(1.0, sum((right - left) * (bottom - top) for _, _, (left, top, right, bottom) in lines))
