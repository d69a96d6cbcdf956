"""From the network's score of a class to the chance that a person calls it right.

`event_calibration.toml` is written by `python -m benchmarks.hearing --fit`; it says by which method and on which data.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from .audioset import SILENCE, class_names
from .ontology import breadths

FITTED = Path(__file__).with_name("event_calibration.toml")
SMALLEST = 1e-6
"""Least score that takes part: nearer to 0 or 1 the logit says nothing more."""

HELD_PATCHES = 4
"""Patches over which a class has to hold, about 2 s: so many of the sound's, that a long sound is no disadvantage."""

Scores = npt.NDArray[np.floating]


@dataclass(frozen=True)
class EventCalibration:
    """A logistic curve (Platt 1999) on four things: the class's logit, how far it is behind the strongest class's, how
    broad the class is, and how well it holds beyond its best patch: what one patch alone hears is mostly a mistake.
    Wide classes ("Animal") are right more often than narrow ones at the same score."""

    encoder: str
    """`name@version` of the encoder that it was fitted on."""
    logit: float
    behind: float
    breadth: float
    held: float
    offset: float
    first: float
    """Least chance at which an event is among the first ones told (`events.FIRST`)."""
    further: float
    """Least chance at which an event is told behind those."""

    def features(self, scores: Scores) -> npt.NDArray[np.float64]:
        """[521, 4] of the scores [patches, 521] of one upload; at least one patch."""
        best = np.sort(np.asarray(scores, np.float64), axis=0)[-HELD_PATCHES:]
        logits, held = _logits(best[-1]), _logits(best.mean(axis=0))
        sounding = np.delete(logits, class_names().index(SILENCE))
        return np.stack(
            (logits, logits - sounding.max(), np.log1p(np.array(breadths(), np.float64)), held - logits), axis=1
        )

    def __call__(self, scores: Scores) -> npt.NDArray[np.float64]:
        """Chances [521] from the scores [patches, 521] of one upload."""
        weighted = self.features(scores) @ np.array((self.logit, self.behind, self.breadth, self.held)) + self.offset
        return np.asarray(0.5 * (1.0 + np.tanh(0.5 * weighted)))


@lru_cache(maxsize=4)
def load_event_calibration(path: Path = FITTED) -> EventCalibration:
    """Read a fitted calibration. A missing key or an impossible value is a bug, and raises."""
    with path.open("rb") as file:
        document = tomllib.load(file)
    curve, least = document["curve"], document["least"]
    told = EventCalibration(
        encoder=document["encoder"],
        **{name: float(curve[name]) for name in ("logit", "behind", "breadth", "held", "offset")},
        first=float(least["first"]),
        further=float(least["further"]),
    )
    if told.logit <= 0 or told.behind < 0 or not 0 < told.first <= told.further < 1:
        raise ValueError(f"{path.name}: slopes must not be negative, and 0 < first <= further < 1")
    return told


def _logits(scores: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    clipped = np.clip(scores, SMALLEST, 1 - SMALLEST)
    return np.asarray(np.log(clipped / (1 - clipped)))
