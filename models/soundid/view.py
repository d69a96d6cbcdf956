"""What a matcher sees of an index, wherever that is: its protocol."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

MAX_POSTINGS = 3_000_000
"""Postings that one lookup gives at most; the most frequent hashes are left out first."""


class Hits(Protocol):
    """What a lookup found: for each hit its row in the query, the sound's number in the view, the frame in it."""

    @property
    def rows(self) -> npt.NDArray[np.int32]:
        """Index of the hash in the query."""

    @property
    def sounds(self) -> npt.NDArray[np.int32]:
        """Number of the sound in the view."""

    @property
    def times(self) -> npt.NDArray[np.int32]:
        """Frame in the sound."""


class Entry(Protocol):
    """A sound of the catalogue. `kind` is `song`, `effect` or `original`; `frames` its length."""

    @property
    def sound_id(self) -> str:
        """Its id in the store."""

    @property
    def kind(self) -> str:
        """What it is."""

    @property
    def title(self) -> str | None:
        """What it is called."""

    @property
    def frames(self) -> int:
        """Its length, frames."""


class BassLine(Protocol):
    """The bass of several sounds, one after the other."""

    @property
    def words(self) -> npt.NDArray[np.uint64]:
        """As in `bass.bass`."""

    @property
    def sounds(self) -> npt.NDArray[np.int64]:
        """Their numbers in the view; -1: one that was removed."""

    @property
    def starts(self) -> npt.NDArray[np.int64]:
        """The word at which each begins, and the end."""


@dataclass(frozen=True)
class BassTable:
    """The bass of some sounds as it is kept.

    Attributes:
        words: as in `bass.bass`.
        first: number of the first sound in the view; the others follow.
        ends: int64 [sounds + 1], the word at which each begins, and the end.
    """

    words: npt.NDArray[np.uint64]
    first: int
    ends: npt.NDArray[np.int64]


class PairTable(Protocol):
    """The pairs of some sounds, and their peaks: what proposes and refines alignments."""

    @property
    def frames(self) -> int:
        """Length of all sounds together, frames."""

    def lookup(
        self,
        hashes: npt.NDArray[np.uint32],
        most: int = MAX_POSTINGS,
        worth: npt.NDArray[np.float32] | None = None,
    ) -> Hits:
        """Postings of these hashes (any order), those of one sound in the order of the hashes.

        MUST NOT give more than `most`: where there are more, the rarest hashes are answered and the others not. Where
        it is said what each hash is worth, those of the most worth a posting.
        """

    def lengths(self, sounds: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Lengths of these sounds, frames."""

    def peaks(self, sound: int) -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.uint16]]:
        """Times and bins of its peaks, ascending in time."""


class IndexView(PairTable, Protocol):
    """An index at one moment. MUST NOT change; numbers of sounds hold within it only."""

    def entry(self, sound: int) -> Entry:
        """The sound of that number."""

    def signs(self, sound: int) -> npt.NDArray[np.uint8]:
        """Signs of its whitened waveform, see `whitening.signs`."""

    def bass(self, most: int) -> BassLine:
        """The bass of the sounds that came last, of so many words at most. SHOULD be quick: most matches ask."""

    def bass_tables(self) -> Sequence[BassTable]:
        """The bass of all sounds of which it is at hand."""

    def effects(self, longest: int) -> list[int]:
        """Numbers of the sounds of kind `effect` of so many frames at most. SHOULD be quick: every match asks."""


class SoundIndex(Protocol):
    """What a `Matcher` needs. MUST be safe to call from many threads."""

    def view(self) -> IndexView:
        """The index as it is now."""
