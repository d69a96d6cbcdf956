"""Measures to scores: how good picture and sound are.

Each score follows one measure along a published curve that never turns (`CURVES`), and a part's score is the product of
its scores, each to the power of its weight: one grave fault cannot be made good by the rest, and whatever gets worse
lowers the score. The measures are made by `PictureMeasures` and `SoundMeasures` in the decoder's pass.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from models.layout.tagger import STILL_SHARE, standing_share
from models.protocol import Evidence

PICTURE, SOUND = "picture_measures", "sound_measures"

CURVES: Mapping[str, tuple[tuple[float, ...], tuple[float, ...]]] = {
    # Gaussian blur of the sharper edges, px -> sharpness. 0.5 is a pixel-sharp edge, 0.9 a good encode's.
    "blur_px": (
        (0.3, 0.55, 0.9, 1.3, 2.0, 3.0, 5.0, 9.0, 24.0),
        (1.0, 0.97, 0.88, 0.72, 0.52, 0.35, 0.18, 0.07, 0.01),
    ),
    # Short side, px -> how much of a phone's screen that fills with detail.
    "short_side": (
        (16.0, 144.0, 240.0, 360.0, 480.0, 720.0, 1080.0, 2160.0),
        (0.3, 0.6, 0.75, 0.85, 0.92, 0.97, 0.99, 1.0),
    ),
    # Mean luma, grey levels -> exposure.
    "brightness": (
        (0.0, 10.0, 25.0, 45.0, 75.0, 105.0, 140.0, 175.0, 205.0, 230.0, 255.0),
        (0.0, 0.1, 0.3, 0.58, 0.88, 1.0, 0.98, 0.86, 0.62, 0.33, 0.05),
    ),
    # Between the 5th and 95th percentile of luma, grey levels -> contrast.
    "contrast": (
        (0.0, 15.0, 40.0, 80.0, 130.0, 190.0, 255.0),
        (0.02, 0.25, 0.55, 0.82, 0.95, 0.99, 1.0),
    ),
    # Integrated loudness, LUFS. Platforms play at about -14.
    "loudness_lufs": (
        (-70.0, -50.0, -40.0, -32.0, -24.0, -16.0, -12.0, -8.0, -4.0, 0.0),
        (0.02, 0.2, 0.45, 0.7, 0.92, 1.0, 1.0, 0.92, 0.7, 0.4),
    ),
    # Highest frequency, Hz: 4 kHz a telephone, 8 kHz a voice call, 16 kHz as good as all.
    "bandwidth_hz": (
        (0.0, 2_000.0, 4_000.0, 7_000.0, 11_000.0, 15_000.0, 20_000.0, 48_000.0),
        (0.05, 0.25, 0.45, 0.68, 0.87, 0.96, 0.99, 1.0),
    ),
    # Sound over its own floor, dB. Steady music has a high floor too, so the curve is gentle above 5 dB.
    "snr_db": (
        (-10.0, -3.0, 3.0, 8.0, 15.0, 25.0, 40.0, 60.0),
        (0.12, 0.35, 0.6, 0.78, 0.9, 0.96, 0.99, 1.0),
    ),
}
"""Measure to score: the points of piecewise linear curves."""

HALF_BLOCKINESS = 1.0
"""Blockiness (`models.quality.plane`) at which the published amount is one half: about JPEG quality 12."""
WIPED_WEIGHT = 0.7
"""What a picture without any texture counts, in units of blockiness."""
TEXTURE = 1.5
"""Below about this, what measures as noise is the texture of skin and cloth, grey levels."""
HALF_NOISE = 10.0
"""Noise at which the published amount is one half, standard deviation in grey levels."""
JITTER_SCALE = 0.03
"""Jitter at which stability has fallen to 1/e, shares of the short side."""
FLICKER_SCALE = 0.08
"""Flicker, as a share of brightness, at which its score has fallen to 1/e."""
CLIPPING_SCALE = 0.02
"""Clipped share of the samples at which its score has fallen to one half."""

PICTURE_WEIGHTS: Mapping[str, float] = {
    "sharpness": 0.8,
    "blockiness": 0.9,
    "noise": 0.7,
    "exposure": 0.8,
    "stability": 0.35,
    "freeze_share": 0.5,
    "flicker": 0.6,
}
SOUND_WEIGHTS: Mapping[str, float] = {"loudness": 0.4, "clipping": 0.8, "bandwidth": 0.6, "snr": 0.6, "true_peak": 0.3}
PICTURE_SHARE = 0.6
"""Weight of the picture in the score of both; the sound has the rest."""

PLAIN_WORDS: Mapping[str, tuple[float, str]] = {
    "sharpness": (0.55, "soft focus"), "blockiness": (0.65, "compression blocks"), "noise": (0.6, "noisy picture"),
    "exposure": (0.5, "badly exposed"), "stability": (0.45, "shaky"), "freeze_share": (0.7, "picture stands still"),
    "flicker": (0.6, "flickers"), "loudness": (0.55, "too quiet or too loud"), "clipping": (0.6, "clipped sound"),
    "bandwidth": (0.7, "muffled sound"), "snr": (0.6, "noisy sound"),
}  # fmt: skip
"""Part to the score below which it is named, and how."""


class QualityTagger:
    """The document's `quality`. Reads the two observers' measures, and nothing else."""

    name = "quality"
    section = "quality"
    version = "measures@1"
    encoders: tuple[str, ...] = ()

    def tag(self, evidence: Evidence) -> dict[str, Any] | None:
        """The section; None where there is neither picture nor sound to judge.

        `picture.sharpness`, `exposure`, `stability` and every `score`: 1 is best. `picture.blockiness`, `noise` and
        `freeze_share` and `sound.clipping_share` are amounts: 0 is none. A silent track has a sound of score 0 that
        takes no part in the whole.
        """
        # Slides stand still on purpose: they are judged as the pictures that they are.
        slides = standing_share(evidence) >= STILL_SHARE
        picture = picture_quality(measures_of(evidence, PICTURE), still=slides)
        sound = sound_quality(measures_of(evidence, SOUND)) if evidence.has_audio else None
        heard = sound if sound is not None and sound["loudness_lufs"] is not None else None
        if picture is None and sound is None:
            return None
        if picture is not None and heard is not None:
            score = picture["score"] ** PICTURE_SHARE * heard["score"] ** (1.0 - PICTURE_SHARE)
        else:
            score = (picture or sound or {})["score"]
        return {"score": _score(score), "picture": picture, "sound": sound}


def picture_quality(measures: Mapping[str, Any], still: bool = False) -> dict[str, Any] | None:
    """`PictureQuality` of the contract from the measures of `PictureMeasures`; None without a picture."""
    parts = picture_parts(measures, still)
    if not parts:
        return None
    moving = not still
    return {
        "score": _product(parts, PICTURE_WEIGHTS),
        "sharpness": _score(parts["sharpness"]),
        "blockiness": _score(1.0 - parts["blockiness"]),
        "noise": _score(1.0 - parts["noise"]),
        "exposure": _score(parts["exposure"]),
        "stability": _score(parts["stability"]) if "stability" in parts and moving else None,
        "freeze_share": _score(1.0 - parts["freeze_share"]) if "freeze_share" in parts and moving else None,
    }


def picture_parts(measures: Mapping[str, Any], still: bool = False) -> dict[str, float]:
    """The scores that make the picture's, by part, 1 best; empty without a picture."""
    if not measures.get("frames"):
        return {}
    brightness = _number(measures, "brightness", 0.0)
    clipped = _number(measures, "bright_share", 0.0) + 0.5 * _number(measures, "dark_share", 0.0)
    blur = measures.get("blur_px")
    short_side = min(_number(measures, "width", 0.0), _number(measures, "height", 0.0))
    blocks = _number(measures, "blockiness", 0.0) + WIPED_WEIGHT * _number(measures, "wiped_share", 0.0)
    noise = math.hypot(_number(measures, "noise", 0.0), TEXTURE) - TEXTURE
    parts = {
        # A picture without one edge is as soft as can be.
        "sharpness": _curve("blur_px", 24.0 if blur is None else float(blur)) * _curve("short_side", short_side),
        "blockiness": 1.0 / (1.0 + blocks / HALF_BLOCKINESS),
        "noise": 1.0 / (1.0 + noise / HALF_NOISE),
        "exposure": _curve("brightness", brightness)
        * _curve("contrast", _number(measures, "contrast", 0.0))
        * max(0.0, 1.0 - 0.7 * clipped),
    }
    if still:
        return parts
    if measures.get("jitter") is not None:
        parts["stability"] = math.exp(-_number(measures, "jitter", 0.0) / JITTER_SCALE)
    if measures.get("freeze_share") is not None:
        parts["freeze_share"] = 1.0 - min(1.0, _number(measures, "freeze_share", 0.0))
    if measures.get("flicker") is not None:
        parts["flicker"] = math.exp(-_number(measures, "flicker", 0.0) / (brightness + 16.0) / FLICKER_SCALE)
    return parts


