"""Measures to scores: how good picture and sound are, part by part and in all.

Each part's score follows its measures along curves that turn once at most (`CURVES`). The score in all is decided by
the worst part: a part costs as much as its logarithm times its weight, and the costs are joined by a norm. So one grave
fault cannot be made good by the rest, what is ordinary about a picture hardly blurs how grave its fault is, and
whatever gets worse lowers the score. Curves, weights and norms were set on the `dev` half of `benchmarks.quality`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

CURVES: Mapping[str, tuple[tuple[float, ...], tuple[float, ...]]] = {
    # Gaussian blur of the sharper edges, px -> sharpness. 0.5 is a pixel-sharp edge, 0.9 a good encode's.
    "blur_px": (
        (0.3, 0.6, 0.9, 1.15, 1.5, 2.0, 3.0, 5.0, 9.0, 24.0),
        (1.0, 0.985, 0.94, 0.85, 0.7, 0.54, 0.35, 0.18, 0.07, 0.01),
    ),
    # Short side, px -> how much of a phone's screen that fills with detail.
    "short_side": (
        (16.0, 144.0, 240.0, 360.0, 480.0, 720.0, 1080.0, 2160.0),
        (0.3, 0.65, 0.82, 0.92, 0.96, 0.985, 0.995, 1.0),
    ),
    # What is left of the texture in the calmest parts, grey levels: strong compression wipes it away.
    "texture": ((0.0, 0.05, 0.12, 0.25, 0.45, 0.7), (0.82, 0.85, 0.89, 0.94, 0.98, 1.0)),
    # How coarsely H.264 quantised: phones and platforms write 20 to 30, and from 40 on everybody sees it.
    "quantiser": (
        (0.0, 24.0, 28.0, 32.0, 36.0, 40.0, 44.0, 48.0, 51.0),
        (1.0, 0.99, 0.95, 0.86, 0.72, 0.55, 0.36, 0.2, 0.1),
    ),
    # Where 99.5 % of the pixels are darker, grey levels -> exposure: a night has its lamps, an underexposed day not.
    "white": (
        (0.0, 20.0, 40.0, 60.0, 85.0, 115.0, 150.0, 190.0, 225.0, 255.0),
        (0.02, 0.08, 0.18, 0.32, 0.48, 0.64, 0.79, 0.92, 0.98, 1.0),
    ),
    # Mean luma, grey levels -> exposure.
    "brightness": (
        (0.0, 6.0, 14.0, 25.0, 200.0, 225.0, 240.0, 255.0),
        (0.05, 0.5, 0.9, 1.0, 1.0, 0.9, 0.7, 0.3),
    ),
    # Share of the highlights that are clipped -> exposure.
    "burnt_share": (
        (0.0, 0.2, 0.4, 0.6, 0.75, 0.88, 0.95, 1.0),
        (1.0, 0.98, 0.92, 0.8, 0.62, 0.42, 0.28, 0.1),
    ),
    # Between the 0.5th and the 99.5th percentile of luma, grey levels -> contrast.
    "tones": (
        (0.0, 15.0, 30.0, 50.0, 75.0, 105.0, 140.0, 180.0, 255.0),
        (0.02, 0.15, 0.27, 0.41, 0.57, 0.72, 0.86, 0.96, 1.0),
    ),
    # Height of the stairs that slopes have become, grey levels.
    "banding": (
        (0.0, 2.0, 5.0, 10.0, 18.0, 28.0, 55.0, 115.0, 255.0),
        (1.0, 0.96, 0.87, 0.74, 0.6, 0.47, 0.3, 0.14, 0.05),
    ),
    # How long the picture stands between two steps of its motion, s: 24 pictures a second are as good as all.
    "hold_s": (
        (0.0, 0.043, 0.07, 0.085, 0.125, 0.17, 0.24, 0.32, 0.5),
        (1.0, 1.0, 0.93, 0.86, 0.7, 0.58, 0.45, 0.36, 0.26),
    ),
    # Change of the camera's displacement, shares of the short side: what moves by itself is up to 0.02.
    "jitter": ((0.0, 0.004, 0.01, 0.02, 0.03, 0.05, 0.08, 0.2), (1.0, 0.99, 0.94, 0.8, 0.62, 0.4, 0.25, 0.08)),
    # Share of the frame that is black bars: a phone shows a wide film small.
    "bars": ((0.0, 0.1, 0.3, 0.5, 0.7), (1.0, 0.97, 0.87, 0.76, 0.64)),
    # Integrated loudness, LUFS. Platforms play at about -14.
    "loudness_lufs": (
        (-70.0, -50.0, -40.0, -32.0, -26.0, -18.0, -10.0, -7.0, -4.0, 0.0),
        (0.02, 0.2, 0.45, 0.72, 0.93, 1.0, 1.0, 0.94, 0.75, 0.4),
    ),
    # Share of the samples at the rail. A master made loud has up to 0.005, and is not heard as clipped.
    "rail_share": (
        (0.0, 0.001, 0.004, 0.01, 0.03, 0.08, 0.18, 0.35, 0.7),
        (1.0, 0.97, 0.89, 0.79, 0.62, 0.45, 0.31, 0.2, 0.1),
    ),
    # Highest frequency, Hz: 4 kHz a telephone, 8 kHz a voice call, 16 kHz as good as all.
    "bandwidth_hz": (
        (0.0, 1500.0, 2500.0, 4000.0, 6000.0, 8500.0, 12000.0, 16000.0, 20000.0, 48000.0),
        (0.05, 0.2, 0.33, 0.5, 0.68, 0.83, 0.94, 0.98, 0.995, 1.0),
    ),
    # Audible bands over their own floor, dB. Dense music has a high floor too.
    "clarity_db": (
        (0.0, 1.0, 2.0, 3.5, 5.5, 8.0, 12.0, 18.0, 40.0),
        (0.1, 0.25, 0.4, 0.58, 0.76, 0.88, 0.95, 0.98, 1.0),
    ),
    # The floor under the whole sound, dB, bands counted alike.
    "floor_db": (
        (-70.0, -50.0, -40.0, -34.0, -29.0, -24.0, -19.0, -14.0, -8.0),
        (1.0, 0.98, 0.94, 0.86, 0.73, 0.56, 0.38, 0.22, 0.1),
    ),
    # The sound's loudness over the mains' hum, dB.
    "over_hum_db": (
        (-5.0, 0.0, 5.0, 12.0, 18.0, 25.0, 32.0, 45.0),
        (0.1, 0.19, 0.32, 0.54, 0.72, 0.87, 0.95, 1.0),
    ),
    "dropouts_per_s": (
        (0.0, 0.25, 0.5, 1.0, 2.0, 4.0, 7.0, 12.0, 25.0),
        (1.0, 0.9, 0.8, 0.66, 0.5, 0.34, 0.23, 0.15, 0.08),
    ),
    # Kurtosis of loud short blocks, dB: 0 is a square wave, 1.8 a sine, speech and music lie above 3.
    "dynamics_db": (
        (0.0, 0.2, 0.5, 1.0, 1.8, 2.7, 3.4, 4.5, 10.0),
        (0.08, 0.19, 0.34, 0.53, 0.75, 0.9, 0.96, 0.985, 1.0),
    ),
}
"""Measure to score: the points of piecewise linear curves."""

HALF_BLOCKINESS = 1.0
"""Blockiness (`models.quality.plane`) at which the published amount is one half: about JPEG quality 12."""
WIPED_WEIGHT = 0.4
"""What a picture without any texture counts, in units of blockiness."""
SEEN_BESIDE_TOLD = 0.3
"""Power of what is seen of compression where the stream tells its quantiser."""
TEXTURE = 1.5
"""Below about this, what measures as noise is the texture of skin and cloth, grey levels."""
HALF_NOISE = 10.0
"""Noise at which the published amount is one half, standard deviation in grey levels."""
DARK_ALL_ROUND = 0.08
"""Bars both ways of more than this are none."""
FLICKER_SCALE = 0.08
"""Flicker, as a share of brightness, at which its score has fallen to 1/e."""

PICTURE_WEIGHTS: Mapping[str, float] = {
    "sharpness": 0.8,
    "blockiness": 0.9,
    "noise": 0.7,
    "exposure": 0.8,
    "contrast": 0.8,
    "banding": 0.5,
    "bars": 0.4,
    "stability": 0.5,
    "freeze_share": 0.7,
    "judder": 0.6,
    "flicker": 0.7,
}
SOUND_WEIGHTS: Mapping[str, float] = {
    "loudness": 0.35,
    "clipping": 0.8,
    "true_peak": 0.3,
    "bandwidth": 0.65,
    "noise": 1.0,
    "hum": 1.0,
    "dropouts": 0.9,
    "dynamics": 1.3,
}
WORST_SEEN, WORST_HEARD = 2.5, 1.25
"""Order of the norm that joins the parts: 1 is their product, and with infinity only the worst counts."""
LEAST = 0.001
"""A part's score is no less, so that the worst has an end."""
PICTURE_SHARE = 0.6
"""Weight of the picture in the score of both; the sound has the rest."""


