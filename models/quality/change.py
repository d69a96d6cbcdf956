"""What changes from frame to frame: freezes, judder, flicker, motion. Seen in a small look at every frame."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

Plane = npt.NDArray[np.uint8]

FROZEN_MEAN = 0.255
"""Looks that differ by less are the same picture, grey levels: -60 dB of full scale, as in FFmpeg's freezedetect."""
FROZEN_STEP, FROZEN_SHARE = 8, 0.002
"""... unless more than this share of the pixels moved by more than this many grey levels: a mouth in a still room."""
MIN_FREEZE_S = 0.5
"""Shorter standstills are repeated frames (another rate's pull-down), not a freeze, s."""
MAX_GAP_S = 2.0
"""A longer time between two frames counts as this much, s."""
REFINED_MEAN = 1.0
REFINED_AFTER = 2
"""A coder mends a standing picture now and then: a lone change of less than `REFINED_MEAN` grey levels, with no pixel
that moved, between at least `REFINED_AFTER` frames that stand before it and one after, is no step."""
CUT_MEAN, CUT_OVER_STEPS = 25.0, 3.0
"""A change of so many grey levels that is so many times the steps before it is a cut: what stood before it stood, and
nothing jumped."""
STEP_OVER_HOLD = 4.0
"""A step after a hold is a jump only if it is this many times what moved in the hold: else little moved at all."""


class Change:
    """Differences of consecutive looks, with nothing kept but sums."""

    def __init__(self) -> None:
        self._previous: Plane | None = None
        self._time_s = 0.0
        self._total_s = self._frozen_s = self._run_s = 0.0
        self._run_frames = self._repeated = self._pairs = self._freezes = 0
        self._run_motion = 0.0
        self._since_refined = 0
        self._pending: tuple[float, float] | None = None
        self._hold, self._steps, self._stepped = 0.0, 0.0, 0
        self._brightness = self._swing = 0.0
        self._flicker = 0.0
        self._motion, self._motion_pairs = 0.0, 0

    def look(self, small: Plane, time_s: float, brightness: float) -> bool:
        """See one look [h, w] of this mean brightness. Whether the picture has moved since the last one."""
        previous, self._previous = self._previous, small.copy()
        elapsed, self._time_s = min(max(0.0, time_s - self._time_s), MAX_GAP_S), time_s
        swing, self._brightness = brightness - self._brightness, brightness
        if previous is None or previous.shape != small.shape:
            self._swing = 0.0
            return True
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
        moving = int(np.count_nonzero(difference > FROZEN_STEP)) if mean > 0.0 else 0
        return self._judge(mean, elapsed, moving > FROZEN_SHARE * difference.size, moving == 0)

    def _judge(self, mean: float, elapsed: float, stepped: bool, smooth: bool) -> bool:
        """Take a difference: the picture stands, is being mended by its coder, or moved. Whether it moved."""
        pending, self._pending = self._pending, None
        stands = mean < FROZEN_MEAN and not stepped
        if pending is not None:
            if stands:
                self._stand(*pending)
                self._since_refined = 0
            else:
                self._move(*pending)
        if stands:
            self._stand(mean, elapsed)
        elif smooth and mean < REFINED_MEAN and self._since_refined >= REFINED_AFTER:
            self._pending = (mean, elapsed)
        else:
            self._move(mean, elapsed)
            return True
        return False

    def _stand(self, mean: float, elapsed: float) -> None:
        self._run_s += elapsed
        self._run_frames += 1
        self._since_refined += 1
        self._run_motion += mean

    def _move(self, mean: float, elapsed: float) -> None:
        self._step(mean, elapsed)
        self._end_run()

    def _step(self, mean: float, elapsed: float) -> None:
        """How long the picture had stood before this step, weighted by the step: a jump after a hold is judder."""
        if mean > CUT_MEAN and mean * self._stepped > CUT_OVER_STEPS * self._steps:
            return
        held = elapsed
        if self._run_frames and mean > STEP_OVER_HOLD * self._run_motion / self._run_frames:
            held += min(self._run_s, MIN_FREEZE_S)
        self._hold += mean * held
        self._steps += mean
        self._stepped += 1

    def _end_run(self) -> None:
        if self._run_s >= MIN_FREEZE_S:
            self._frozen_s += self._run_s
            self._freezes += 1
        else:
            self._repeated += self._run_frames
        self._run_s, self._run_frames, self._run_motion, self._since_refined = 0.0, 0, 0.0, 0

    def motion_since_last(self) -> float | None:
        """Mean change of the looks since the last call, grey levels."""
        motion = self._motion / self._motion_pairs if self._motion_pairs else None
        self._motion, self._motion_pairs = 0.0, 0
        return motion

    def result(self) -> dict[str, Any]:
        """`freeze_share`, `freezes`, `duplicate_share`, `flicker`, `hold_s`: see `PictureMeasures`."""
        if self._pending is not None:
            self._stand(*self._pending)
            self._pending = None
        self._end_run()
        if not self._pairs:
            return {"freeze_share": None, "freezes": 0, "duplicate_share": None, "flicker": None, "hold_s": None}
        return {
            "freeze_share": round(min(1.0, self._frozen_s / self._total_s), 4) if self._total_s > 0.0 else None,
            "freezes": self._freezes,
            "duplicate_share": round(self._repeated / self._pairs, 4),
            "flicker": round(self._flicker / self._pairs, 4),
            "hold_s": round(self._hold / self._steps, 4) if self._steps > 0.0 else None,
        }
