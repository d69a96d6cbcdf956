"""One upload as one self-contained HTML page: key frames along a timeline, and a lane for each kind of tag.

No script, no outside resource: the page can be mailed, kept and opened anywhere. Everything that came from outside
(captions, titles, ids) is escaped by the template.
"""

from __future__ import annotations

import base64
import colorsys
import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import jinja2
import numpy as np

CURVE_WIDTH = 1000
CURVE_HEIGHT = 100
MAX_ROWS = 8
"""Rows drawn for topics and events each; what is left out is counted on the page."""
TICKS = 8

_environment = jinja2.Environment(
    loader=jinja2.PackageLoader("web"), autoescape=True, trim_blocks=True, lstrip_blocks=True
)


@dataclass(frozen=True)
class Bar:
    """One stretch of a row, in percent of the duration."""

    left: float
    width: float
    title: str


@dataclass(frozen=True)
class Row:
    """One named row of a lane."""

    name: str
    note: str
    colour: str
    bars: list[Bar]


@dataclass(frozen=True)
class Curve:
    """One measure over time, as an SVG path in a 1000 x 100 box."""

    name: str
    unit: str
    low: str
    high: str
    colour: str
    path: str


@dataclass(frozen=True)
class KeyFrame:
    """One picture on the timeline."""

    left: float
    time_s: float
    data: str


@dataclass(frozen=True)
class Page:
    """All that the template draws."""

    document: Mapping[str, Any]
    request: Mapping[str, Any]
    duration_s: float
    ticks: list[tuple[float, str]]
    keyframes: list[KeyFrame]
    lanes: list[tuple[str, list[Row], int]]
    curves: list[Curve]
    facts: list[tuple[str, str]]
    scores: list[tuple[str, float, str]]
    raw: str
    shots: list[float] = field(default_factory=list)


CURVES = {
    "curves/sound/momentary_lufs": ("loudness", "LUFS", "#d98324"),
    "curves/picture/sharpness": ("sharpness", "", "#3f7cac"),
    "curves/picture/brightness": ("brightness", "", "#a3912b"),
    "curves/picture/motion": ("motion", "", "#6a9a5b"),
}


def render(
    document: Mapping[str, Any],
    artifacts: Mapping[str, np.ndarray] | None = None,
    request: Mapping[str, Any] | None = None,
) -> str:
    """The page as HTML. `document` is a published `TagDocument`; `artifacts` are those of `tasks.artifacts`."""
    return _environment.get_template("report.html").render(page=_page(document, artifacts or {}, request or {}))


def _page(document: Mapping[str, Any], artifacts: Mapping[str, np.ndarray], request: Mapping[str, Any]) -> Page:
    duration = float(document["media"].get("duration_s") or 0.0)
    lanes = [
        ("topics", *_rows(document["topics"], "topic", duration)),
        ("sounds", *_sound_rows(document["sounds"], duration)),
        ("events", *_rows(document["events"], "event", duration)),
    ]
    if document.get("text"):
        lanes.append(("text", *_rows(document["text"], "text", duration)))
    speech = document.get("speech")
    if speech and speech["ranges"]:
        rows = [
            Row("speech", f"{speech['present']:.0%}", _colour("speech"), _bars(speech["ranges"], duration, "speech"))
        ]
        lanes.append(("speech", rows, 0))
    return Page(
        document=document,
        request=request,
        duration_s=duration,
        ticks=_ticks(duration),
        keyframes=_key_frames(artifacts, duration),
        lanes=[lane for lane in lanes if lane[1]],
        curves=_curves(artifacts, duration),
        facts=_facts(document),
        scores=_scores(document),
        raw=json.dumps(document, indent=2, ensure_ascii=False),
    )


def _rows(tags: Sequence[Mapping[str, Any]], key: str, duration: float) -> tuple[list[Row], int]:
    rows = [
        Row(
            name=str(tag[key]),
            note=f"{tag['score']:.2f}" + (f" · {', '.join(tag['from'])}" if tag.get("from") else ""),
            colour=_colour(str(tag[key]).split("/")[0]),
            bars=_bars(tag["ranges"] or [[0.0, duration]], duration, str(tag[key])),
        )
        for tag in tags[:MAX_ROWS]
    ]
    return rows, max(0, len(tags) - MAX_ROWS)


def _sound_rows(uses: Sequence[Mapping[str, Any]], duration: float) -> tuple[list[Row], int]:
    rows = []
    for use in uses[:MAX_ROWS]:
        speed = f" · x{use['speed']:.3f}" if abs(use["speed"] - 1) > 0.002 else ""
        rows.append(
            Row(
                name=use["title"] or use["sound_id"],
                note=f"{use['kind']} · {use['score']:.2f} · from {use['offset_s']:.1f} s{speed}",
                colour=_colour(use["sound_id"]),
                bars=_bars([use["range"]], duration, use["sound_id"]),
            )
        )
    return rows, max(0, len(uses) - MAX_ROWS)


def _bars(ranges: Sequence[Sequence[float]], duration: float, title: str) -> list[Bar]:
    return [Bar(*_span(start, end, duration), f"{title}: {start:.1f}-{end:.1f} s") for start, end in ranges]


def _span(start: float, end: float, duration: float) -> tuple[float, float]:
    """Left and width in percent; a still picture fills its lane."""
    if duration <= 0:
        return 0.0, 100.0
    left = min(100.0, max(0.0, 100.0 * start / duration))
    return left, min(100.0 - left, max(0.4, 100.0 * (end - start) / duration))


