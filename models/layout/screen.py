"""Tells the recording of a screen: pages that are scrolled, typed into, clicked.

A screen shows what no camera does. Letters: small blocks with both ink and ground in them. And either
- *it scrolls*: from one moment to the next most of what has detail stands exactly as it stood, some lines further up
  or down, which neither a camera's tilt nor a zoom leaves it; or
- *it stands*: two plain tones, ink and ground, fill most of the picture; nothing moves, and yet something small
  changes, a word, a field, a pointer.
A slide shows changes wholly or not at all; lyrics that appear line by line have too few letters. What is told has to
hold in the whole frame: a page in a pane is a pane. A photograph on a desktop hides the two tones, so that a desktop
may go untold; so may a page that is shown for less than the moments that are sampled.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import cv2
import numpy as np
import numpy.typing as npt

Stack = npt.NDArray[np.uint8]
Grey = npt.NDArray[np.uint8]
How = Literal["scrolls", "stands"]

MAX_LOOKS = 5
"""Frames whose letters and tones are measured, spread over the upload."""
MAX_PAIRS = 6
"""Pairs of neighbouring frames that are searched for a scroll, spread likewise."""
MIN_SIDE = 96
"""Smaller frames show no letters, px."""
BLOCK = 8
"""Side of the blocks that are looked at, px: about a letter of a page on a telephone, at the sampled size."""
INK = 60
"""Grey levels between the darkest and the lightest pixel of a block with letters."""
TONE_WIDTH = 3
"""A tone reaches so many grey levels to either side."""
TONE_APART = 9
"""The second tone is at least so far from the first, grey levels."""

FEW_LETTERS, SCROLL_LETTERS, STAND_LETTERS = 0.05, 0.12, 0.2
"""Least share of blocks with letters: of a page; of one that scrolls, unless two tones fill it; of one that stands."""
TONES = 0.65
"""Share of the pixels from which two tones fill a page."""
SCROLLED = 0.55
"""Least share of what has detail that stands some lines further."""
MIN_SHIFT, MAX_SHIFT = 3, 0.8
"""Lines of a scroll, of a frame at half its size, at least, and at most as a share of the height."""
STRIPS = 24
"""Columns that a frame is summed up in to find the shift."""
LAGS = 3
"""Likeliest shifts that are looked at."""
DETAIL = 25
"""Grey levels within a block from which it has detail."""
MIN_DETAILED, MIN_LEFT = 12, 0.25
"""Blocks with detail, below which there is nothing to follow; and the share of them that must still be in view."""
SAME, CHANGED = 5.0, 3.0
"""Mean difference of a block, grey levels: at most where it is the same after a shift; at least where it changed."""
MOVED = 0.15
"""Share of the blocks that change where a page is scrolled, at least."""
SMALL_CHANGE = 0.25
"""Share of the blocks that change where something small does, at most."""
STANDING = 0.5
"""Share of the neighbouring frames between which at most something small changes, at least."""
CHANGES = 2
"""Neighbouring frames between which something small changes, at least: one may be a coder's pulse."""


@dataclass(frozen=True)
class Screen:
    """A recorded screen."""

    how: How
    score: float
    """0.5 to 1: how much more than what must hold does."""


def find_screen(frames: Stack) -> Screen | None:
    """The screen that frames [n, h, w, 3] RGB show; None: none that can be told."""
    count, height, width = frames.shape[:3]
    if count < 3 or min(height, width) < MIN_SIDE:
        return None
    greys = [_grey(frame) for frame in frames]
    looks = [greys[at] for at in _spread(count, MAX_LOOKS)]
    letters = float(np.median([_letters(look) for look in looks]))
    if letters < FEW_LETTERS:
        return None
    tones = float(np.median([_tones(look) for look in looks]))
    changes = _changes(greys)
    if letters >= SCROLL_LETTERS or tones >= TONES:
        moved = np.flatnonzero(changes > MOVED)
        share = max((scrolled(*greys[at : at + 2]) for at in moved[_spread(len(moved), MAX_PAIRS)]), default=0.0)
        if share >= SCROLLED:
            return Screen("scrolls", _score(share, SCROLLED))
    small = int(((changes > 0) & (changes <= SMALL_CHANGE)).sum())
    still = float((changes <= SMALL_CHANGE).mean())
    if letters < STAND_LETTERS or tones < TONES or small < CHANGES or still < STANDING:
        return None
    return Screen("stands", _score(tones, TONES))


