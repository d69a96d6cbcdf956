"""Shot boundaries, with PySceneDetect's adaptive detector on the small look at each frame's luma.

The stock detector turns every frame into HSV. Fed with grey frames and `luma_only`, all of that comes to the mean
absolute difference of luma, so it is computed as that (a test holds the two equal). The adaptive rule is
PySceneDetect's own.
"""

from __future__ import annotations

from collections import deque
from itertools import pairwise

import cv2
import numpy as np
import numpy.typing as npt
from scenedetect.common import FrameTimecode
from scenedetect.detectors import AdaptiveDetector

MIN_SHOT_S = 0.4
"""A cut sooner than this after the last one is a flash, not a shot."""
SPARSE_S = 0.2
"""Frames further apart than this have no neighbours to adapt to (slideshows, GIFs): a fixed threshold decides."""
SPARSE_THRESHOLD = 27.0
"""Mean absolute luma difference, of 255. PySceneDetect's default for its content detector."""
WINDOW = 2
"""Frames before and after that a frame's change is compared with. A cut is known that many frames later."""
_ANY_RATE = 25.0  # frames are counted, not timed, so the rate given to FrameTimecode has no effect


class LumaAdaptiveDetector(AdaptiveDetector):
    """PySceneDetect's adaptive detector on [h, w] luma."""

    def __init__(self) -> None:
        super().__init__(min_scene_len=0, window_width=WINDOW, luma_only=True)
        self._last_luma: npt.NDArray[np.uint8] | None = None
        self.score = 0.0

    def _calculate_frame_score(self, timecode: FrameTimecode, frame_img: npt.NDArray[np.uint8]) -> float:
        last, self._last_luma = self._last_luma, frame_img
        self.score = 0.0 if last is None else cv2.norm(frame_img, last, cv2.NORM_L1) / frame_img.size
        return self.score


class ShotDetector:
    """Finds cuts frame by frame."""

    def __init__(self) -> None:
        self._detector = LumaAdaptiveDetector()
        self._shape: tuple[int, ...] | None = None
        self._times: deque[float] = deque(maxlen=WINDOW + 1)
        self._count = 0
        self._start = 0.0
        self.cuts: list[float] = []
        """Times at which a new shot begins, s; the first shot's start is not among them."""

    def see(self, time_s: float, small: npt.NDArray[np.uint8]) -> bool:
        """See the next frame's small look, [h, w]. True if a cut has become known (it is the last of `cuts`)."""
        if self._shape is None:
            self._shape, self._start = small.shape, time_s
        elif small.shape != self._shape:
            # A stream may change its resolution in the middle of a shot.
            small = cv2.resize(small, self._shape[::-1], interpolation=cv2.INTER_AREA)  # type: ignore[assignment]
        sparse = bool(self._times) and time_s - self._times[-1] > SPARSE_S
        self._times.append(time_s)
        found = self._detector.process_frame(FrameTimecode(self._count, _ANY_RATE), small)
        self._count += 1
        if sparse:
            return self._detector.score >= SPARSE_THRESHOLD and self._cut(time_s)
        return bool(found) and self._cut(self._times[0])

    def _cut(self, time_s: float) -> bool:
        if time_s - (self.cuts[-1] if self.cuts else self._start) < MIN_SHOT_S:
            return False
        self.cuts.append(time_s)
        return True

    def shots(self, end_s: float) -> list[tuple[float, float]]:
        """Start and end of each shot, s, from the first frame to `end_s`, without gaps. Empty without frames."""
        if self._shape is None:
            return []
        starts = [self._start, *self.cuts]
        return list(pairwise([*starts, max(end_s, starts[-1])]))
