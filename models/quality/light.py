"""Exposure, contrast and black bars of an upload, from a small look at every frame."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

Plane = npt.NDArray[np.uint8]

BAR_LEVEL = 24
"""A row or column never brighter than this is a black bar, grey levels."""
MAX_BARS = 0.7
"""If more of the picture than this would be bars it is only dark."""
BRIGHT_CLIP = 249
"""From here on a pixel is clipped, grey levels."""
HIGHLIGHTS = 200
"""From here on a pixel is a highlight, grey levels."""
HIGHLIGHTS_FLOOR = 0.001
"""Added to the share of highlights, so that a few bright pixels are not a burnt-out picture."""
_LEVELS = np.arange(256, dtype=np.float64)


class Light:
    """Exposure over the whole upload, without the black bars."""

    def __init__(self) -> None:
        self._histogram = np.zeros(256, dtype=np.float64)
        self._brightest: Plane | None = None
        self._box = (0, 0, 0, 0)
        self._looks = 0

    def look(self, small: Plane) -> tuple[float, float]:
        """Mean and contrast of one look [h, w], grey levels."""
        if self._brightest is None or self._brightest.shape != small.shape:
            self._brightest = small.copy()
            self._looks = 0
        cv2.max(self._brightest, small, dst=self._brightest)
        # Bars only ever shrink, and soon no more: looking for them can become rare.
        if self._looks < 8 or self._looks % 16 == 0:
            self._box = _content_box(self._brightest)
        self._looks += 1
        left, top, right, bottom = self._box
        content = small[top:bottom, left:right]
        histogram = cv2.calcHist([np.ascontiguousarray(content)], [0], None, [256], [0, 256]).reshape(-1)
        share = histogram.astype(np.float64) / content.size
        self._histogram += share
        return float(share @ _LEVELS), _spread(share)

    def result(self) -> dict[str, Any]:
        """`brightness`, `contrast`, `white`, `tones`, `burnt_share`, `bars`: see `PictureMeasures`."""
        share = self._histogram / max(1.0, float(self._histogram.sum()))
        height, width = self._brightest.shape if self._brightest is not None else (1, 1)
        left, top, right, bottom = self._box
        bars = (left / width, top / height, 1.0 - right / width, 1.0 - bottom / height)
        return {
            "brightness": round(float(share @ _LEVELS), 2),
            "contrast": round(_spread(share), 2),
            "white": round(_percentile(share, 0.995), 2),
            "tones": round(_percentile(share, 0.995) - _percentile(share, 0.005), 2),
            "burnt_share": round(float(share[BRIGHT_CLIP:].sum() / (share[HIGHLIGHTS:].sum() + HIGHLIGHTS_FLOOR)), 4),
            "bars": [round(max(0.0, bar), 4) for bar in bars],
        }


def _spread(share: npt.NDArray[np.float64]) -> float:
    """Distance between the 5th and the 95th percentile, grey levels."""
    low, high = np.searchsorted(np.cumsum(share), (0.05, 0.95))
    return float(max(0, min(int(high), 255) - int(low)))


def _percentile(share: npt.NDArray[np.float64], quantile: float) -> float:
    """The grey level below which this share of the pixels lies."""
    return float(np.interp(quantile, np.cumsum(share), _LEVELS))


def _content_box(brightest: Plane) -> tuple[int, int, int, int]:
    """Left, top, right, bottom of what is not a black bar, px of the small look."""
    height, width = brightest.shape
    columns = np.flatnonzero(brightest.max(axis=0) > BAR_LEVEL)
    rows = np.flatnonzero(brightest.max(axis=1) > BAR_LEVEL)
    if columns.size == 0 or rows.size == 0:
        return 0, 0, width, height
    left, right = int(columns[0]), int(columns[-1]) + 1
    top, bottom = int(rows[0]), int(rows[-1]) + 1
    if (right - left) * (bottom - top) < (1.0 - MAX_BARS) * width * height:
        return 0, 0, width, height
    return left, top, right, bottom
