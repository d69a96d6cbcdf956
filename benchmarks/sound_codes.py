"""The plain search over Chromaprint's codes: fpcalc makes codes, but does not search."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

CANDIDATES = 100
"""So many places in tracks, those with most votes, are compared bit by bit."""
MIN_OVERLAP = 0.5
"""Share of the question's codes that must lie inside of the track."""
SPAN = 1 << 32
"""More codes than any track has."""

Ints = npt.NDArray[np.int64]


class Codes:
    """Chromaprint's codes of many tracks, and the plain search that is usual over such codes (Haitsma, Kalker 2002).

    Every code of the question, and each of the 32 that differ from it in one bit, votes for the places, (track,
    offset), that have it. The `CANDIDATES` places with most votes are compared bit by bit; the least bit error wins.
    """

    def __init__(self, tracks: Sequence[npt.NDArray[np.uint32]]) -> None:
        self.tracks = [np.asarray(track, np.uint32) for track in tracks]
        codes = np.concatenate([np.zeros(0, np.uint32), *self.tracks])
        order = np.argsort(codes, kind="stable")
        self.codes = codes[order]
        self.track = np.repeat(np.arange(len(tracks)), [len(track) for track in tracks])[order]
        self.at = np.concatenate([np.zeros(0, np.int64), *(np.arange(len(track)) for track in tracks)])[order]

    def save(self, path: Path) -> None:
        """The sorted codes and where each of them is, 12 bytes a code."""
        np.savez(path, codes=self.codes, track=self.track.astype(np.int32), at=self.at.astype(np.int32))

    def search(self, asked: npt.NDArray[np.uint32]) -> tuple[int | None, float]:
        """Number of the best track, and 1 - bit error rate there; None, 0.0 where no place has a vote."""
        best: tuple[int | None, float] = (None, 0.0)
        for track, offset in self._places(asked).tolist():
            known = self.tracks[track]
            start, end = max(0, offset), min(len(known), offset + len(asked))
            if end - start < max(1, MIN_OVERLAP * len(asked)):
                continue
            differ = known[start:end] ^ asked[start - offset : end - offset]
            score = 1 - float(np.unpackbits(differ.view(np.uint8)).mean())
            if best[0] is None or score > best[1]:
                best = track, score
        return best

    def _places(self, asked: npt.NDArray[np.uint32]) -> Ints:
        """Tracks and offsets with most votes, [places, 2]."""
        flips = np.concatenate([np.zeros(1, np.uint32), np.uint32(1) << np.arange(32, dtype=np.uint32)])
        near = (asked[:, None] ^ flips).reshape(-1)
        first, last = (np.searchsorted(self.codes, near, side) for side in ("left", "right"))
        count = last - first
        entry = np.repeat(first - np.concatenate([[0], np.cumsum(count)[:-1]]), count) + np.arange(count.sum())
        offset = self.at[entry] - np.repeat(np.repeat(np.arange(len(asked)), len(flips)), count)
        places, votes = np.unique(self.track[entry] * SPAN + offset + SPAN // 2, return_counts=True)
        most = places[np.argsort(-votes, kind="stable")[:CANDIDATES]]
        return np.stack([most // SPAN, most % SPAN - SPAN // 2], axis=1)
