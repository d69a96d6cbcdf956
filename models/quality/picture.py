"""Picture measures, taken while the decoder makes its one pass.

Every frame's small look tells exposure, freezes, flicker and how steady the camera is; full-resolution luma of the
sampled frames tells focus, noise and blocks (`models.quality.plane`). The memory used does not grow with duration.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Protocol

import cv2
import numpy as np
import numpy.typing as npt

from models.quality.curve import Curve
from models.quality.plane import MIN_SIDE, measure_plane

Plane = npt.NDArray[np.uint8]

FROZEN_MEAN = 0.255
"""Looks that differ by less are the same picture, grey levels: -60 dB of full scale, as in FFmpeg's freezedetect."""
FROZEN_STEP, FROZEN_SHARE = 8, 0.002
"""... unless more than this share of the pixels moved by more than this many grey levels: a mouth in a still room."""
MIN_FREEZE_S = 0.5
"""Shorter standstills are repeated frames (another rate's pull-down), not a freeze, s."""
MAX_GAP_S = 2.0
"""A longer time between two frames counts as this much, s."""

MOTION_INTERVAL_S = 1 / 16
"""Camera motion is measured this often at most, s: a hand shakes at up to about 8 Hz."""
MIN_RESPONSE = 0.08
"""Weaker peaks of the phase correlation tell no displacement (a cut, a new scene)."""
MAX_JITTER = 0.08
"""A larger change of displacement is a wrong peak; counted as this much, shares of the short side."""

BAR_LEVEL = 24
"""A row or column never brighter than this is a black bar, grey levels."""
MAX_BARS = 0.7
"""If more of the picture than this would be bars it is only dark."""
DARK_CLIP, BRIGHT_CLIP = 6, 249
"""At and beyond these a pixel is clipped, grey levels."""

MIN_MEASURE_INTERVAL_S = 0.9
"""Full planes are measured at most this often, s: focus and noise change slowly, and a plane costs a frame's decode."""
MAX_MEASURED = 192
"""After so many full planes only every second sampled frame is measured, then every fourth, ..."""


class View(Protocol):
    """What is used of a decoded frame: see `media.types.FrameView`."""

    @property
    def luma(self) -> npt.NDArray[np.uint8]: ...  # noqa: D102
    @property
    def small(self) -> npt.NDArray[np.uint8]: ...  # noqa: D102
    @property
    def time_s(self) -> float: ...  # noqa: D102
    @property
    def sampled(self) -> bool: ...  # noqa: D102
    @property
    def index(self) -> int: ...  # noqa: D102


