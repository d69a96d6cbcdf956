"""Topics of each pane of a divided frame: the picture encoder looks at each pane by itself.

Only where the layout has panes, and on fewer frames than the whole was seen with: a duet costs its share more, every
other upload nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from models.protocol import Encoder, Evidence, Tagger
from models.serving.moments import moments

RATE_HZ = 1.0
"""Frames a second that each pane is looked at."""
MOST = 16
"""Frames of one pane at most."""
WHOLE = (0.0, 0.0, 1.0, 1.0)
MIN_SIDE = 32
"""A smaller pane is not looked at, px of the sampled frame."""
PICTURE = "picture"


def pane_topics(
    boxes: Sequence[Sequence[float]], evidence: Evidence, picture: Encoder, topics: Tagger
) -> list[list[dict[str, Any]]]:
    """What the topics tagger says of each pane, by its picture alone: words are about the upload.

    Args:
        boxes: left, top, right, bottom of each pane, as shares of the frame.
        evidence: of the upload, with its frames and its picture's encoding.
        picture: the encoder that `topics` reads.
        topics: the tagger that speaks of the upload.
    """
    bare = replace(
        evidence, caption="", hashtags=(), observations={}, waveform=np.zeros(0, np.float32), has_audio=False
    )
    return [_one(tuple(box), bare, picture, topics) for box in boxes]


def _one(box: tuple[float, ...], bare: Evidence, picture: Encoder, topics: Tagger) -> list[dict[str, Any]]:
    seen = bare.encodings.get(PICTURE)
    if box == WHOLE and seen is not None:
        found: list[dict[str, Any]] = topics.tag(replace(bare, encodings={PICTURE: seen}))
        return found
    height, width = bare.frames.shape[1:3]
    left, top, right, bottom = (round(at * side) for at, side in zip(box, (width, height) * 2, strict=True))
    if min(right - left, bottom - top) < MIN_SIDE:
        return []
    chosen = moments(bare.frame_times_s, bare.shots, RATE_HZ, MOST)
    pane = replace(
        bare,
        frames=bare.frames[chosen, top:bottom, left:right],
        frame_times_s=np.asarray(bare.frame_times_s)[chosen],
        encodings={},
    )
    found = topics.tag(replace(pane, encodings={PICTURE: picture.encode(pane)}))
    return list(found)
