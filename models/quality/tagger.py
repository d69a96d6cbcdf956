"""The document's `quality`: scores of picture and sound, the measures that say why, and plain words.

The measures are made by `PictureMeasures` and `SoundMeasures` in the decoder's pass, the scores by `scores`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from models.layout.tagger import STILL_SHARE, standing_share
from models.protocol import Evidence
from models.quality.scores import (
    PICTURE_SHARE,
    bars_share,
    number,
    picture_parts,
    picture_score,
    rounded,
    sound_parts,
    sound_score,
)
from models.quality.speech_mos import BEST, SPEECH_MOS, WORST, opinion
from models.quality.words import detail_lines, in_order, picture_words, sound_words

STOOD_SHARE = 0.92
"""A lone standstill of at least this share of the time is a still picture; a shorter one is a freeze."""
PICTURE, SOUND = "picture_measures", "sound_measures"

__all__ = ["PICTURE", "PICTURE_SHARE", "SOUND", "QualityTagger", "explain", "picture_quality", "sound_quality"]


class QualityTagger:
    """The document's `quality`. Reads the two observers' measures and, where somebody listened, what speech sounds
    like."""

    name = "quality"
    section = "quality"
    version = "measures@3"
    encoders: tuple[str, ...] = ()
    optional_encoders: tuple[str, ...] = ("silero", "yamnet", SPEECH_MOS)
    """The last needs the others, and they are read by nothing here."""

    def tag(self, evidence: Evidence) -> dict[str, Any] | None:
        """The section; None where there is neither picture nor sound to judge.

        `picture.sharpness`, `exposure`, `contrast`, `stability` and every `score`: 1 is best. The picture's others,
        and `sound.clipping_share`, are amounts: 0 is none. A silent track has a sound of score 0 that takes no part in
        the whole.
        """
        still = stands_still(evidence)
        picture = picture_quality(measures_of(evidence, PICTURE), still=still)
        sound = sound_quality(measures_of(evidence, SOUND)) if evidence.has_audio else None
        if sound is not None:
            sound["speech"] = opinion(evidence.encodings.get(SPEECH_MOS))
        heard = sound if sound is not None and sound["loudness_lufs"] is not None else None
        if picture is None and sound is None:
            return None
        if picture is not None and heard is not None:
            score = picture["score"] ** PICTURE_SHARE * heard["score"] ** (1.0 - PICTURE_SHARE)
        else:
            score = (picture or sound or {})["score"]
        return {"score": rounded(score), "explanation": explain(evidence), "picture": picture, "sound": sound}


def picture_quality(measures: Mapping[str, Any], still: bool = False) -> dict[str, Any] | None:
    """`PictureQuality` of the contract from the measures of `PictureMeasures`; None without a picture."""
    parts = picture_parts(measures, still)
    if not parts:
        return None

    def amount(part: str) -> float | None:
        return rounded(1.0 - parts[part]) if part in parts else None

    return {
        "score": picture_score(parts),
        "sharpness": rounded(parts["sharpness"]),
        "blockiness": amount("blockiness"),
        "noise": amount("noise"),
        "exposure": rounded(parts["exposure"]),
        "contrast": rounded(parts["contrast"]),
        "banding": amount("banding"),
        "detail_lines": detail_lines(measures),
        "bars_share": rounded(bars_share(measures)),
        "stability": rounded(parts["stability"]) if "stability" in parts else None,
        "freeze_share": amount("freeze_share"),
        "judder": amount("judder"),
        "flicker": amount("flicker"),
    }


def sound_quality(measures: Mapping[str, Any]) -> dict[str, Any] | None:
    """`SoundQuality` of the contract from the measures of `SoundMeasures`; None without sound."""
    if not measures.get("seconds"):
        return None
    kept = (
        "loudness_lufs",
        "loudness_range_lu",
        "true_peak_dbtp",
        "bandwidth_hz",
        "snr_db",
        "clarity_db",
        "hum_db",
        "dropouts_per_s",
        "dynamics_db",
    )
    return {
        "score": sound_score(sound_parts(measures)),
        **{name: measures.get(name) for name in kept},
        "clipping_share": rounded(number(measures, "clipping_share", 0.0)),
    }


def explain(evidence: Evidence) -> list[str]:
    """What lowers the scores, in plain words, worst first: ["soft focus", "8 kHz sound"]. Empty: nothing to say."""
    seen, heard = measures_of(evidence, PICTURE), measures_of(evidence, SOUND)
    named = picture_words(picture_parts(seen, stands_still(evidence)), seen)
    if evidence.has_audio and heard.get("seconds"):
        parts = sound_parts(heard)
        named += sound_words(parts, heard) if parts else [(1.0, "silent")]
        if (said := opinion(evidence.encodings.get(SPEECH_MOS))) is not None:
            named += sound_words({"speech": (said["overall"] - WORST) / (BEST - WORST)}, heard)
    return in_order(named)


def stands_still(evidence: Evidence) -> bool:
    """Slides stand still on purpose: they are judged as the pictures that they are.

    A moving picture that freezes once looks like slides to the few frames that the layout sees: it still moves before
    and after, and there is no second slide.
    """
    if standing_share(evidence) < STILL_SHARE:
        return False
    measures = measures_of(evidence, PICTURE)
    return measures.get("freezes") != 1 or number(measures, "freeze_share", 1.0) >= STOOD_SHARE


def measures_of(evidence: Evidence, observer: str) -> Mapping[str, Any]:
    """One observer's measures; empty if it saw nothing or failed."""
    measures = evidence.observations.get(observer, {})
    return {} if "error" in measures else measures
