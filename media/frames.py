"""One decoded frame, seen three ways: its luma, a small look at its luma, and upright RGB for the networks.

Scaling a 720p frame costs as much as decoding it, so RGB is made only of the frames that are kept; a strided look at
the luma plane costs almost nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Any, ClassVar

import cv2
import numpy as np
import numpy.typing as npt
from av.sidedata.sidedata import Type as SideDataType
from av.video.reformatter import ColorRange, Colorspace, Interpolation, VideoReformatter

from media.quantiser import frame_quantiser
from media.types import FRAME_SHORT_SIDE, FrameView

SMALL_SIDE = 90
"""Short side of the small look, px (at least; below twice that)."""
MAX_LONG_SIDE = 4 * FRAME_SHORT_SIDE
"""Long side of a sampled frame at most, px: a picture of extreme aspect is scaled down further."""
HD_HEIGHT = 720
"""From this height on, px, untagged video is taken to be BT.709, as players do."""

_LIMITED_TO_FULL = np.clip((np.arange(256) - 16.0) * (255.0 / 219.0) + 0.5, 0, 255).astype(np.uint8)
"""ITU-R BT.709 limited range (16-235) to full range (0-255)."""

_UNSPECIFIED = 2  # AVCOL_SPC_UNSPECIFIED

# Formats whose first plane is nothing but luma; all else (RGB, palettes, packed YUV) goes through swscale.
_PLANAR = {"nv12", "nv16", "nv21", "nv24", "nv42", "gray", "gray8"}


class LazyFrameView(FrameView):
    """A `FrameView` whose full-resolution luma is made when first asked for: range conversion is not free."""

    def __init__(self, reader: LumaReader, frame: Any, small: npt.NDArray[np.uint8], at: FrameMoment) -> None:
        object.__setattr__(self, "_source", (reader, frame))
        object.__setattr__(self, "small", small)
        object.__setattr__(self, "time_s", at.time_s)
        object.__setattr__(self, "sampled", at.sampled)
        object.__setattr__(self, "index", at.index)

    @cached_property
    def luma(self) -> npt.NDArray[np.uint8]:  # type: ignore[override]
        """[height, width], full range."""
        reader, frame = self.__dict__["_source"]
        return reader.full(frame)

    @cached_property
    def quantiser(self) -> float | None:  # type: ignore[override]
        """Mean QP."""
        return frame_quantiser(self.__dict__["_source"][1])


@dataclass(frozen=True)
class FrameMoment:
    """Where in the pass a frame stands."""

    time_s: float
    sampled: bool
    index: int


class LumaReader:
    """Reads full-range 8-bit luma out of decoded frames, of whatever pixel format."""

    def __init__(self) -> None:
        self._grey = VideoReformatter()

    def small(self, frame: Any) -> npt.NDArray[np.uint8]:
        """[h, w] every k-th pixel of every k-th row, contiguous."""
        plane, shift, limited = self._plane(frame)
        step = max(1, min(plane.shape) // SMALL_SIDE)
        return _eight_bits(plane[::step, ::step], shift, limited)

    def full(self, frame: Any) -> npt.NDArray[np.uint8]:
        """[height, width]; a view of the plane where nothing needs converting."""
        return _eight_bits(*self._plane(frame))

    def _plane(self, frame: Any) -> tuple[npt.NDArray[Any], int, bool]:
        """The luma plane, the bits to shift down by, and whether its range is limited."""
        name = frame.format.name
        depth = _planar_depth(name)
        if depth and frame.planes[0].line_size > 0:
            limited = frame.color_range != ColorRange.JPEG and not name.startswith(("yuvj", "gray"))
            return _view(frame, depth), depth - 8, limited
        grey = self._grey.reformat(frame, format="gray", dst_color_range=ColorRange.JPEG, threads=1)
        return _view(grey, 8), 0, False


def _planar_depth(name: str) -> int:
    """Bits of the luma samples in the first plane; 0 where the first plane is not pure native-endian luma."""
    if name in _PLANAR:
        return 8
    if name.endswith("be") or not name.startswith(("yuv", "gray")):
        return 0
    if name.startswith("gray"):
        digits = name[4:-2]
    else:
        _, _, digits = name.rpartition("p")
        digits = digits.removesuffix("le")
        if "p" not in name:
            return 0
    if not digits:
        return 8
    return int(digits) if digits.isdigit() and int(digits) <= 16 else 0


def _view(frame: Any, depth: int) -> npt.NDArray[Any]:
    plane = frame.planes[0]
    kind, width = (np.uint8, 1) if depth == 8 else (np.dtype("<u2"), 2)
    samples: npt.NDArray[Any] = np.frombuffer(memoryview(plane), kind)
    stride = plane.line_size // width
    return samples[: stride * frame.height].reshape(frame.height, stride)[:, : frame.width]


def _eight_bits(plane: npt.NDArray[Any], shift: int, limited: bool) -> npt.NDArray[np.uint8]:
    if shift:
        plane = (plane >> shift).astype(np.uint8)
    if limited:
        return cv2.LUT(np.ascontiguousarray(plane), _LIMITED_TO_FULL)  # type: ignore[return-value]
    return plane


class FrameConverter:
    """Makes frames into upright RGB with square pixels, all of one size: that of the first frame.

    A later frame of another shape (streams may change resolution) is scaled into that size and centred on black.
    """

    def __init__(self, pixel_aspect: Fraction) -> None:
        self._aspect = pixel_aspect
        self._scaler = VideoReformatter()
        self._size: tuple[int, int] | None = None
        self.orientation = Orientation()

    def convert(self, frame: Any) -> npt.NDArray[np.uint8]:
        """[height, width, 3] RGB, contiguous."""
        if self._size is None:
            self.orientation = Orientation.of(frame)
        width, height = fitted(frame.width, frame.height, self._aspect)
        if self._size is not None:
            box = self._size if self.orientation.transpose else self._size[::-1]
            width, height = _within(width, height, box)
        upright = self.orientation.apply(self._scale(frame, width, height))
        if self._size is None:
            self._size = upright.shape[:2]
        if upright.shape[:2] != self._size:
            upright = _centred(upright, self._size)
        return np.ascontiguousarray(upright)

    def _scale(self, frame: Any, width: int, height: int) -> npt.NDArray[np.uint8]:
        untagged_hd = frame.colorspace == _UNSPECIFIED and frame.height >= HD_HEIGHT
        scaled = self._scaler.reformat(
            frame,
            width=width,
            height=height,
            format="rgb24",
            src_colorspace=Colorspace.ITU709 if untagged_hd else None,
            interpolation=Interpolation.AREA,
            threads=1,
        )
        plane = scaled.planes[0]
        rows = np.frombuffer(memoryview(plane), np.uint8).reshape(height, plane.line_size)
        return rows[:, : width * 3].reshape(height, width, 3)


def fitted(width: int, height: int, pixel_aspect: Fraction) -> tuple[int, int]:
    """Width and height with square pixels, within `FRAME_SHORT_SIDE` and `MAX_LONG_SIDE`; never scaled up."""
    square = width * float(pixel_aspect)
    scale = min(1.0, FRAME_SHORT_SIDE / min(square, height), MAX_LONG_SIDE / max(square, height))
    return max(1, round(square * scale)), max(1, round(height * scale))


def _within(width: int, height: int, box: tuple[int, int]) -> tuple[int, int]:
    """The size scaled, up or down, so that it just fits the box (width, height)."""
    scale = min(box[0] / width, box[1] / height)
    return max(1, min(box[0], round(width * scale))), max(1, min(box[1], round(height * scale)))


def _centred(picture: npt.NDArray[np.uint8], size: tuple[int, int]) -> npt.NDArray[np.uint8]:
    canvas = np.zeros((*size, 3), np.uint8)
    top, left = (size[0] - picture.shape[0]) // 2, (size[1] - picture.shape[1]) // 2
    canvas[top : top + picture.shape[0], left : left + picture.shape[1]] = picture
    return canvas


@dataclass(frozen=True)
class Orientation:
    """How a player turns the coded picture: first transposed, then mirrored left-right and top-bottom."""

    transpose: bool = False
    mirror: bool = False
    flip: bool = False

    @classmethod
    def of(cls, frame: Any) -> Orientation:
        """From the frame's display matrix: 3 x 3, 16.16 fixed point, row vectors times matrix (ISO/IEC 14496-12)."""
        try:
            side = frame.side_data.get(SideDataType.DISPLAYMATRIX)
        except ValueError:
            # PyAV cannot list a frame's side data when it does not know one of them (EXIF): it still knows the angle.
            return cls._TURNS[round(-frame.rotation / 90) % 4]
        if side is None:
            return cls()
        a, b, _, c, d = np.frombuffer(bytes(side), np.int32)[:5].astype(np.int64)
        if abs(b) + abs(c) > abs(a) + abs(d):
            return cls(True, bool(c < 0), bool(b < 0))
        return cls(False, bool(a < 0), bool(d < 0))

    _TURNS: ClassVar[tuple[Orientation, ...]]

    @property
    def rotation(self) -> int:
        """Degrees clockwise, without what mirroring adds."""
        if self.transpose:
            return 270 if self.flip else 90
        return 180 if self.flip else 0

    def apply(self, picture: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """Turn [height, width, 3]. A view."""
        if self.transpose:
            picture = picture.swapaxes(0, 1)
        if self.mirror:
            picture = picture[:, ::-1]
        return picture[::-1] if self.flip else picture


Orientation._TURNS = (
    Orientation(),
    Orientation(transpose=True, mirror=True),
    Orientation(mirror=True, flip=True),
    Orientation(transpose=True, flip=True),
)
