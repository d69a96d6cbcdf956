"""Small plots as SVG text: the same bytes from the same figures, readable on light and on dark."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any
from xml.sax.saxutils import escape

INK, FAINT, BLUE, ORANGE = "#777", "#bbb", "#3b76c4", "#d98326"
FONT = 'font-family="sans-serif" font-size="11"'


def reliability_plot(
    bins: Sequence[tuple[float, float, int]], side: int = 260, label: str = "score of the first topic"
) -> str:
    """Share right against mean score, one dot a bin; its area is the number of answers."""
    pad, total = 34, sum(n for _, _, n in bins) or 1
    parts = [
        f'<path d="M{pad},{side}V{pad / 2}M{pad},{side}H{side + pad}" stroke="{INK}" fill="none"/>',
        f'<path d="M{pad},{side}L{side + pad / 2},{pad / 2}" stroke="{FAINT}" stroke-dasharray="4 4"/>',
        _text(side / 2, side + 26, label),
        _text(6, 12, "share right", "start"),
    ]
    span = side - pad / 2
    for value in (0.0, 0.5, 1.0):
        parts.append(_text(pad + value * span, side + 13, f"{value:.1f}"))
        parts.append(_text(pad - 4, side - value * span + 4, f"{value:.1f}", "end"))
    for score, right, n in bins:
        x, y, radius = pad + score * span, side - right * span, 2 + 22 * (n / total) ** 0.5
        parts.append(
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}" fill="{BLUE}" fill-opacity="0.6">'
            f"<title>{n} answers: score {score:.2f}, right {right:.2f}</title></circle>"
        )
    return _svg(side + pad + 10, side + 32, parts)


def topics_plot(rows: Sequence[dict[str, Any]], width: int = 620) -> str:
    """Bars of precision and recall of each topic."""
    label, line = 190, 15
    span = width - label - 60
    parts = [_text(label, 10, "precision", "start", BLUE), _text(label + 70, 10, "recall", "start", ORANGE)]
    for number, row in enumerate(rows):
        y = 18 + number * line
        parts.append(_text(label - 6, y + 9, row["topic"], "end"))
        for key, colour, shift in (("precision", BLUE, 0), ("recall", ORANGE, 6)):
            if row[key] is not None:
                length = max(row[key] * span, 1)
                parts.append(f'<rect x="{label}" y="{y + shift}" width="{length:.1f}" height="5" fill="{colour}"/>')
        parts.append(_text(label + span + 6, y + 9, f"{row['said']} / {row['clips']}", "start"))
    return _svg(width, 24 + len(rows) * line, parts)


def curves_plot(
    series: Mapping[str, Sequence[tuple[float, float]]], across: str, up: str, width: int = 460, height: int = 260
) -> str:
    """Lines through points [(x, y)], by name; both axes begin at 0."""
    pad = 46
    most_x = max(x for points in series.values() for x, _ in points) * 1.05
    most_y = max(y for points in series.values() for _, y in points) * 1.05
    parts = [
        f'<path d="M{pad},10V{height - pad}H{width - 10}" stroke="{INK}" fill="none"/>',
        _text((pad + width) / 2, height - 6, across),
        _text(6, 10, up, "start"),
    ]
    span_x, span_y = width - 10 - pad, height - pad - 20

    def place(x: float, y: float) -> tuple[float, float]:
        return pad + span_x * x / most_x, height - pad - span_y * y / most_y

    parts += [_text(place(x, 0)[0], height - pad + 14, f"{x:g}") for x in _ticks(most_x)]
    parts += [_text(pad - 4, place(0, y)[1] + 4, f"{y:g}", "end") for y in _ticks(most_y)]
    for number, (name, points) in enumerate(series.items()):
        colour = (BLUE, ORANGE, INK)[number % 3]
        places = [place(x, y) for x, y in sorted(points)]
        line = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        parts.append(f'<polyline points="{line}" stroke="{colour}" stroke-width="2" fill="none"/>')
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in places]
        parts.append(_text(width - 12, height - pad - 12 - 14 * number, name, "end", colour))
    return _svg(width, height, parts)


def _ticks(most: float) -> list[float]:
    """Three to five round numbers up to `most`."""
    unit = 10.0 ** math.floor(math.log10(most))
    step = next(part * unit for part in (0.2, 0.25, 0.5, 1.0, 2.0) if most / (part * unit) < 6)
    return [round(step * number, 10) for number in range(1, int(most / step) + 1)]


def confusion_plot(counts: Mapping[tuple[str, str], int], cell: int = 24) -> str:
    """Truth by row, said by column; the darker, the greater the share of the row."""
    rows = sorted({truth for truth, _ in counts})
    columns = sorted({said for _, said in counts} | set(rows))
    left, top = 96, 96
    parts = [_text(left - 6, top - 8, "truth", "end"), _text(left, 12, "said first", "start")]
    for number, name in enumerate(columns):
        x, y = left + number * cell + cell / 2 + 4, top - 6
        parts.append(f'<g transform="rotate(-60 {x:.1f} {y})">{_text(x, y, name, "start")}</g>')
    for number, truth in enumerate(rows):
        y, total = top + number * cell, sum(n for (row, _), n in counts.items() if row == truth)
        parts.append(_text(left - 6, y + cell / 2 + 4, truth, "end"))
        for place, said in enumerate(columns):
            n = counts.get((truth, said), 0)
            x, colour = left + place * cell, BLUE if said == truth else ORANGE
            parts.append(
                f'<rect x="{x}" y="{y}" width="{cell - 1}" height="{cell - 1}" fill="{colour}" '
                f'fill-opacity="{0.05 + 0.8 * n / total:.2f}">'
                f"<title>{escape(truth)}, said {escape(said)}: {n}</title></rect>"
            )
            if n:
                light = "#fff" if n / total > 0.4 else INK  # readable on the dark cells too
                parts.append(_text(x + cell / 2, y + cell / 2 + 4, str(n), colour=light))
    return _svg(left + len(columns) * cell + 50, top + len(rows) * cell + 10, parts)


def _text(x: float, y: float, text: str, anchor: str = "middle", colour: str = INK) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}" {FONT}>{escape(text)}</text>'


def _svg(width: float, height: float, parts: Sequence[str]) -> str:
    body = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" '
        f'viewBox="0 0 {width:.0f} {height:.0f}">\n{body}\n</svg>\n'
    )
