"""What is kept of an upload beside its document: embeddings, curves and key frames, as named arrays.

Names: `embeddings/ENCODER` [n, d] float16 or, of an encoder without embeddings, `scores/ENCODER` [n, classes] float32,
with `times/ENCODER` [n] float64; `evidence` (JSON, see `tasks.kept`); `curves/LANE/NAME` [n] with
`curves/LANE/times_s`; `keyframes/times_s` [k] and `keyframes/KK` (JPEG bytes). `format` has the format's version.

Format history: 1 - first version. 2 - `evidence` and `scores`, from which heads are run again; times in double
precision.
"""

from __future__ import annotations

import cv2
import numpy as np

from media.types import DecodedMedia
from models.protocol import Evidence
from tasks.kept import evidence_arrays

FORMAT = 2
KEYFRAMES = 12
"""Most key frames kept of one upload."""
KEYFRAME_SHORT_SIDE = 180
"""px"""
JPEG_QUALITY = 80
LANES = {"picture": "picture_measures", "sound": "sound_measures"}


def artifacts_of(decoded: DecodedMedia, evidence: Evidence) -> dict[str, np.ndarray]:
    """Everything that a report or a retrained head will want of this upload. `evidence`: with its encodings."""
    arrays: dict[str, np.ndarray] = {"format": np.array([FORMAT], dtype=np.int32)}
    arrays |= evidence_arrays(evidence, decoded.damaged)
    for lane, observer in LANES.items():
        for name, curve in (decoded.observations.get(observer, {}).get("curves") or {}).items():
            arrays[f"curves/{lane}/{name}"] = np.asarray(curve, dtype=np.float32)
    chosen = _key_frames(decoded)
    arrays["keyframes/times_s"] = decoded.frame_times_s[chosen].astype(np.float32)
    for position, index in enumerate(chosen):
        arrays[f"keyframes/{position:02d}"] = _jpeg(decoded.frames[index])
    return arrays


def _key_frames(decoded: DecodedMedia) -> list[int]:
    """Up to `KEYFRAMES` sampled frames: the middle of each shot first, then the widest gaps in time."""
    times = decoded.frame_times_s
    if len(times) <= KEYFRAMES:
        return list(range(len(times)))
    middles = [(start + end) / 2 for start, end in decoded.shots] or [float(times[len(times) // 2])]
    chosen = {int(np.abs(times - middle).argmin()) for middle in middles}
    if len(chosen) > KEYFRAMES:
        ordered = sorted(chosen)
        chosen = {ordered[i] for i in np.linspace(0, len(ordered) - 1, KEYFRAMES).round().astype(int)}
    while len(chosen) < KEYFRAMES:
        distance = np.min(np.abs(times[:, None] - times[sorted(chosen)][None, :]), axis=1)
        chosen.add(int(distance.argmax()))
    return sorted(chosen)


def _jpeg(frame: np.ndarray) -> np.ndarray:
    height, width = frame.shape[:2]
    scale = min(1.0, KEYFRAME_SHORT_SIDE / min(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = cv2.resize(np.ascontiguousarray(frame), size, interpolation=cv2.INTER_AREA)
    done, buffer = cv2.imencode(
        ".jpg", cv2.cvtColor(small, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
    )
    return np.asarray(buffer).reshape(-1) if done else np.zeros(0, dtype=np.uint8)
