"""How coarsely a frame was coded, as its decoder tells it: the mean quantiser of its blocks.

FFmpeg exports it as `AVVideoEncParams` (libavutil/video_enc_params.h): a header, then one record for each block. The
layout is FFmpeg's public interface on 64-bit machines; the records' place and size are in the header.
"""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
import numpy.typing as npt
from av.sidedata.sidedata import Type as SideDataType

QUANTISER_OPTIONS = {"export_side_data": "venc_params"}
"""Codec options that make the decoder tell. Those that cannot ignore them."""
H264 = 1
"""`AV_VIDEO_ENC_PARAMS_H264`: other codecs' quantisers are on other scales."""
_HEADER = struct.Struct("=I4xQQii")
"""Number of blocks, where their records begin, a record's size (bytes), the codec, the frame's quantiser."""
HEADER_BYTES = _HEADER.size
BLOCK_BYTES, DELTA_AT = 20, 16
"""A block's record is at least so long; from here on it has the difference from the frame's quantiser, bytes."""


def frame_quantiser(frame: Any) -> float | None:
    """Mean QP of the frame's blocks, 0 to 51 with 8 bits; None: the codec is not H.264, or does not tell."""
    try:
        side = frame.side_data.get(SideDataType.VIDEO_ENC_PARAMS)
    except ValueError:  # PyAV cannot list a frame's side data when it does not know one of them
        return None
    if side is None:
        return None
    told = memoryview(side)
    if len(told) < HEADER_BYTES:
        return None
    blocks, offset, size, kind, base = _HEADER.unpack_from(told)
    if kind != H264:
        return None
    if not blocks or size < BLOCK_BYTES or offset + blocks * size > len(told):
        return float(base)
    deltas: npt.NDArray[np.int32] = np.ndarray((blocks,), np.int32, told, offset + DELTA_AT, (size,))
    return base + float(deltas.mean())