def picture_parts(measures: Mapping[str, Any], still: bool = False) -> dict[str, float]:
    """The scores that make the picture's, by part, 1 best; empty without a picture."""
    if not measures.get("frames"):
        return {}
    brightness = number(measures, "brightness", 0.0)
    blur = measures.get("blur_px")
    short_side = min(number(measures, "width", 0.0), number(measures, "height", 0.0))
    noise = math.hypot(number(measures, "noise", 0.0), TEXTURE) - TEXTURE
    parts = {
        # A picture without one edge is as soft as can be.
        "sharpness": curve("blur_px", 24.0 if blur is None else float(blur)) * curve("short_side", short_side),
        "blockiness": _compression(measures),
        "noise": 1.0 / (1.0 + noise / HALF_NOISE),
        "exposure": curve("white", number(measures, "white", 255.0))
        * curve("brightness", brightness)
        * curve("burnt_share", number(measures, "burnt_share", 0.0)),
        "contrast": curve("tones", number(measures, "tones", 255.0)),
        "banding": curve("banding", number(measures, "banding", 0.0)),
        "bars": curve("bars", bars_share(measures)),
    }
    if still:
        return parts
    if measures.get("jitter") is not None:
        parts["stability"] = curve("jitter", number(measures, "jitter", 0.0))
    if measures.get("freeze_share") is not None:
        parts["freeze_share"] = 1.0 - min(1.0, number(measures, "freeze_share", 0.0))
    if measures.get("hold_s") is not None:
        parts["judder"] = curve("hold_s", number(measures, "hold_s", 0.0))
    if measures.get("flicker") is not None:
        parts["flicker"] = math.exp(-number(measures, "flicker", 0.0) / (brightness + 16.0) / FLICKER_SCALE)
    return parts


