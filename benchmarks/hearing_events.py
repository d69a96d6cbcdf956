"""Events: a right one among the first five, how far their chances are true, and when they begin and end."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from rich.progress import track

from models.protocol import WAVEFORM_RATE, Encoder, Evidence
from models.sounds.audioset import SILENCE, class_names
from models.sounds.event_calibration import FITTED, EventCalibration, load_event_calibration
from models.sounds.events import EventsTagger
from models.sounds.ontology import closed

from .recordings import decode
from .report import today
from .truths import Item

BINS = 10
CANDIDATES = 10
"""Strongest classes of an effect that the curve is fitted on,"""
FAINTEST = 0.08
"""down to this score."""
RIDGE = 3.0
"""Strength of the fit's L2 penalty."""
FIRST, FURTHER = 0.05, 0.15
"""Least chances. Of 30 choices of these, of the patches that a class has to hold over, and of what the curve is fitted
on, they have the least calibration error (0.030, with 0.886 right among the first five) in an eight-fold
cross-validation of the dev half, of those with the lower `FIRST`. The test half was measured twice: the choice with
the most right (0.898; fitted down to 0.03) has 0.849 right there, and a calibration error of 0.053."""

BED_S = 12.0
BED_DBFS = -50.0
"""Root mean square of the pink noise that effects are laid on,"""
PEAK = 0.5
"""and their peak amplitude: about 30 dB over it."""
ACTIVE_DB = 30.0
"""An effect lasts as long as its 10-ms frames are within this of its loudest."""
LENGTHS_S = (0.3, 8.0)


@dataclass(frozen=True)
class Said:
    """One event that was said of an effect."""

    score: float
    right: bool


def judged(tagger: EventsTagger, examples: Iterable[tuple[Item, Evidence]]) -> list[Said]:
    """All that is said. Right is what the truth names, and what that implies."""
    return [
        Said(event["score"], event["event"] in closed(item.accept))
        for item, evidence in examples
        for event in tagger.tag(evidence)
    ]


def bins(said: Sequence[Said]) -> list[tuple[float, float, int]]:
    """Mean score, share right and number of each tenth of the scores' scale."""
    found = []
    for place in range(BINS):
        mine = [one for one in said if min(int(one.score * BINS), BINS - 1) == place]
        if mine:
            found.append(
                (float(np.mean([one.score for one in mine])), float(np.mean([one.right for one in mine])), len(mine))
            )
    return found


def calibration_error(said: Sequence[Said]) -> float | None:
    """Expected calibration error (Guo et al. 2017), in ten bins of equal width."""
    if not said:
        return None
    return round(sum(number * abs(score - right) for score, right, number in bins(said)) / len(said), 4)


def fit(examples: Sequence[tuple[Item, Evidence]], encoder: str) -> EventCalibration:
    """The curve by maximum likelihood on each effect's strongest classes."""
    from sklearn.linear_model import LogisticRegression

    blank = EventCalibration(encoder, 1.0, 0.0, 0.0, 0.0, 0.0, FIRST, FURTHER)
    silence = class_names().index(SILENCE)
    rows: list[npt.NDArray[np.float64]] = []
    right: list[bool] = []
    for item, evidence in examples:
        peaks = evidence.encodings["yamnet"].scores.max(axis=0)
        known = closed(item.accept)
        features = blank.features(evidence.encodings["yamnet"].scores)
        order = [place for place in np.argsort(-peaks, kind="stable") if place != silence][:CANDIDATES]
        for place in order:
            if peaks[place] >= FAINTEST:
                rows.append(features[place])
                right.append(class_names()[place] in known)
    told = LogisticRegression(C=1 / RIDGE, max_iter=1000).fit(np.stack(rows), np.array(right))
    logit, behind, breadth, held = (round(float(value), 4) for value in told.coef_[0])
    offset = round(float(told.intercept_[0]), 4)
    return EventCalibration(encoder, logit, max(behind, 0.0), breadth, held, offset, FIRST, FURTHER)