class PictureMeasures:
    """Observer of the decoder's pass: `result()` holds what `models.quality.tagger` reads.

    Result, all plain numbers (None: nothing to tell it from):
        frames, width, height (as coded, px), blur_px, noise, blockiness, wiped_share (`plane.PlaneMeasures`),
        brightness and contrast (mean, and distance of the 5th and 95th percentiles, grey levels), dark_share and
        bright_share (clipped pixels), freeze_share (of the time), duplicate_share (of the frames), flicker (grey
        levels by which brightness swings to and fro), jitter (change of camera displacement between looks, shares of
        the short side), bars (shares of the frame that are black bars: left, top, right, bottom, as coded),
        curves (`times_s`, sharpness, brightness, contrast, noise, blockiness, motion: lists of at most 256).
    """

    name = "picture_measures"

    def __init__(self) -> None:
        self._curve = Curve("sharpness", "brightness", "contrast", "noise", "blockiness", "motion", "blur_px", "wiped")
        self._frames = 0
        self._planes = 0
        self._measured_s = 0.0
        self._sampled = 0
        self._size = (0, 0)
        self._light = _Light()
        self._change = _Change()
        self._camera = _Camera()

    def frame(self, view: View) -> None:
        """See one frame."""
        if view.small.size == 0:
            return
        time_s = view.time_s if math.isfinite(view.time_s) else 0.0
        self._frames += 1
        brightness, contrast = self._light.look(view.small)
        self._change.look(view.small, time_s, brightness)
        self._camera.look(view.small, time_s)
        # The first frame is measured too, so that whatever was decoded has been looked at once. Full luma is only
        # touched here: the decoder may make it when it is asked for.
        since = abs(time_s - self._measured_s)
        if self._frames == 1 or (view.sampled and since >= MIN_MEASURE_INTERVAL_S):
            self._measured_s = time_s
            self._measure(view.luma, time_s, brightness, contrast)

    def _measure(self, luma: Plane, time_s: float, brightness: float, contrast: float) -> None:
        self._size = (int(luma.shape[1]), int(luma.shape[0]))
        self._sampled += 1
        if self._sampled % (1 << self._planes // MAX_MEASURED):
            return
        self._planes += 1
        plane = measure_plane(luma)
        sharpness = None if plane.blur_px is None else min(1.0, 0.5 / plane.blur_px)
        motion = self._change.motion_since_last()
        measured = (plane.noise, plane.blockiness, motion, plane.blur_px, plane.wiped_share)
        self._curve.add(time_s, sharpness, brightness, contrast, *measured)

    def sound(self, block: Any) -> None:
        """Sound tells nothing of the picture."""

    def result(self, waveform: Any) -> Mapping[str, Any]:
        """The observation; empty when no frame came."""
        if not self._frames:
            return {}

        def middle(name: str) -> float | None:
            values = self._curve.known(name)
            return round(float(np.median(values)), 4) if values else None

        curves = self._curve.points()
        del curves["blur_px"], curves["wiped"]
        return {
            "frames": self._frames,
            "width": self._size[0],
            "height": self._size[1],
            "blur_px": middle("blur_px"),
            "noise": middle("noise"),
            "blockiness": middle("blockiness"),
            "wiped_share": middle("wiped"),
            **self._light.result(),
            **self._change.result(),
            "jitter": self._camera.result(),
            "curves": curves,
        }


class _Light:
    """Exposure over the whole upload, without the black bars."""

    def __init__(self) -> None:
        self._histogram = np.zeros(256, dtype=np.float64)
        self._brightest: Plane | None = None
        self._box = (0, 0, 0, 0)
        self._looks = 0

    def look(self, small: Plane) -> tuple[float, float]:
        """Mean and contrast of one look, grey levels."""
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
        share = self._histogram / max(1.0, float(self._histogram.sum()))
        height, width = self._brightest.shape if self._brightest is not None else (1, 1)
        left, top, right, bottom = self._box
        bars = (left / width, top / height, 1.0 - right / width, 1.0 - bottom / height)
        return {
            "brightness": round(float(share @ _LEVELS), 2),
            "contrast": round(_spread(share), 2),
            "dark_share": round(float(share[: DARK_CLIP + 1].sum()), 4),
            "bright_share": round(float(share[BRIGHT_CLIP:].sum()), 4),
            "bars": [round(max(0.0, bar), 4) for bar in bars],
        }


_LEVELS = np.arange(256, dtype=np.float64)


def _spread(share: npt.NDArray[np.float64]) -> float:
    """Distance between the 5th and the 95th percentile, grey levels."""
    low, high = np.searchsorted(np.cumsum(share), (0.05, 0.95))
    return float(max(0, min(int(high), 255) - int(low)))


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


class _Change:
    """What changes from frame to frame: freezes, repeated frames, flicker, motion."""

    def __init__(self) -> None:
        self._previous: Plane | None = None
        self._time_s = 0.0
        self._total_s = self._frozen_s = self._run_s = 0.0
        self._run_frames = self._repeated = self._pairs = 0
        self._brightness = self._swing = 0.0
        self._flicker = 0.0
        self._motion, self._motion_pairs = 0.0, 0

    def look(self, small: Plane, time_s: float, brightness: float) -> None:
        previous, self._previous = self._previous, small.copy()
        elapsed, self._time_s = min(max(0.0, time_s - self._time_s), MAX_GAP_S), time_s
        swing, self._brightness = brightness - self._brightness, brightness
        if previous is None or previous.shape != small.shape:
            self._swing = 0.0
            return
        self._pairs += 1
        self._total_s += elapsed
        # Only what goes up and comes down again: a cut or a fade goes one way.
        if swing * self._swing < 0.0:
            self._flicker += min(abs(swing), abs(self._swing))
        self._swing = swing
        difference = cv2.absdiff(small, previous)
        mean = float(cv2.mean(difference)[0])
        self._motion += mean
        self._motion_pairs += 1
        moved = mean >= FROZEN_MEAN
        if not moved:
            moved = int(np.count_nonzero(difference > FROZEN_STEP)) > FROZEN_SHARE * difference.size
        if moved:
            self._end_run()
        else:
            self._run_s += elapsed
            self._run_frames += 1

    def _end_run(self) -> None:
        if self._run_s >= MIN_FREEZE_S:
            self._frozen_s += self._run_s
        else:
            self._repeated += self._run_frames
        self._run_s, self._run_frames = 0.0, 0

    def motion_since_last(self) -> float | None:
        """Mean change of the looks since the last call, grey levels."""
        motion = self._motion / self._motion_pairs if self._motion_pairs else None
        self._motion, self._motion_pairs = 0.0, 0
        return motion

    def result(self) -> dict[str, Any]:
        self._end_run()
        if not self._pairs:
            return {"freeze_share": None, "duplicate_share": None, "flicker": None}
        return {
            "freeze_share": round(min(1.0, self._frozen_s / self._total_s), 4) if self._total_s > 0.0 else None,
            "duplicate_share": round(self._repeated / self._pairs, 4),
            "flicker": round(self._flicker / self._pairs, 4),
        }


class _Camera:
    """How steadily the camera moves, by phase correlation of consecutive looks (Kuglin and Hines 1975)."""

    def __init__(self) -> None:
        self._previous: npt.NDArray[np.float32] | None = None
        self._window: npt.NDArray[Any] | None = None
        self._time_s = 0.0
        self._last: tuple[float, float] | None = None
        self._jitter, self._count = 0.0, 0

    def look(self, small: Plane, time_s: float) -> None:
        if min(small.shape) < MIN_SIDE:
            return
        if self._previous is not None and 0.0 <= time_s - self._time_s < MOTION_INTERVAL_S - 0.005:
            return
        self._time_s = time_s
        previous, look = self._previous, small.astype(np.float32)
        self._previous = look
        if previous is None or previous.shape != look.shape or self._window is None:
            self._window = cv2.createHanningWindow((look.shape[1], look.shape[0]), cv2.CV_32F)
            self._last = None
            return
        (dx, dy), response = cv2.phaseCorrelate(previous, look, self._window)
        if not (response >= MIN_RESPONSE and math.isfinite(dx) and math.isfinite(dy)):
            self._last = None
            return
        if self._last is not None:
            change = math.hypot(dx - self._last[0], dy - self._last[1]) / min(look.shape)
            self._jitter += min(change, MAX_JITTER)
            self._count += 1
        self._last = (dx, dy)

    def result(self) -> float | None:
        return round(self._jitter / self._count, 5) if self._count >= 4 else None
