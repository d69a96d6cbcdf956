"""Scores in plain words: what is wrong, worst first, with the figure that says so."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from models.quality.scores import bars_share, curve, number

SOFT_FACTOR = 1.7
"""Edges are this many times as wide, in px, as the detail that the picture could hold without them."""
UPSCALED_BELOW = 0.5
"""Detail of less than this share of the lines: enlarged, or out of focus by as much."""

Words = Callable[[Mapping[str, Any]], str]


def detail_lines(measures: Mapping[str, Any]) -> int | None:
    """Short side of the smallest picture that could hold as much detail, px; None without a picture."""
    short_side = min(number(measures, "width", 0.0), number(measures, "height", 0.0))
    if short_side <= 0.0:
        return None
    blur = measures.get("blur_px")
    factor = SOFT_FACTOR * (24.0 if blur is None else float(blur))
    return max(1, round(short_side / max(1.0, factor)))


def _soft(measures: Mapping[str, Any]) -> str:
    short_side = min(number(measures, "width", 0.0), number(measures, "height", 0.0))
    lines = detail_lines(measures) or 0
    if measures.get("blur_px") is not None and lines < UPSCALED_BELOW * short_side:
        return f"soft focus or upscaled, detail of {lines} lines"
    return (
        "soft focus" if measures.get("blur_px") is None or number(measures, "blur_px", 0.0) > 1.2 else "small picture"
    )


def _light(measures: Mapping[str, Any]) -> str:
    burnt = curve("burnt_share", number(measures, "burnt_share", 0.0))
    return "too bright" if burnt < curve("white", number(measures, "white", 255.0)) else "too dark"


def _loudness(measures: Mapping[str, Any]) -> str:
    lufs = number(measures, "loudness_lufs", -70.0)
    return f"too {'quiet' if lufs < -14.0 else 'loud'}, {lufs:.0f} LUFS"


def _bandwidth(measures: Mapping[str, Any]) -> str:
    hertz = number(measures, "bandwidth_hz", 0.0)
    return (
        f"muffled sound, nothing above {hertz / 1000:.1f} kHz" if hertz < 2_000.0 else f"{hertz / 1000:.0f} kHz sound"
    )


def _judder(measures: Mapping[str, Any]) -> str:
    hold = number(measures, "hold_s", 0.0)
    return f"judders, {1.0 / hold:.0f} pictures a second" if hold > 0.0 else "judders"


PLAIN_WORDS: Mapping[str, tuple[float, Words]] = {
    "sharpness": (0.55, _soft),
    "blockiness": (0.68, lambda _: "compression blocks"),
    "noise": (0.6, lambda _: "noisy picture"),
    "exposure": (0.5, _light),
    "contrast": (0.6, lambda _: "low contrast"),
    "banding": (0.6, lambda _: "banding"),
    "bars": (0.9, lambda measures: f"black bars on {bars_share(measures):.0%} of the picture"),
    "stability": (0.6, lambda _: "shaky"),
    "freeze_share": (
        0.75,
        lambda measures: f"stands still for {number(measures, 'freeze_share', 0.0):.0%} of the time",
    ),
    "judder": (0.75, _judder),
    "flicker": (0.65, lambda _: "flickers"),
    "loudness": (0.7, _loudness),
    "clipping": (0.65, lambda _: "clipped sound"),
    "bandwidth": (0.75, _bandwidth),
    "noise_of_sound": (0.5, lambda _: "noisy sound"),
    "hum": (0.8, lambda _: "mains hum"),
    "dropouts": (0.7, lambda measures: f"{number(measures, 'dropouts_per_s', 0.0):.1f} dropouts a second"),
    "dynamics": (0.6, lambda _: "crushed dynamics"),
    "speech": (0.3, lambda _: "speech that is hard to listen to"),
}
"""Part to the score below which it is named, and how."""


def picture_words(parts: Mapping[str, float], measures: Mapping[str, Any]) -> list[tuple[float, str]]:
    """How far below its limit each part lies that is named, and the words."""
    return _named({name: (name, score) for name, score in parts.items()}, measures)


def sound_words(parts: Mapping[str, float], measures: Mapping[str, Any]) -> list[tuple[float, str]]:
    """As `picture_words`."""
    return _named(
        {name: ("noise_of_sound" if name == "noise" else name, score) for name, score in parts.items()}, measures
    )


def in_order(named: list[tuple[float, str]]) -> list[str]:
    """The words, worst first."""
    return [words for _, words in sorted(named)]


def _named(parts: Mapping[str, tuple[str, float]], measures: Mapping[str, Any]) -> list[tuple[float, str]]:
    found = []
    for key, score in parts.values():
        if key in PLAIN_WORDS and score < PLAIN_WORDS[key][0]:
            limit, words = PLAIN_WORDS[key]
            found.append((round(score / limit, 6), words(measures)))
    return found
