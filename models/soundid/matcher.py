"""Which known sounds an upload uses, where, and from where in them.

Pairs of peaks vote for alignments of a sound with the upload (Wang 2003); the best few are then *verified* peak by
peak: how many of the sound's strongest peaks are in the upload where the alignment says. What that is worth is a
log-likelihood ratio against chance, and chance is measured on the very same two sounds at other alignments, so that
a shared key, a dense texture or a busy upload raise the bar for themselves. The best-scoring stretch is the range, as
in local sequence alignment (Karlin and Altschul, PNAS 1990), whose theory also says what the search itself costs:
the logarithm of the alignments that were possible.

Several sounds are found one after another, each in what the ones before leave unexplained.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from models.soundid.features import HOP, HOP_S, WINDOW, Peaks
from models.soundid.fingerprint import EDGE, Fingerprint, pairs
from models.soundid.verify import MIN_MATCHED, Grid, Use, extend, stands_out, verify
from models.soundid.view import IndexView, Postings, SoundIndex

BLOCK_FRAMES = 1200
"""The upload is searched in blocks of 12 s ..."""
STEP_FRAMES = 800
"""... every 8 s: any 4 s lie within one."""
CELL_FRAMES = 2
"""Width of the cells that votes are counted in, frames; a pair of neighbours is counted as one."""
VOTED = 400
"""Alignments whose votes are counted exactly, ..."""
VERIFIED = 24
"""... and of them those that are verified, in each block and round."""
MAX_ROUNDS = 6
"""Sounds searched one after another in a block."""
MAX_MATCHES = 40
"""Uses that one upload can have."""

MAX_OVERLAP = 0.5
"""Share of a use that may lie in another use of the same sound: loops align with themselves in many ways."""
THRESHOLD = 3.0
"""Log-likelihood ratio above what the search costs, nats, from which on a use is believed: the operating point."""
SCORE_SCALE = 4.0
"""Nats above `THRESHOLD` in which the odds of the score grow by e."""
SNAP_S = 0.3
"""A range that ends so close to an end of the upload or of the sound reaches it."""


@dataclass(frozen=True)
class SoundMatch:
    """One use of a known sound.

    Attributes:
        sound_id, kind, title: as in the catalogue.
        score: 0.5 at the operating point to 1; odds, from the log-likelihood ratio.
        range: start and end in the upload, s.
        offset_s: where in the sound the range starts, s.
        speed: 1.0 is as in the catalogue.
        pitch_semitones: 0.0 is as in the catalogue.
    """

    sound_id: str
    kind: str
    title: str | None
    score: float
    range: tuple[float, float]
    offset_s: float
    speed: float = 1.0
    pitch_semitones: float = 0.0


class Matcher:
    """Finds known sounds. Safe to call from many threads, if its index is."""

    def __init__(self, index: SoundIndex) -> None:
        self._index = index

    def match(self, fingerprint: Fingerprint) -> list[SoundMatch]:
        """The uses of known sounds in an upload, by where they start. Empty: none that can be told from chance."""
        view = self._index.view()
        peaks = fingerprint.peaks
        if view.frames == 0 or len(peaks) < MIN_MATCHED:
            return []
        grid = Grid(peaks, fingerprint.frames)
        # What was searched: every alignment of every sound, in each of which a stretch may begin anywhere.
        cost = math.log(max(2.0, (view.frames + fingerprint.frames) / CELL_FRAMES))
        uses: list[Use] = []
        kin: list[Use] = []
        for start in range(0, max(1, fingerprint.frames - (BLOCK_FRAMES - STEP_FRAMES)), STEP_FRAMES):
            if len(uses) >= MAX_MATCHES:
                break
            _search_block(view, peaks, grid, start, cost, uses, kin)
        uses.sort(key=lambda use: (use.start, -use.gain))
        return [_described(view, fingerprint, use, cost) for use in uses]


def _search_block(
    view: IndexView, peaks: Peaks, grid: Grid, start: int, cost: float, uses: list[Use], kin: list[Use]
) -> None:
    """Find the uses that show in one block, best first, and add them to `uses`; what only resembles, to `kin`."""
    low, high = np.searchsorted(peaks.times, [start, start + BLOCK_FRAMES])
    open_ = np.flatnonzero(~grid.explained[low:high]) + low
    if len(open_) < MIN_MATCHED:
        return
    hashed = pairs(peaks.where(open_), edge=EDGE)
    hits = view.lookup(hashed.hashes)
    anchors = open_[hashed.anchors[hits.rows]]
    refused: set[tuple[int, int]] = set()
    candidates: list[Use] | None = None
    for _ in range(MAX_ROUNDS):
        if candidates is None:
            live = ~grid.explained[anchors]
            votes = Postings(hits.rows[live], hits.sounds[live], hits.times[live])
            voted = _vote(view, votes, anchors[live], peaks.times, grid.frames)
            verified = (verify(view, grid, sound, delta, start, start + BLOCK_FRAMES) for sound, delta in voted)
            candidates = [use for use in verified if use is not None and use.gain > cost + THRESHOLD]
        open_uses = (use for use in candidates if (use.sound, use.delta) not in refused)
        best = max(open_uses, key=lambda use: use.gain, default=None)
        if best is None:
            return
        refused.add((best.sound, best.delta))
        whole = extend(view, grid, best)
        rivals = [delta for sound, delta in voted if sound == best.sound]
        # What resembles does so at many alignments: once it is known, the weaker ones are not asked.
        if not _is_new(whole, kin):
            continue
        if not stands_out(view, grid, whole, rivals):
            kin.append(whole)
            continue
        if _is_new(whole, uses):
            uses.append(whole)
            if len(uses) >= MAX_MATCHES:
                return
        # Explained either way: what is not new is another copy of what was found.
        grid.explain(whole.matched)
        candidates = None


def _vote(
    view: IndexView,
    hits: Postings,
    anchors: npt.NDArray[np.int64],
    times: npt.NDArray[np.uint32],
    frames: int,
) -> list[tuple[int, int]]:
    """The alignments with the most votes above chance: sound and delta, best first. One vote a peak and cell."""
    if len(anchors) == 0:
        return []
    span = 1 << 33
    cell = (hits.times - times[anchors] + frames) // CELL_FRAMES
    key = hits.sounds * span + cell
    order = np.argsort(key, kind="stable")
    key, anchors = key[order], anchors[order]
    first = np.flatnonzero(np.concatenate([[True], key[1:] != key[:-1]]))
    cells, count = key[first], np.diff(np.append(first, len(key)))
    following = np.append(np.where(cells[1:] == cells[:-1] + 1, count[1:], 0), 0)
    both = count + following
    # Chance: the sound's votes spread over all its alignments.
    sounds, inverse = np.unique(cells // span, return_inverse=True)
    total = np.bincount(inverse, weights=count)
    length = np.asarray([view.entry(int(sound)).frames for sound in sounds])
    expected = 2 * (total / np.maximum(1.0, (length + frames) / CELL_FRAMES))[inverse]
    gain = _surprise(both, expected)
    # Of neighbours that share a cell, the better one.
    before = np.concatenate([[0.0], np.where(cells[1:] == cells[:-1] + 1, gain[:-1], 0.0)])
    after = np.append(np.where(cells[1:] == cells[:-1] + 1, gain[1:], 0.0), 0.0)
    gain = np.where((gain >= before) & (gain > after), gain, 0.0)
    top = np.argsort(-gain, kind="stable")[:VOTED]
    # One vote a peak and cell: several hashes of a peak that agree are not independent.
    voices = np.asarray([len(np.unique(anchors[first[at] : first[at] + both[at]])) for at in top])
    gain = _surprise(voices, expected[top])
    best = np.argsort(-gain, kind="stable")[:VERIFIED]
    return [
        (int(cells[at] // span), int(cells[at] % span) * CELL_FRAMES - frames + CELL_FRAMES - 1)
        for at in top[best[voices[best] >= 3]]
    ]


def _surprise(count: npt.NDArray[Any], expected: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Log-likelihood ratio of a Poisson count against its expectation; 0 below it."""
    ratio = np.maximum(count / np.maximum(expected, 1e-3), 1.0)
    return np.asarray(count * np.log(ratio) - count + count / ratio)


