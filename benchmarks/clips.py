"""A photo moved into a clip: three seconds of pan and zoom (Ken Burns), encoded as H.264 as an upload would be.

The movement follows from the name alone, so a clip is the same on every run.
"""

from __future__ import annotations

import hashlib
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

DURATION_S = 3
FPS = 15
LONG_SIDE = 512
"""Of the clip, px."""
WIDEST = 16 / 9
"""Aspect that the clip is cropped to where the photo is wider, and likewise where it is taller."""
ZOOM = 1.18
"""How much nearer the closer end of the movement is."""
GROUND = (222, 222, 222)
"""What a cut-out photo is laid on, RGB: light things and dark things both stand out from it."""
MARGIN = 0.12
"""Ground left around a cut-out, share of its longer side."""
CRF = "26"
VERSION = 1
"""Raised when the same photo gives another clip."""


def read_photo(path: Path) -> npt.NDArray[np.uint8]:
    """A photo, [h, w, 3] RGB. One with transparency is laid on a plain square ground."""
    with Image.open(path) as opened:
        image = opened.convert("RGBA")
    if image.getchannel("A").getextrema() == (255, 255):
        return np.asarray(image.convert("RGB"))
    box = image.getchannel("A").getbbox()
    image = image.crop(box) if box else image
    side = round(max(image.size) * (1 + 2 * MARGIN))
    ground = Image.new("RGBA", (side, side), (*GROUND, 255))
    ground.alpha_composite(image, ((side - image.width) // 2, (side - image.height) // 2))
    return np.asarray(ground.convert("RGB"))


def ken_burns(photo: npt.NDArray[np.uint8], seed: str) -> list[npt.NDArray[np.uint8]]:
    """The frames of the clip, [h, w, 3] RGB each: a slow zoom in or out with a pan, always inside of the photo."""
    draw = hashlib.sha256(seed.encode()).digest()
    height, width = photo.shape[:2]
    aspect = min(max(width / height, 1 / WIDEST), WIDEST)
    whole_w, whole_h = min(width, height * aspect), min(height, width / aspect)
    scale = LONG_SIDE / max(whole_w, whole_h)
    out_w, out_h = (max(2, round(side * scale / 2) * 2) for side in (whole_w, whole_h))
    inwards = draw[0] % 2 == 0
    aim = np.array([draw[1] / 255, draw[2] / 255])
    frames = []
    count = DURATION_S * FPS
    for number in range(count):
        progress = number / (count - 1)
        zoom = ZOOM ** (progress if inwards else 1 - progress)
        window = np.array([whole_w, whole_h]) / zoom
        # The room beside the window is shared out by the aim: drifting off the centre as the window closes.
        centre = 0.5 + (aim - 0.5) * (zoom - 1) / (ZOOM - 1)
        left, top = (np.array([width, height]) - window) * centre
        shrink = out_w / window[0]
        matrix = np.array([[shrink, 0, -left * shrink], [0, out_h / window[1], -top * out_h / window[1]]])
        how = cv2.INTER_LINEAR if shrink > 0.6 else cv2.INTER_AREA
        source = photo
        if how == cv2.INTER_AREA:  # warpAffine does not average: shrink first, then move
            source = np.asarray(cv2.resize(photo, None, fx=shrink, fy=shrink, interpolation=cv2.INTER_AREA))
            matrix = np.array([[1, 0, -left * shrink], [0, 1, -top * shrink]])
        moved = cv2.warpAffine(source, matrix, (out_w, out_h), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        frames.append(np.asarray(moved, np.uint8))
    return frames


def write_clip(frames: list[npt.NDArray[np.uint8]], path: Path, fps: int = FPS, *, repeatable: bool = False) -> None:
    """Encode frames as H.264 in MP4.

    Args:
        frames: [h, w, 3] RGB.
        path: where to.
        fps: a second.
        repeatable: the same file again on every run, which x264 does not give when a thread of its
            own looks ahead.
    """
    height, width = frames[0].shape[:2]
    options = {"crf": CRF, "preset": "veryfast"} | ({"x264-params": "sync-lookahead=0"} if repeatable else {})
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=Fraction(fps), options=options)
        stream.width, stream.height, stream.pix_fmt, stream.thread_count = width, height, "yuv420p", 1
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())


def write_sound(path: Path, source: Path, bitrate: int = 96_000) -> None:
    """An effect as an upload would carry it: AAC in MP4, in its own channels."""
    with av.open(str(source)) as incoming, av.open(str(path), "w") as container:
        heard = incoming.streams.audio[0]
        rate = 44_100
        stream = container.add_stream("aac", rate=rate, bit_rate=bitrate, layout="mono")
        resampler = av.AudioResampler(format="fltp", layout="mono", rate=rate)
        for frame in [*incoming.decode(heard), None]:
            for part in resampler.resample(frame):
                container.mux(stream.encode(part))
        container.mux(stream.encode())
