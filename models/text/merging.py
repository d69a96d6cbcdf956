"""Lines that were read at several moments, joined into one with the ranges where it stands."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from difflib import SequenceMatcher

from ..protocol import TextLine

ALIKE = 0.8
"""Share of two readings that must agree for them to be the same line."""
NEAR = 0.12
"""How far a line may move between two moments and be the same although it is read a little differently, share of the
frame."""
MAX_LINES = 64
"""Lines of one upload that are told of, the surest first."""

Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Reading:
    """One line at one moment. `text` is clean."""

    text: str
    score: float
    box: Box
    moment: int


@dataclass
class _Joined:
    readings: list[Reading] = field(default_factory=list)

    def takes(self, reading: Reading) -> bool:
        last = self.readings[-1]
        if last.moment == reading.moment:
            return False
        before, now = last.text.casefold(), reading.text.casefold()
        if before == now:
            return True
        if abs(len(before) - len(now)) > (1 - ALIKE) * max(len(before), len(now)) + 1:
            return False
        near = max(abs(one - other) for one, other in zip(last.box, reading.box, strict=True)) <= NEAR
        return near and SequenceMatcher(None, before, now, autojunk=False).ratio() >= ALIKE


def join(readings: Sequence[Reading], edges: Sequence[float]) -> tuple[TextLine, ...]:
    """Lines in the order of their first range. `edges` [moments + 1]: where each moment begins and the last ends, s."""
    lines: list[_Joined] = []
    for reading in sorted(readings, key=lambda one: (one.moment, one.box[1], one.box[0], one.text)):
        line = next((one for one in lines if one.takes(reading)), None)
        if line is None:
            lines.append(_Joined([reading]))
        else:
            line.readings.append(reading)
    told = [_line(line.readings, edges) for line in lines]
    told = sorted(told, key=lambda line: (-line.score, line.text))[:MAX_LINES]
    return tuple(sorted(told, key=lambda line: (line.ranges[0], line.box[1], line.box[0], line.text)))


def _line(readings: Sequence[Reading], edges: Sequence[float]) -> TextLine:
    best = max(readings, key=lambda one: one.score)
    ranges: list[tuple[float, float]] = []
    last = -2
    for moment in sorted(one.moment for one in readings):
        start, end = round(float(edges[moment]), 3), round(float(edges[moment + 1]), 3)
        if moment == last + 1:
            ranges[-1] = (ranges[-1][0], end)
        else:
            ranges.append((start, end))
        last = moment
    return TextLine(best.text, round(min(1.0, best.score), 4), tuple(ranges), best.box)
