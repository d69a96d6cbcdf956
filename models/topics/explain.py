"""Why these topics: for each shot, what each evidence says at most, and what comes of it joined."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from ..protocol import Evidence
from .ranges import shot_numbers
from .support import moments
from .tagger import TopicsTagger, join

LEAST = 0.01
"""Scores below this are left out."""


def explain(tagger: TopicsTagger, evidence: Evidence, top: int = 5) -> dict[str, Any]:
    """The tagger's reasons, as plain JSON values.

    Args:
        tagger: whose topics are explained.
        evidence: of one upload, with its encodings.
        top: topics of each evidence in each shot.

    Returns:
        `version`, `topics` as published; `ranges`, for each shot `range` [start, end] in s, `evidence` (by its name the
        `top` topics with their mean chance) and `joined` (topics with mean score, threshold and whether they are said);
        `words`, the topics that the author's words name, with weight and sources; `silent`, evidence that there is and
        that says nothing.
    """
    judged, times = tagger.judge(evidence), moments(evidence)
    said = tagger.tag(evidence)
    names = {topic["topic"] for topic in said}
    shots = shot_numbers(times, evidence.shots)
    tables: dict[str, npt.NDArray[np.float64]] = {"picture": judged.seen.frames, **judged.beside}
    joined = join(judged.seen.frames, judged.beside)
    ranges = []
    for shot in sorted(set(shots.tolist())):
        rows = np.flatnonzero(shots == shot)
        means = {name: table[rows].mean(axis=0) for name, table in tables.items()}
        ranges.append(
            {
                "range": [round(float(judged.edges[rows[0]]), 3), round(float(judged.edges[rows[-1] + 1]), 3)],
                "evidence": {
                    name: [{"topic": topic, "score": score} for topic, score, _ in best]
                    for name, mean in means.items()
                    if (best := _best(tagger, mean, top))
                },
                "joined": [
                    {
                        "topic": topic,
                        "score": score,
                        "threshold": round(float(tagger.thresholds[position]), 4),
                        "said": topic in names,
                    }
                    for topic, score, position in _best(tagger, joined[rows].mean(axis=0), top)
                ],
            }
        )
    spoke = {name for one in ranges for name in _keys(one["evidence"])}
    with_rows = [name for name, encoding in evidence.encodings.items() if len(encoding.times_s)]
    there = {"sound" if name == "yamnet" else name for name in with_rows} & {*tables, *_READ}
    return {
        "version": tagger.version,
        "topics": said,
        "ranges": ranges,
        "words": {
            topic: {"weight": round(claim.weight, 4), "sources": list(claim.sources)}
            for topic, claim in judged.claimed.items()
        },
        "silent": sorted(there - spoke),
    }


_READ = ("picture", "objects", "faces", "sound", "text", "zeroshot")


def _best(tagger: TopicsTagger, means: npt.NDArray[np.float64], top: int) -> list[tuple[str, float, int]]:
    order = np.lexsort((np.arange(len(means)), -means))[:top]
    return [
        (tagger.taxonomy.topics[n].id, round(float(means[n]), 4), int(n)) for n in order.tolist() if means[n] >= LEAST
    ]


def _keys(value: Any) -> list[str]:
    return list(value) if isinstance(value, Mapping) else []