def scrolled(first: Grey, then: Grey) -> float:
    """Share of a frame's blocks with detail that the one after has some lines further up or down; 0 with too few."""
    # At half the size a shift by an odd number of lines falls between two: both halvings are looked at.
    before, after, between = (_halved(one) for one in (first, then, np.roll(then, -1, axis=0)))
    height = before.shape[0]
    reach = np.arange(MIN_SHIFT, int(height * MAX_SHIFT))
    lags = np.concatenate([reach, -reach])
    size = 1 << (2 * height - 1).bit_length()
    here, there = (np.fft.rfft(_strips(one), size, axis=0) for one in (before, after))
    common = np.fft.irfft(here.conj() * there, size, axis=0).sum(axis=1)[lags] / (height - np.abs(lags))
    least = max(MIN_DETAILED, MIN_LEFT * float((_contrast(before) > DETAIL).sum()))
    best = 0.0
    for lag in lags[np.argsort(-common, kind="stable")[:LAGS]].tolist():
        old = _whole(before[max(0, -lag) : height - max(0, lag)])
        detailed = _contrast(old) > DETAIL
        if detailed.sum() < least:
            continue
        for halved in (after, between):
            new = _whole(halved[max(0, lag) : height - max(0, -lag)])
            off = cv2.resize(cv2.absdiff(old, new), detailed.shape[::-1], interpolation=cv2.INTER_AREA)
            best = max(best, float((off[detailed] < SAME).mean()))
    return best


def _halved(look: Grey) -> Grey:
    return np.asarray(cv2.resize(look, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA), np.uint8)


def _changes(looks: Sequence[Grey]) -> npt.NDArray[np.float64]:
    """[n - 1] share of the blocks that change from each frame to the next."""
    shares = []
    for last, look in pairwise(looks):
        off = cv2.resize(cv2.absdiff(look, last), None, fx=1 / BLOCK, fy=1 / BLOCK, interpolation=cv2.INTER_AREA)
        shares.append(float((off >= CHANGED).mean()))
    return np.array(shares)


def _strips(look: Grey) -> npt.NDArray[np.float32]:
    """[h, STRIPS] detail along each line, without its mean over the lines."""
    edges = np.abs(np.diff(look.astype(np.int16), axis=1)).astype(np.float32)
    strips = cv2.resize(edges, (STRIPS, len(edges)), interpolation=cv2.INTER_AREA)
    return np.asarray(strips - strips.mean(axis=0), np.float32)


def _letters(look: Grey) -> float:
    return float((_contrast(look) >= INK).mean())


def _tones(look: Grey) -> float:
    """Share of the pixels that the two commonest tones fill."""
    shares = cv2.calcHist([look], [0], None, [256], [0, 256]).ravel() / look.size
    near = np.convolve(shares, np.ones(2 * TONE_WIDTH + 1), "same")
    first = int(near.argmax())
    rest = near.copy()
    rest[max(0, first - TONE_APART) : first + TONE_APART + 1] = 0.0
    return float(near[first] + rest.max())


def _contrast(look: Grey) -> Grey:
    """[rows, columns] lightest less darkest pixel of each block."""
    rows, columns = look.shape[0] // BLOCK, look.shape[1] // BLOCK
    square = np.ones((BLOCK, BLOCK), np.uint8)
    most, least = (
        turn(look, square, anchor=(0, 0))[: rows * BLOCK : BLOCK, : columns * BLOCK : BLOCK]
        for turn in (cv2.dilate, cv2.erode)
    )
    return np.asarray(most - least, np.uint8)


def _whole(look: Grey) -> Grey:
    """Without what is left over of the last blocks, at the right and below."""
    return look[: look.shape[0] // BLOCK * BLOCK, : look.shape[1] // BLOCK * BLOCK]


def _grey(frame: npt.NDArray[np.uint8]) -> Grey:
    return np.asarray(cv2.cvtColor(np.ascontiguousarray(frame), cv2.COLOR_RGB2GRAY), np.uint8)


def _spread(count: int, most: int) -> npt.NDArray[np.int64]:
    return np.unique(np.linspace(0, max(count - 1, 0), min(count, most)).round().astype(np.int64))


def _score(value: float, least: float) -> float:
    return round(0.5 + 0.5 * min(1.0, (value - least) / (1.0 - least)), 4)
