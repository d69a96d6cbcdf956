"""From a topic's probability to a score that means something.

`calibration.toml` is written by `python -m benchmarks.topics_head`; it says by which method and on which data.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

FITTED = Path(__file__).with_name("calibration.toml")
SMALLEST = 1e-6
"""Least probability that takes part: nearer to 0 or 1 the logit says nothing more."""


@dataclass(frozen=True)
class Calibration:
    """Temperature on the classes (Guo et al. 2017), then each level's logistic curve on what is pooled (Platt 1999)."""

    encoder: str
    """`name@version` of the encoder that it was fitted on."""
    taxonomy: str
    """Version of the taxonomy that it was fitted with."""
    temperature: float
    """Of the class probabilities; above 1 they are made less sure."""
    slope: tuple[float, float]
    """Of the logistic curve, for the first and the second level."""
    offset: tuple[float, float]
    threshold: tuple[float, float]
    """Least score at which a topic of each level is said."""
    beside: float = 1.0
    """Least score at which a topic of the second level is said beside its parent, where that is sure; 1: never."""

    def cool(self, probabilities: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
        """Class probabilities [n, classes] at the fitted temperature; rows sum to 1."""
        logits = np.log(np.clip(np.asarray(probabilities, np.float64), 1e-12, None)) / self.temperature
        logits -= logits.max(axis=1, keepdims=True)
        powers = np.exp(logits)
        return np.asarray(powers / powers.sum(axis=1, keepdims=True))

    def scores(self, pooled: npt.NDArray[np.float64], second: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
        """Chance that a topic is right, from its pooled class probability.

        Args:
            pooled: [..., topics], in 0 to 1.
            second: [topics], True for a topic of the second level.
        """
        clipped = np.clip(pooled, SMALLEST, 1 - SMALLEST)
        logit = np.log(clipped / (1 - clipped))
        level = second.astype(np.intp)
        slope, offset = np.asarray(self.slope)[level], np.asarray(self.offset)[level]
        return np.asarray(1.0 / (1.0 + np.exp(-(slope * logit + offset))))


def load_calibration(path: Path = FITTED) -> Calibration:
    """Read a fitted calibration. A missing key or an impossible value is a bug, and raises."""
    with path.open("rb") as file:
        document = tomllib.load(file)
    first, second = document["first_level"], document["second_level"]
    calibration = Calibration(
        encoder=document["encoder"],
        taxonomy=document["taxonomy"],
        temperature=float(document["temperature"]),
        slope=(float(first["slope"]), float(second["slope"])),
        offset=(float(first["offset"]), float(second["offset"])),
        threshold=(float(first["threshold"]), float(second["threshold"])),
        beside=float(document["beside"]),
    )
    if calibration.temperature <= 0 or min(calibration.slope) <= 0 or not all(0 < t < 1 for t in calibration.threshold):
        raise ValueError(f"{path.name}: temperature and slopes must be positive, thresholds between 0 and 1")
    return calibration
