"""Which frames are kept for the encoders: evenly in time, at least one for each shot, bounded for any duration."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

EPSILON_S = 1e-6


@dataclass(frozen=True)
class Sample:
    """A kept frame."""

    time_s: float
    picture: npt.NDArray[np.uint8]
    """[height, width, 3] RGB."""


class FrameSampler:
    """Keeps frames at `rate_hz` until there are `cap`, then thins them out to half the rate, as often as needed.

    A declared duration is not asked for, so a lying one does no harm. The only sample of a shot outlives the thinning;
    for such samples there is room for as many again. Never more than `2 * cap` are held.
    """

    def __init__(self, rate_hz: float, cap: int) -> None:
        self._interval = 1.0 / rate_hz
        self._cap = cap
        self._room = cap
        self._next = 0.0
        self._shot_starts: list[float] = []
        self._shot_is_seen = False
        self.samples: list[Sample] = []

    def cut(self, time_s: float) -> None:
        """A new shot began at `time_s` (which may lie a few frames back)."""
        self._shot_starts.append(time_s)
        self._shot_is_seen = bool(self.samples) and self.samples[-1].time_s >= time_s - EPSILON_S

    def wants(self, time_s: float) -> bool:
        """Whether the frame at `time_s` is to be kept."""
        return not self.samples or not self._shot_is_seen or time_s >= self._next - EPSILON_S

    def keep(self, time_s: float, picture: npt.NDArray[np.uint8]) -> None:
        """Keep a frame that was wanted. Times must ascend."""
        due = self._next <= time_s + EPSILON_S < self._next + self._interval
        self._next = (self._next if due else time_s) + self._interval
        self._shot_is_seen = True
        self.samples.append(Sample(time_s, picture))
        if len(self.samples) > self._room:
            self._thin()

    def _thin(self) -> None:
        self._interval *= 2
        shots = [bisect_right(self._shot_starts, sample.time_s + EPSILON_S) for sample in self.samples]
        kept = _spaced(self.samples, shots, self._interval)
        if len(kept) > 2 * self._cap - self._cap // 2:
            # More shots than there is room for: their samples are thinned like all others.
            kept = kept[::2]
        self.samples = kept
        self._next = kept[-1].time_s + self._interval
        self._room = max(self._cap, min(2 * self._cap, len(kept) + self._cap // 2))


def _spaced(samples: Sequence[Sample], shots: Sequence[int], interval: float) -> list[Sample]:
    """The samples that are `interval` apart, and the first of each shot that would be left without one."""
    kept: list[Sample] = []
    last_shot = -1
    for sample, shot in zip(samples, shots, strict=True):
        if not kept or shot != last_shot or sample.time_s - kept[-1].time_s >= interval - EPSILON_S:
            kept.append(sample)
            last_shot = shot
    return kept
