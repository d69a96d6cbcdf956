"""How coarsely a frame was coded, as its decoder tells it: the mean quantiser of its blocks.

FFmpeg exports it as `AVVideoEncParams` (libavutil/video_enc_params.h): a header, then one record for each block. The
layout is FFmpeg's public interface on 64-bit machines; the records' place and size are in the header.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from av.sidedata.sidedata import Type as SideDataType

QUANTISER_OPTIONS = {"export_side_data": "venc_params"}
"""Codec options that make the decoder tell. Those that cannot ignore them."""
H264 = 1
"""`AV_VIDEO_ENC_PARAMS_H264`: other codecs' quantisers are on other scales."""
HEADER_BYTES = 32
_BLOCK_DELTA = slice(16, 20)
"""Where a block's record has its difference from the frame's quantiser, bytes."""


def frame_quantiser(frame: Any) -> float | None:
    """Mean QP of the frame's blocks, 0 to 51 with 8 bits; None: the codec is not H.264, or does not tell."""
    try:
        side = frame.side_data.get(SideDataType.VIDEO_ENC_PARAMS)
    except ValueError:  # PyAV cannot list a frame's side data when it does not know one of them
        return None
    if side is None:
        return None
    told = np.frombuffer(memoryview(side), np.uint8)
    if told.size < HEADER_BYTES:
        return None
    blocks = int(told[:4].view(np.uint32)[0])
    offset, size = (int(value) for value in told[8:24].view(np.uint64))
    kind, base = (int(value) for value in told[24:32].view(np.int32))
    if kind != H264:
        return None
    if not blocks or size < _BLOCK_DELTA.stop or offset + blocks * size > told.size:
        return float(base)
    records = told[offset : offset + blocks * size].reshape(blocks, size)
    deltas = np.ascontiguousarray(records[:, _BLOCK_DELTA]).view(np.int32)
    return base + float(deltas.mean())