def _is_new(use: Use, uses: list[Use]) -> bool:
    """Whether a use says what those found before do not."""
    for other in uses:
        both = min(use.end, other.end) - max(use.start, other.start)
        if both <= 0:
            continue
        if use.sound == other.sound and both > MAX_OVERLAP * (min(use.end - use.start, other.end - other.start) + 1):
            return False
    return True


def _described(view: IndexView, fingerprint: Fingerprint, use: Use, cost: float) -> SoundMatch:
    """A use in the words of the contract."""
    entry = view.entry(use.sound)
    # A frame's time is its middle.
    half = WINDOW / HOP * HOP_S / 2
    start, end = use.start * HOP_S + half, use.end * HOP_S + half
    shift = use.delta * HOP_S
    length = entry.frames * HOP_S + 2 * half
    edge = max(0.0, -shift)
    start = edge if start - edge < SNAP_S else start
    edge = min(fingerprint.duration_s, length - shift)
    end = edge if edge - end < SNAP_S else end
    score = 1.0 / (1.0 + math.exp(-max(-50.0, min(50.0, (use.gain - cost - THRESHOLD) / SCORE_SCALE))))
    found = (round(start, 3), round(max(end, start), 3))
    offset = round(max(0.0, start + shift), 3)
    return SoundMatch(entry.sound_id, entry.kind, entry.title, round(score, 4), found, offset)