def write_calibration(found: EventCalibration, effects: int, path: Path = FITTED) -> None:
    """Where the heads read it."""
    path.write_text(
        "# From the network's score to the chance that an event is right. Written by `python -m"
        " benchmarks.hearing --fit`;"
        " do not edit.\n#\n"
        "# Method: a logistic curve on a class's peak logit, on how far it is behind the strongest class's, on the\n"
        "# logarithm of how many classes imply it, and on how well it holds over its best patches,\n"
        "# by maximum likelihood with a small ridge, one for all classes: a curve for each would need more effects\n"
        "# than there are. The least chance of each class follows from it.\n"
        f"# Data: the dev half of the effects of benchmarks/truth/effects.toml, {effects} of them, each one's"
        f" {CANDIDATES} strongest\n# classes; right is what the truth names, and what that implies; {today()}.\n\n"
        f'encoder = "{found.encoder}"\n\n[curve]\nlogit = {found.logit}\nbehind = {found.behind}\n'
        f"breadth = {found.breadth}\nheld = {found.held}\noffset = {found.offset}\n\n"
        f"[least]\nfirst = {found.first}\nfurther = {found.further}\n",
        encoding="utf-8",
    )
    load_event_calibration.cache_clear()


@dataclass(frozen=True)
class Laid:
    """One effect over the bed."""

    item: Item
    start_s: float
    end_s: float
    waveform: npt.NDArray[np.float32]


def laid(items: Iterable[Item]) -> Iterator[Laid]:
    """Effects at seeded times over pink noise."""
    rng = np.random.default_rng(20)
    for item in items:
        effect = decode(item.path, WAVEFORM_RATE)
        if not LENGTHS_S[0] <= len(effect) / WAVEFORM_RATE <= LENGTHS_S[1] or not effect.any():
            continue
        bed = pink(round(BED_S * WAVEFORM_RATE), rng)
        effect = effect * (PEAK / np.abs(effect).max())
        at = int(rng.uniform(1.5, BED_S - len(effect) / WAVEFORM_RATE - 1.0) * WAVEFORM_RATE)
        bed[at : at + len(effect)] += effect
        first, last = _active(effect)
        yield Laid(item, at / WAVEFORM_RATE + first, at / WAVEFORM_RATE + last, bed)


def pink(samples: int, rng: np.random.Generator) -> npt.NDArray[np.float32]:
    """Noise with as much power in each octave, from 20 bins on."""
    spectrum = np.fft.rfft(rng.standard_normal(samples))
    noise = np.fft.irfft(spectrum / np.sqrt(np.maximum(np.arange(len(spectrum)), 20)), samples)
    return (noise * (10 ** (BED_DBFS / 20) / noise.std())).astype(np.float32)


def edges(tagger: EventsTagger, encoders: Sequence[Encoder], effects: Sequence[Laid]) -> dict[str, dict[str, Any]]:
    """Errors of the range of a right event that overlaps the effect most, s: with the outline, and by patches alone."""
    errors: dict[str, list[tuple[str, float, float]]] = {"outline": [], "patches": []}
    none = np.zeros((0, 1, 1, 3), np.uint8)
    for one in track(effects, description="effects over a bed"):
        bare = Evidence(BED_S, none, np.zeros(0), (), one.waveform, has_audio=True)
        encodings = {encoder.name: encoder.encode(bare) for encoder in encoders}
        for how, names in (("outline", ("yamnet", "outline")), ("patches", ("yamnet",))):
            told = tagger.tag(replace(bare, encodings={name: encodings[name] for name in names}))
            ranges = [span for event in told if event["event"] in one.item.accept for span in event["ranges"]]
            if ranges:
                start, end = max(ranges, key=lambda span: min(span[1], one.end_s) - max(span[0], one.start_s))
                errors[how].append((one.item.key, round(start - one.start_s, 3), round(end - one.end_s, 3)))
    return {how: {"effects": len(effects), **_medians(found), "errors": found} for how, found in errors.items()}


def _medians(found: Sequence[tuple[str, float, float]]) -> dict[str, Any]:
    starts, ends = (np.abs([one[place] for one in found]) for place in (1, 2))
    return {
        "told": len(found),
        "onset_median_s": round(float(np.median(starts)), 4) if found else None,
        "offset_median_s": round(float(np.median(ends)), 4) if found else None,
        "onset_within_half": round(float(np.mean(starts <= 0.5)), 4) if found else None,
        "offset_within_half": round(float(np.mean(ends <= 0.5)), 4) if found else None,
    }


def _active(effect: npt.NDArray[np.float32]) -> tuple[float, float]:
    step = WAVEFORM_RATE // 100
    frames = effect[: len(effect) // step * step].reshape(-1, step)
    level = 10 * np.log10(np.square(frames).mean(axis=1) + 1e-12)
    loud = np.flatnonzero(level >= level.max() - ACTIVE_DB)
    return loud[0] / 100, (loud[-1] + 1) / 100