def sound_quality(measures: Mapping[str, Any]) -> dict[str, Any] | None:
    """`SoundQuality` of the contract from the measures of `SoundMeasures`; None without sound."""
    if not measures.get("seconds"):
        return None
    parts = sound_parts(measures)
    kept = ("loudness_lufs", "true_peak_dbtp", "bandwidth_hz", "snr_db")
    return {
        "score": _product(parts, SOUND_WEIGHTS) if parts else 0.0,
        **{name: measures.get(name) for name in kept},
        "clipping_share": _score(_number(measures, "clipping_share", 0.0)),
    }


def sound_parts(measures: Mapping[str, Any]) -> dict[str, float]:
    """The scores that make the sound's, by part, 1 best; empty where nothing is heard."""
    if measures.get("loudness_lufs") is None:
        return {}
    parts = {
        "loudness": _curve("loudness_lufs", _number(measures, "loudness_lufs", -70.0)),
        "clipping": 1.0 / (1.0 + _number(measures, "clipping_share", 0.0) / CLIPPING_SCALE),
        # EBU R 128 allows -1 dBTP; what lies above full scale is cut off on a phone.
        "true_peak": 1.0 / (1.0 + max(0.0, _number(measures, "true_peak_dbtp", -70.0)) / 6.0),
    }
    if measures.get("bandwidth_hz") is not None:
        parts["bandwidth"] = _curve("bandwidth_hz", _number(measures, "bandwidth_hz", 0.0))
    if measures.get("snr_db") is not None:
        parts["snr"] = _curve("snr_db", _number(measures, "snr_db", 0.0))
    return parts