def _compression(measures: Mapping[str, Any]) -> float:
    """What a coder took: told by the stream where it is H.264, and seen in the picture, which may be a copy's copy."""
    blocks = number(measures, "blockiness", 0.0) + WIPED_WEIGHT * number(measures, "wiped_share", 0.0)
    seen = curve("texture", number(measures, "noise", 0.0)) / (1.0 + blocks / HALF_BLOCKINESS)
    if measures.get("quantiser") is None:
        return seen
    return float(curve("quantiser", number(measures, "quantiser", 0.0)) * seen**SEEN_BESIDE_TOLD)


def sound_parts(measures: Mapping[str, Any]) -> dict[str, float]:
    """The scores that make the sound's, by part, 1 best; empty where nothing is heard."""
    if measures.get("loudness_lufs") is None:
        return {}
    loudness = number(measures, "loudness_lufs", -70.0)
    clipped = max(number(measures, "rail_share", 0.0), number(measures, "clipping_share", 0.0))
    parts = {
        "loudness": curve("loudness_lufs", loudness),
        "clipping": curve("rail_share", clipped),
        # EBU R 128 allows -1 dBTP; what lies above full scale is cut off on a phone.
        "true_peak": 1.0 / (1.0 + max(0.0, number(measures, "true_peak_dbtp", -70.0)) / 6.0),
    }
    if measures.get("hum_db") is not None:
        parts["hum"] = curve("over_hum_db", loudness - number(measures, "hum_db", -120.0))
    if measures.get("clarity_db") is not None and measures.get("floor_db") is not None:
        # Steady music has a high floor, and rests of silence hide a low one: both have to agree.
        parts["noise"] = math.sqrt(
            curve("clarity_db", number(measures, "clarity_db", 0.0))
            * curve("floor_db", number(measures, "floor_db", 0.0))
        )
    for part, name in (
        ("bandwidth", "bandwidth_hz"),
        ("dropouts", "dropouts_per_s"),
        ("dynamics", "dynamics_db"),
    ):
        if measures.get(name) is not None:
            parts[part] = curve(name, number(measures, name, 0.0))
    return parts


def picture_score(parts: Mapping[str, float]) -> float:
    """The picture's score from its parts."""
    return _worst(parts, PICTURE_WEIGHTS, WORST_SEEN)


def sound_score(parts: Mapping[str, float]) -> float:
    """The sound's score from its parts; 0 where nothing is heard."""
    return _worst(parts, SOUND_WEIGHTS, WORST_HEARD) if parts else 0.0


def bars_share(measures: Mapping[str, Any]) -> float:
    """Share of the frame that black bars take, 0 to 1. Black on all four sides is a dark scene, not bars."""
    left, top, right, bottom = (float(bar) for bar in measures.get("bars") or (0.0,) * 4)
    beside, above = left + right, top + bottom
    return 0.0 if min(beside, above) > DARK_ALL_ROUND else min(1.0, max(0.0, beside, above))


def number(measures: Mapping[str, Any], name: str, unknown: float) -> float:
    """A measure that is a finite number, or `unknown`."""
    value = measures.get(name)
    return unknown if value is None or not math.isfinite(value) else float(value)


def curve(name: str, value: float) -> float:
    """The score of a value on one of `CURVES`."""
    points, scores = CURVES[name]
    return float(np.interp(value, points, scores))


def rounded(value: float) -> float:
    """A score as it is published: 0 to 1, four digits."""
    return round(min(1.0, max(0.0, value)), 4)


def _worst(parts: Mapping[str, float], weights: Mapping[str, float], order: float) -> float:
    """The worst part decides, and every other lowers the score a little: a norm of what each part costs."""
    costs = (weights[part] * -math.log(max(LEAST, score)) for part, score in parts.items())
    return rounded(math.exp(-(sum(cost**order for cost in costs) ** (1.0 / order))))
