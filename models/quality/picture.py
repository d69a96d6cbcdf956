"""Picture measures, taken while the decoder makes its one pass.

Every frame's small look tells exposure, freezes, judder, flicker and how steady the camera is (`light`, `change`,
`camera`); full-resolution luma of the sampled frames tells focus, noise, blocks and banding (`plane`, `banding`). The
memory used does not grow with duration.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from models.quality.banding import banding
from models.quality.camera import Camera
from models.quality.change import Change
from models.quality.curve import Curve
from models.quality.light import Light
from models.quality.plane import measure_plane

Plane = npt.NDArray[np.uint8]

MIN_MEASURE_INTERVAL_S = 0.9
"""Full planes are measured at most this often, s: focus and noise change slowly, and a plane costs a frame's decode."""
QUANTISER_EVERY = 5
"""Frames of which one tells its quantiser: coders' patterns of frames are 2, 3 or 4 long, and reading is not free."""
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
    @property
    def quantiser(self) -> float | None: ...  # noqa: D102


class PictureMeasures:
    """Observer of the decoder's pass: `result()` holds what `models.quality.scores` reads.

    Result, all plain numbers (None: nothing to tell it from):
        frames, width, height (as coded, px), blur_px, noise, blockiness, wiped_share (`plane.PlaneMeasures`),
        quantiser (mean QP of H.264's blocks), banding (`banding.banding`, grey levels), brightness and contrast (mean,
        and distance of the 5th and 95th percentiles, grey levels), white (below which 99.5 % of the pixels lie) and
        tones (from where 0.5 % lie to there), grey levels, burnt_share (of the highlights: what is clipped),
        freeze_share (of the time), freezes (how many), duplicate_share (of the frames), hold_s (how long the picture
        stands between two steps of its motion, s), flicker (grey levels by which brightness swings to and fro), jitter
        (change of camera displacement between looks, shares of the short side), bars (shares of the frame that are
        black bars: left, top, right, bottom, as coded),
        curves (`times_s`, sharpness, brightness, contrast, noise, blockiness, motion: lists of at most 256).
    """

    name = "picture_measures"

    def __init__(self) -> None:
        lanes = ("sharpness", "brightness", "contrast", "noise", "blockiness", "motion")
        self._curve = Curve(*lanes, "blur_px", "wiped", "banding")
        self._frames = 0
        self._planes = 0
        self._measured_s = 0.0
        self._sampled = 0
        self._size = (0, 0)
        self._light = Light()
        self._change = Change()
        self._camera = Camera()
        self._coarseness, self._coded = 0.0, 0

    def frame(self, view: View) -> None:
        """See one frame."""
        if view.small.size == 0:
            return
        time_s = view.time_s if math.isfinite(view.time_s) else 0.0
        self._frames += 1
        if self._frames % QUANTISER_EVERY == 1 and (quantiser := view.quantiser) is not None:
            self._coarseness, self._coded = self._coarseness + quantiser, self._coded + 1
        brightness, contrast = self._light.look(view.small)
        # A picture that stands says nothing of the hand that holds the camera.
        if self._change.look(view.small, time_s, brightness):
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
        measured = (plane.noise, plane.blockiness, motion, plane.blur_px, plane.wiped_share, banding(luma))
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
        for name in ("blur_px", "wiped", "banding"):
            del curves[name]
        return {
            "frames": self._frames,
            "width": self._size[0],
            "height": self._size[1],
            "blur_px": middle("blur_px"),
            "noise": middle("noise"),
            "blockiness": middle("blockiness"),
            "wiped_share": middle("wiped"),
            "banding": middle("banding"),
            "quantiser": round(self._coarseness / self._coded, 2) if self._coded else None,
            **self._light.result(),
            **self._change.result(),
            "jitter": self._camera.result(),
            "curves": curves,
        }