def explain(evidence: Evidence) -> list[str]:
    """What lowers the scores, in plain words, worst first: ["soft focus", "muffled sound"]."""
    parts = picture_parts(measures_of(evidence, PICTURE), evidence.still)
    if evidence.has_audio:
        parts |= sound_parts(measures_of(evidence, SOUND))
    faults = [
        (score / PLAIN_WORDS[part][0], PLAIN_WORDS[part][1]) for part, score in parts.items() if part in PLAIN_WORDS
    ]
    return [words for relative, words in sorted(faults) if relative < 1.0]


def measures_of(evidence: Evidence, observer: str) -> Mapping[str, Any]:
    """One observer's measures; empty if it saw nothing or failed."""
    measures = evidence.observations.get(observer, {})
    return {} if "error" in measures else measures


def _number(measures: Mapping[str, Any], name: str, unknown: float) -> float:
    value = measures.get(name)
    return unknown if value is None or not math.isfinite(value) else float(value)


def _curve(name: str, value: float) -> float:
    points, scores = CURVES[name]
    return float(np.interp(value, points, scores))


def _product(parts: Mapping[str, float], weights: Mapping[str, float]) -> float:
    return _score(math.prod(max(0.0, score) ** weights[part] for part, score in parts.items()))


def _score(value: float) -> float:
    return round(min(1.0, max(0.0, value)), 4)
