"""Variants of a photo for the topics head to learn from: other grounds, crops, sides, light and JPEG grain.

A clip of the corpus shows each subject in one way only. What follows from the photo's name and the variant's number is
the same on every run.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

VARIANTS = 8
LONG_SIDE = 512
"""px"""
VERSION = 1
"""Raised when the same photo gives other variants."""

Picture = npt.NDArray[np.uint8]


def variant(path: Path, key: str, number: int) -> Picture:
    """One variant of a photo, [h, w, 3] RGB."""
    seed = hashlib.sha256(f"{key}{number}".encode()).digest()[:8]
    draw = np.random.default_rng(int.from_bytes(seed, "big"))
    picture = _cropped(_on_ground(path, draw), draw)
    if draw.random() < 0.5:
        picture = picture[:, ::-1]
    height, width = picture.shape[:2]
    turn = cv2.getRotationMatrix2D((width / 2, height / 2), draw.uniform(-12, 12), 1.1)
    turned = cv2.warpAffine(np.ascontiguousarray(picture), turn, (width, height), borderMode=cv2.BORDER_REFLECT)
    gain = np.clip(draw.uniform(0.75, 1.25, 3) * draw.uniform(0.8, 1.2), 0.7, 1.3)
    lit = np.clip(turned * gain + draw.uniform(-15, 15), 0, 255).astype(np.uint8)
    if draw.random() < 0.15:
        lit = np.repeat(lit.mean(axis=2, keepdims=True).astype(np.uint8), 3, axis=2)
    _, grain = cv2.imencode(".jpg", lit, [cv2.IMWRITE_JPEG_QUALITY, int(draw.integers(40, 90))])
    return np.asarray(cv2.imdecode(grain, cv2.IMREAD_COLOR), np.uint8)


def _on_ground(path: Path, draw: np.random.Generator) -> Picture:
    with Image.open(path) as opened:
        image = opened.convert("RGBA")
    if image.getchannel("A").getextrema() == (255, 255):
        return np.asarray(image.convert("RGB"))
    box = image.getchannel("A").getbbox()
    image = image.crop(box) if box else image
    side = round(max(image.size) * (1 + 2 * draw.uniform(0.02, 0.35)))
    coloured = draw.random() < 0.7
    ground = draw.integers(40, 250, 3) if coloured else np.full(3, draw.integers(150, 250))
    canvas = Image.new("RGBA", (side, side), (int(ground[0]), int(ground[1]), int(ground[2]), 255))
    left = int((side - image.width) * draw.uniform(0.3, 0.7))
    canvas.alpha_composite(image, (left, int((side - image.height) * draw.uniform(0.3, 0.7))))
    return np.asarray(canvas.convert("RGB"))


def _cropped(picture: Picture, draw: np.random.Generator) -> Picture:
    share = draw.uniform(0.7, 1.0)
    height, width = (int(side * share) for side in picture.shape[:2])
    top = int((picture.shape[0] - height) * draw.random())
    left = int((picture.shape[1] - width) * draw.random())
    crop = picture[top : top + height, left : left + width]
    factor = LONG_SIDE / max(height, width)
    how = cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(crop, None, fx=factor, fy=factor, interpolation=how), np.uint8)
