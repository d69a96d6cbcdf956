"""From logits to scores that mean something, and to thresholds: for each label, on the validation split."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize

PRIOR = 1.0
"""How hard few examples are pulled to the plain curve: as if by so many squared units of slope and offset."""
LEAST_THRESHOLD, MOST_THRESHOLD = 0.2, 0.9
STEPS = 141
"""Thresholds tried."""

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Curve:
    """A label's logistic curve on the logit, and the least score at which it is said."""

    slope: float
    offset: float
    threshold: float

    def score(self, logits: Floats) -> Floats:
        """Calibrated scores."""
        return np.asarray(1.0 / (1.0 + np.exp(-np.clip(self.slope * logits + self.offset, -30, 30))))


def calibrate(logits: Floats, values: Floats, weights: Floats, positive_weight: float) -> Curve:
    """Fit one label's curve by Platt's method (1999), pulled to the plain curve where examples are few.

    Args:
        logits: [n] of the validation split.
        values: [n] in 0 to 1.
        weights: [n]; 0: not judged.
        positive_weight: what a positive counted in training: the plain curve takes that back.
    """
    known = weights > 0
    logits, values, weights = logits[known], values[known], weights[known]
    plain = np.array([1.0, -np.log(positive_weight)])
    positive, negative = float((values * weights).sum()), float(((1 - values) * weights).sum())
    # Platt's own smoothing: no example is quite sure.
    high, low = (positive + 1) / (positive + 2), 1 / (negative + 2)
    smooth = low + values * (high - low)

    def loss(parameters: Floats) -> float:
        seen = np.clip(parameters[0] * logits + parameters[1], -30, 30)
        each = np.logaddexp(0, seen) - smooth * seen
        return float((weights * each).sum() + PRIOR * np.square(parameters - plain).sum())

    found = minimize(loss, plain, method="L-BFGS-B", bounds=[(0.05, 20.0), (-20.0, 20.0)]).x
    curve = Curve(float(found[0]), float(found[1]), 0.5)
    return Curve(curve.slope, curve.offset, threshold(curve.score(logits), values, weights))


def threshold(scores: Floats, values: Floats, weights: Floats) -> float:
    """The threshold with the best F1 (a graded value counts as present from one half); the middle where many are."""
    present = values >= 0.5
    tried = np.linspace(LEAST_THRESHOLD, MOST_THRESHOLD, STEPS)
    said = scores[None, :] >= tried[:, None]
    hits = (said * present * weights).sum(axis=1)
    wrong = (said * ~present * weights).sum(axis=1)
    missed = (~said * present * weights).sum(axis=1)
    f1 = 2 * hits / np.maximum(2 * hits + wrong + missed, 1e-9)
    best = tried[f1 >= f1.max() - 1e-9]
    return round(float(np.median(best)), 4)
