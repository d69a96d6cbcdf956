"""How steadily the camera moves, by phase correlation of consecutive looks (Kuglin and Hines 1975)."""

from __future__ import annotations

import math
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from models.quality.plane import MIN_SIDE

Plane = npt.NDArray[np.uint8]

MOTION_INTERVAL_S = 1 / 16
"""Camera motion is measured this often at most, s: a hand shakes at up to about 8 Hz."""
MAX_INTERVAL_S = 0.1
"""Looks further apart say nothing of a hand: what stood and jumped is a freeze or judder, s."""
MIN_RESPONSE = 0.08
"""Weaker peaks of the phase correlation tell no displacement (a cut, a new scene)."""
MIN_KEPT, MAX_KEPT = 4, 2_048
"""Changes that a result is made from: at least, and at most; of more, every second one is kept, ..."""
MAX_JITTER = 0.2
"""A larger change of displacement is a wrong peak; counted as this much, shares of the short side."""


class Camera:
    """Change of the camera's displacement from look to look."""

    def __init__(self) -> None:
        self._previous: npt.NDArray[np.float32] | None = None
        self._window: npt.NDArray[Any] | None = None
        self._time_s = 0.0
        self._last: tuple[float, float] | None = None
        self._jitter: list[float] = []
        self._stride, self._count = 1, 0

    def look(self, small: Plane, time_s: float) -> None:
        """See one look [h, w]."""
        if min(small.shape) < MIN_SIDE:
            return
        if self._previous is not None and 0.0 <= time_s - self._time_s < MOTION_INTERVAL_S - 0.005:
            return
        late = time_s - self._time_s > MAX_INTERVAL_S
        self._time_s = time_s
        previous, look = self._previous, small.astype(np.float32)
        self._previous = look
        if previous is None or previous.shape != look.shape or self._window is None:
            self._window = cv2.createHanningWindow((look.shape[1], look.shape[0]), cv2.CV_32F)
            self._last = None
            return
        if late:
            self._last = None
            return
        (dx, dy), response = cv2.phaseCorrelate(previous, look, self._window)
        if not (response >= MIN_RESPONSE and math.isfinite(dx) and math.isfinite(dy)):
            self._last = None
            return
        if self._last is not None:
            change = math.hypot(dx - self._last[0], dy - self._last[1]) / min(look.shape)
            self._note(min(change, MAX_JITTER))
        self._last = (dx, dy)

    def _note(self, change: float) -> None:
        self._count += 1
        if self._count % self._stride == 0:
            self._jitter.append(change)
        if len(self._jitter) > MAX_KEPT:
            self._jitter, self._stride = self._jitter[1::2], self._stride * 2

    def result(self) -> float | None:
        """Median change of displacement, shares of the short side; None: too few looks.

        A hand trembles all the time; what passes by the camera, and a cut that was not found, do not.
        """
        return round(float(np.median(self._jitter)), 5) if len(self._jitter) >= MIN_KEPT else None
