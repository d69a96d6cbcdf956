"""What can be wrong with a picture, at six levels each, from hardly seen to ruined.

The amounts are a guess at even steps from just seen to beyond use; no person has rated them. Those of freezes were
raised a little after a first run: a standstill below half a second is no freeze by definition. Only luma is
damaged: every measure here, and every peer, looks at luma.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from .picture_sources import FPS, Planes, write_picture

LEVELS = 6
Luma = npt.NDArray[np.float32]
"""[n, height, width], full range, grey levels 0 to 255."""
GAMMA = 2.2
REFERENCE_HEIGHT = 360.0
"""Blur is given for pictures of this height, px."""


@dataclass(frozen=True)
class Fault:
    """One kind of damage.

    Attributes:
        levels: six amounts, mild to grave.
        unit: what they are.
        spoil: the damaged luma, from luma and amount.
    """

    levels: tuple[float, ...]
    unit: str
    spoil: Callable[[Luma, float], Luma] | None = None

    def write(self, planes: Planes, amount: float, path: Path) -> None:
        """The damaged clip as an upload."""
        if self.spoil is None:
            write_picture(planes, path, crf=int(amount), preset="fast")
            return
        height = planes.shape[1] * 2 // 3
        luma = (planes[:, :height].astype(np.float32) - 16.0) * (255.0 / 219.0)
        spoiled = np.clip(self.spoil(luma, amount), 0.0, 255.0)
        made = planes.copy()
        made[:, :height] = np.rint(spoiled * (219.0 / 255.0) + 16.0).astype(np.uint8)
        write_picture(made, path)


def _each(luma: Luma, change: Callable[[npt.NDArray[np.float32]], npt.NDArray[np.float32]]) -> Luma:
    return np.stack([change(frame) for frame in luma])


def _blur(luma: Luma, sigma: float) -> Luma:
    wide = sigma * luma.shape[1] / REFERENCE_HEIGHT
    return _each(luma, lambda frame: cv2.GaussianBlur(frame, (0, 0), wide))


def _upscaled(luma: Luma, factor: float) -> Luma:
    height, width = luma.shape[1:]
    small = (max(4, round(width / factor)), max(4, round(height / factor)))

    def change(frame: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        shrunk = cv2.resize(frame, small, interpolation=cv2.INTER_AREA)
        return cv2.resize(shrunk, (width, height), interpolation=cv2.INTER_CUBIC)

    return _each(luma, change)


def _noise(luma: Luma, sigma: float) -> Luma:
    rng = np.random.default_rng(7)
    return luma + rng.standard_normal(luma.shape, dtype=np.float32) * np.float32(sigma)


def _exposed(luma: Luma, stops: float) -> Luma:
    """So many stops more light, as a camera would have caught it."""
    return 255.0 * np.minimum(np.maximum(luma / 255.0, 0.0) ** GAMMA * 2.0**stops, 1.0) ** (1.0 / GAMMA)


def _flat(luma: Luma, factor: float) -> Luma:
    return luma.mean() + (luma - luma.mean()) * np.float32(factor)


def _banded(luma: Luma, steps: float) -> Luma:
    width = 255.0 / (steps - 1)
    return np.rint(luma / width) * np.float32(width)


def _flickering(luma: Luma, depth: float) -> Luma:
    """Brightness swings about ten times a second, each swing by another amount, as lamps and shutters make it."""
    rng = np.random.default_rng(11)
    times = np.arange(len(luma)) / FPS
    gain = 1.0 + depth * np.sin(2 * np.pi * 9.7 * times + 0.3) * rng.uniform(0.6, 1.0, len(luma))
    return luma * gain.astype(np.float32)[:, None, None]


def _frozen(luma: Luma, share: float) -> Luma:
    """One frame stands for this share of the time; then the picture goes on, where it would have been."""
    count = round(share * len(luma))
    first = (len(luma) - count) // 2
    made = luma.copy()
    made[first : first + count] = luma[first]
    return made


def _stuttering(luma: Luma, hold: float) -> Luma:
    """Every frame is held for so many."""
    return luma[np.arange(len(luma)) // int(hold) * int(hold)]


def _shaken(luma: Luma, amount: float) -> Luma:
    """A hand trembles: displacements of this standard deviation, shares of the short side, up to about 8 Hz."""
    rng = np.random.default_rng(13)
    raw = rng.standard_normal((len(luma) + 4, 2))
    path = np.apply_along_axis(lambda axis: np.convolve(axis, [0.25, 0.5, 0.25], "same"), 0, raw)[2:-2]
    path = path / path.std() * amount * min(luma.shape[1:])
    height, width = luma.shape[1:]
    made = []
    for frame, (dx, dy) in zip(luma, path, strict=True):
        shift = np.array([[1.0, 0.0, dx], [0.0, 1.0, dy]])
        made.append(cv2.warpAffine(frame, shift, (width, height), borderMode=cv2.BORDER_REFLECT))
    return np.stack(made).astype(np.float32)


FAULTS: Mapping[str, Fault] = {
    "blur": Fault((0.7, 1.2, 2.0, 3.2, 5.0, 8.0), "px of 360, standard deviation", _blur),
    "compression": Fault((30, 35, 39, 43, 47, 51), "CRF of H.264"),
    "noise": Fault((3.0, 6.0, 11.0, 18.0, 28.0, 42.0), "grey levels, standard deviation", _noise),
    "too dark": Fault((-1.0, -2.0, -3.0, -4.0, -5.0, -6.0), "stops", _exposed),
    "too bright": Fault((0.7, 1.3, 1.9, 2.5, 3.2, 4.0), "stops", _exposed),
    "low contrast": Fault((0.75, 0.55, 0.4, 0.28, 0.19, 0.12), "of the contrast left", _flat),
    "banding": Fault((24, 16, 11, 8, 5, 3), "grey levels left", _banded),
    "upscaled": Fault((1.5, 2.0, 3.0, 4.5, 6.5, 10.0), "times too small", _upscaled),
    "flicker": Fault((0.01, 0.02, 0.04, 0.08, 0.14, 0.22), "of the brightness", _flickering),
    "freeze": Fault((0.27, 0.38, 0.49, 0.61, 0.73, 0.86), "of the time", _frozen),
    "judder": Fault((2, 3, 4, 6, 8, 12), "frames of 25 a second, each held", _stuttering),
    "shake": Fault((0.002, 0.005, 0.01, 0.018, 0.03, 0.05), "of the short side, standard deviation", _shaken),
}
