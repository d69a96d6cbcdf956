"""Yahoo's open_nsfw: a score for pictures that are not safe for work, and the section `safety`.

Mahadeokar and Pesavento 2016, "Open sourcing a deep learning solution for detecting NSFW images": a thin ResNet-50. As
its authors say, it is about nudity alone: not violence, drawings or text; and below 0.2 is likely safe, above 0.8
likely not.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt
import torch

from ..protocol import Encoding, Evidence
from ..serving.graph_encoder import GraphEncoder
from ..serving.moments import hop_of, moments

RESIZE_SIDE, INPUT_SIDE = 256, 224
"""A frame is squeezed to a square of the first and cropped to the second, px, as in training."""
MEAN_BGR = (104.0, 117.0, 123.0)
JPEG_QUALITY = 75
"""Training pictures were JPEG files; the round trip moves scores by a few per cent."""
RATE_HZ = 0.5
"""Frames a second looked at."""
MOST = 16
CPU_SLICE = 4
"""Pictures at once on a CPU."""

Crop = npt.NDArray[np.uint8]


class SafetyEncoder(GraphEncoder[Crop, float]):
    """`models.protocol.Encoder` of a sub-sample of the frames: scores [n, 1], not safe for work; no embedding."""

    name = "safety"
    version = "open-nsfw@1"
    weights = "open-nsfw"

    def encode(self, evidence: Evidence) -> Encoding:
        """Score one upload's moments."""
        chosen = moments(evidence.frame_times_s, evidence.shots, RATE_HZ, MOST)
        scores = self.batcher.submit_many([prepare(evidence.frames[one]) for one in chosen])
        times = np.asarray(evidence.frame_times_s, np.float64)[chosen]
        rows = np.array(scores, np.float32).reshape(-1, 1)
        nothing = np.zeros((len(rows), 0), np.float32)
        return Encoding(self.version, times, hop_of(times, evidence.duration_s), nothing, rows)

    def scores_of(self, embeddings: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Never asked: there are no embeddings, and so the scores themselves are kept."""
        raise ValueError("safety has no embeddings: its scores are kept")

    def forward(self, items: Sequence[Crop]) -> list[float]:
        """The score of each prepared crop."""
        pixels = torch.from_numpy(np.stack(items)).to(self.device).permute(0, 3, 1, 2).float()
        pixels = pixels - torch.tensor(MEAN_BGR, device=self.device)[:, None, None]
        with torch.inference_mode():
            parts = pixels.split(CPU_SLICE if self.device.type == "cpu" else len(items))
            logits = torch.cat([self.network(part)[0].flatten(1).float() for part in parts])
            return [float(one) for one in torch.softmax(logits, 1)[:, 1].cpu()]


def prepare(frame: npt.NDArray[np.uint8]) -> Crop:
    """A frame [h, w, 3] RGB as the network sees it: [224, 224, 3] BGR."""
    size = (RESIZE_SIDE, RESIZE_SIDE)
    squeezed = cv2.resize(np.ascontiguousarray(frame), size, interpolation=cv2.INTER_AREA)
    _, coded = cv2.imencode(".jpg", cv2.cvtColor(squeezed, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    picture = np.asarray(cv2.imdecode(coded, cv2.IMREAD_COLOR), np.uint8)
    edge = (RESIZE_SIDE - INPUT_SIDE) // 2
    return np.ascontiguousarray(picture[edge : edge + INPUT_SIDE, edge : edge + INPUT_SIDE])


class SafetyTagger:
    """The document's `safety`: the second highest score of a few moments, so that one odd frame decides nothing."""

    name = "safety"
    section = "safety"
    version = "open-nsfw@1"
    encoders: tuple[str, ...] = ("safety",)

    def tag(self, evidence: Evidence) -> dict[str, float] | None:
        """The section; None without a picture."""
        scores = np.sort(evidence.encodings["safety"].scores[:, 0])[::-1]
        if not len(scores):
            return None
        return {"nsfw": round(float(scores[1] if len(scores) > 2 else scores[0]), 4)}
