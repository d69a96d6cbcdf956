"""A measured curve that stays short however long the upload is."""

from __future__ import annotations

import math

MAX_POINTS = 256
"""Points kept at most."""


class Curve:
    """Named values over time, decimated by averaging neighbours once `MAX_POINTS` are reached.

    A value that is None or not finite counts as unknown and takes no part in the averages.
    """

    def __init__(self, *names: str, max_points: int = MAX_POINTS) -> None:
        self._names = names
        self._max_points = max(2, max_points // 2 * 2)
        self._stride = 1
        self._times: list[float] = []
        self._rows: list[list[tuple[float, int]]] = []
        """Per point and name: sum and count."""
        self._open = 0
        """Values that the last point already holds."""

    def add(self, time_s: float, *values: float | None) -> None:
        """Add one moment; `values` in the order of the names."""
        cells = [(float(v), 1) if v is not None and math.isfinite(v) else (0.0, 0) for v in values]
        if self._open and self._open < self._stride:
            self._rows[-1] = [(a + b, n + m) for (a, n), (b, m) in zip(self._rows[-1], cells, strict=True)]
            self._open += 1
            return
        if len(self._times) == self._max_points:
            self._times = self._times[::2]
            pairs = zip(self._rows[::2], self._rows[1::2], strict=True)
            self._rows = [[(a + b, n + m) for (a, n), (b, m) in zip(left, right, strict=True)] for left, right in pairs]
            self._stride *= 2
        self._times.append(float(time_s) if math.isfinite(time_s) else 0.0)
        self._rows.append(cells)
        self._open = 1

    def known(self, name: str) -> list[float]:
        """The points at which `name` is known."""
        index = self._names.index(name)
        return [row[index][0] / row[index][1] for row in self._rows if row[index][1]]

    def points(self, digits: int = 4) -> dict[str, list[float]]:
        """`times_s` and one list for each name, all as long; where a value is unknown: 0."""
        curves = {"times_s": [round(time_s, 3) for time_s in self._times]}
        for index, name in enumerate(self._names):
            cells = (row[index] for row in self._rows)
            curves[name] = [round(total / count, digits) if count else 0.0 for total, count in cells]
        return curves
