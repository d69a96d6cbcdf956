"""Score against level, a small plot for each kind of damage, as SVG text: the same bytes from the same figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from xml.sax.saxutils import escape

import numpy as np

from .plots import BLUE, FAINT, INK, ORANGE, _svg, _text

WIDE, HIGH = 150, 96
"""Of one small plot's axes, px."""
GAP_X, GAP_Y = 34, 46
COLUMNS = 4


def curves_plot(curves: Mapping[str, Mapping[str, Sequence[float]]], part: str) -> str:
    """By damage and source, scores at levels 0 (undamaged) to 6: a thin line a source, a thick one for their median."""
    parts = [_text(GAP_X, 14, f"{part} score against level of damage; thin: a source, thick: their median", "start")]
    rows = -(-len(curves) // COLUMNS)
    for number, (fault, by_source) in enumerate(curves.items()):
        left = GAP_X + (number % COLUMNS) * (WIDE + GAP_X)
        top = 44 + (number // COLUMNS) * (HIGH + GAP_Y)
        parts.append(_text(left + WIDE / 2, top - 6, fault))
        parts.append(f'<path d="M{left},{top}V{top + HIGH}H{left + WIDE}" stroke="{INK}" fill="none"/>')
        parts.append(f'<path d="M{left},{top + HIGH / 2}h{WIDE}" stroke="{FAINT}" stroke-dasharray="3 4"/>')
        for value in (0.0, 0.5, 1.0):
            parts.append(_text(left - 4, top + HIGH * (1 - value) + 4, f"{value:g}", "end"))
        lines = list(by_source.values())
        levels = len(lines[0])
        for level in range(levels):
            parts.append(_text(left + _x(level, levels), top + HIGH + 13, str(level)))
        for source, line in by_source.items():
            parts.append(
                f'<path d="{_path(line, left, top)}" stroke="{BLUE}" stroke-opacity="0.35" fill="none">'
                f"<title>{escape(source)}</title></path>"
            )
        middle = np.median(np.array(lines), axis=0).tolist()
        parts.append(f'<path d="{_path(middle, left, top)}" stroke="{ORANGE}" stroke-width="2.5" fill="none"/>')
    return _svg(GAP_X + COLUMNS * (WIDE + GAP_X), 44 + rows * (HIGH + GAP_Y), parts)


def _x(level: int, levels: int) -> float:
    return WIDE * level / (levels - 1)


def _path(line: Sequence[float], left: float, top: float) -> str:
    points = (f"{left + _x(n, len(line)):.1f},{top + HIGH * (1 - value):.1f}" for n, value in enumerate(line))
    return "M" + "L".join(points)