def _ticks(duration: float) -> list[tuple[float, str]]:
    if duration <= 0:
        return []
    step = 10 ** math.floor(math.log10(duration / TICKS)) if duration > 0 else 1.0
    step = next(step * factor for factor in (1, 2, 5, 10) if duration / (step * factor) <= TICKS)
    digits = max(0, -math.floor(math.log10(step)))
    return [(100.0 * i * step / duration, f"{i * step:.{digits}f} s") for i in range(int(duration / step + 1e-6) + 1)]


def _key_frames(artifacts: Mapping[str, np.ndarray], duration: float) -> list[KeyFrame]:
    times = artifacts.get("keyframes/times_s", np.zeros(0))
    count = len(times)
    return [
        KeyFrame(
            left=100.0 * index / count,
            time_s=float(time),
            data=base64.b64encode(artifacts[f"keyframes/{index:02d}"].tobytes()).decode(),
        )
        for index, time in enumerate(times)
    ]


def _curves(artifacts: Mapping[str, np.ndarray], duration: float) -> list[Curve]:
    curves = []
    for key, (name, unit, colour) in CURVES.items():
        values = artifacts.get(key)
        times = artifacts.get(key.rsplit("/", 1)[0] + "/times_s")
        if values is None or times is None or len(values) < 2 or len(values) != len(times) or duration <= 0:
            continue
        heard = np.isfinite(values)
        if heard.sum() < 2:
            continue
        low, high = float(values[heard].min()), float(values[heard].max())
        if unit == "LUFS":
            low = max(low, high - 40.0)  # what is 40 LU below the loudest is silence to a listener
        spread = (high - low) or 1.0
        points = [
            f"{CURVE_WIDTH * time / duration:.1f},{CURVE_HEIGHT * (1 - min(1.0, max(0.0, (value - low) / spread))):.1f}"
            for time, value in zip(times[heard], values[heard], strict=True)
        ]
        curves.append(Curve(name, unit, f"{low:.3g}", f"{high:.3g}", colour, "M" + " L".join(points)))
    return curves


def _facts(document: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Short lines under the title."""
    media, coverage, facts = document["media"], document["coverage"], []
    if video := media.get("video"):
        fps = f" · {video['fps']:.4g} fps" if video.get("fps") else ""
        facts.append(("picture", f"{video['width']} x {video['height']} {video['codec']}{fps}"))
    if audio := media.get("audio"):
        facts.append(("sound", f"{audio['codec']} · {audio['sample_rate'] / 1000:g} kHz · {audio['channels']} ch"))
    if coverage["frames_decoded"]:
        facts.append(
            (
                "seen",
                f"{coverage['frames_decoded']} frames, {coverage['frames_embedded']} of them by the networks, "
                f"{coverage['shots']} shots, {coverage['audio_s']:.1f} s of sound",
            )
        )
    if (layout := document.get("layout")) and layout["kind"]:
        bars = f", {layout['bars']}" if layout.get("bars") else ""
        facts.append(("layout", f"{layout['kind'].replace('_', ' ')} ({layout['score']:.2f}){bars}"))
    if people := document.get("people"):
        facts.append(("people", f"at most: persons {people['persons_max']}, faces {people['faces_max']}"))
    if editing := document.get("editing"):
        facts.append(("editing", f"{editing['cuts_per_minute']:.1f} cuts a minute"))
    if safety := document.get("safety"):
        facts.append(("not safe for work", f"{safety['nsfw']:.2f}"))
    if (music := document.get("music")) and music["present"] >= 0.5:
        tempo = f" · {music['tempo_bpm']:.0f} bpm" if music["tempo_bpm"] else ""
        facts.append(("music", f"{music['present']:.0%}{tempo}" + (f" · {music['key']}" if music["key"] else "")))
    if words := (document.get("quality") or {}).get("explanation"):
        facts.append(("quality", ", ".join(words)))
    if (sound := (document.get("quality") or {}).get("sound")) and sound["loudness_lufs"] is not None:
        peak = f", true peak {sound['true_peak_dbtp']:.1f} dBTP" if sound["true_peak_dbtp"] is not None else ""
        facts.append(("loudness", f"{sound['loudness_lufs']:.1f} LUFS{peak}"))
    return facts


def _scores(document: Mapping[str, Any]) -> list[tuple[str, float, str]]:
    """Quality as bars: name, 0 to 1, colour."""
    quality = document.get("quality")
    if not quality:
        return []
    scores = [("quality", quality["score"])]
    for part in ("picture", "sound"):
        if quality.get(part):
            scores.append((part, quality[part]["score"]))
    if quality.get("picture"):
        scores += [(name, quality["picture"][name]) for name in ("sharpness", "exposure", "stability")]
    return [(name, value, _traffic(value)) for name, value in scores if value is not None]


def _traffic(value: float) -> str:
    red, green, blue = colorsys.hls_to_rgb(value * 0.33, 0.42, 0.55)
    return f"#{round(red * 255):02x}{round(green * 255):02x}{round(blue * 255):02x}"


def _colour(name: str) -> str:
    """A steady colour for a name, dark enough for white text."""
    hue = hashlib.sha256(name.encode()).digest()[0] / 255
    red, green, blue = colorsys.hls_to_rgb(hue, 0.42, 0.5)
    return f"#{round(red * 255):02x}{round(green * 255):02x}{round(blue * 255):02x}"
