"""The sound index, kept up with the store, and the matcher over it: this machine's copy, or one for all nodes."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from models.soundid.bass_search import Comparison, CountedBits
from models.soundid.fingerprint import Fingerprint, FingerprintError
from models.soundid.index import Added, DiskIndex
from models.soundid.matcher import Matcher
from models.soundid.uses import SoundMatch
from models.soundid.view import SoundIndex
from store.sound_postings import ValkeyIndex
from store.store import SoundRow

if TYPE_CHECKING:
    import torch

log = logging.getLogger(__name__)

SOUNDID_VERSION = "landmarks@4"
PAGE = 500
"""Sounds taken from the store at a time."""


class SoundSource(Protocol):
    """What gives sounds in the order of their sequence number: a store, or a transaction of one."""

    def sounds_after(self, seq: int, limit: int) -> list[SoundRow]:
        """The next sounds after `seq`, ascending, none skipped that was committed before."""


class LibraryIndex(SoundIndex, Protocol):
    """An index that follows a store."""

    @property
    def last_seq(self) -> int:
        """The highest sequence number of the store that went in; 0: none."""

    def update(self, added: Iterable[Added], removed: Iterable[tuple[int, str]]) -> tuple[int, int]:
        """Add and remove sounds, all or none. Returns how many of each."""

    def stats(self) -> dict[str, int]:
        """Sounds, bytes, and more."""

    def __contains__(self, sound_id: object) -> bool: ...

    def __len__(self) -> int: ...


IndexPlace = Path | Sequence[str]
"""Where an index is: a folder of this machine, or the URLs of the servers that all nodes share."""


def open_index(place: IndexPlace) -> LibraryIndex:
    """The index that is there, or an empty one."""
    return DiskIndex(place) if isinstance(place, Path) else ValkeyIndex(place)


def comparison(device: torch.device | None) -> Comparison:
    """How bass is compared where networks run on that device."""
    if device is None or device.type != "cuda":
        return CountedBits()
    from models.soundid.bass_matmul import MatrixProducts  # torch: a command that lists sounds needs none

    return MatrixProducts(device)


class SoundLibrary:
    """The index and its matcher. Safe to use from many threads and processes.

    Args:
        place: see `IndexPlace`.
        device: where networks run; a GPU compares an upload's bass with a whole catalogue's.
    """

    def __init__(self, place: IndexPlace, device: torch.device | None = None) -> None:
        self.index = open_index(place)
        self._matcher = Matcher(self.index, comparison(device))
        self._syncing = threading.Lock()

    def warm(self) -> None:
        """Compile what a match needs, before the first upload waits for it."""
        self._matcher.warm()

    def match(self, fingerprint: Fingerprint) -> list[SoundMatch]:
        """Known sounds in an upload, as far as the index has come."""
        return self._matcher.match(fingerprint)

    def same(self, sound_id: str, fingerprint: Fingerprint, as_it_is: bool) -> list[SoundMatch]:
        """Other known sounds in this one."""
        return self._matcher.match(fingerprint, without={sound_id}, as_it_is=as_it_is)

    def sync(self, source: SoundSource) -> int:
        """Take in what the store has and the copy has not. Returns how many sounds that were."""
        taken = 0
        with self._syncing:
            while sounds := source.sounds_after(self.index.last_seq, PAGE):
                self._absorb(sounds)
                taken += len(sounds)
        return taken

    def _absorb(self, sounds: Sequence[SoundRow]) -> None:
        """Take in one page of changes, in one step: a copy that is killed here has all of them or none."""
        living, gone = [], []
        for sound in sounds:
            try:
                if sound.fingerprint is not None:
                    fingerprint = Fingerprint.from_bytes(sound.fingerprint)
                    living.append((sound.seq, sound.sound_id, sound.kind, sound.title, fingerprint))
                    continue
            except FingerprintError as error:
                # One that an older version made shall not keep the others from being recognised.
                log.error("sound %s is not recognised: %s; add it again from its file", sound.sound_id, error)
            gone.append((sound.seq, sound.sound_id))
        self.index.update(living, gone)

    @classmethod
    def rebuild(cls, place: IndexPlace, source: SoundSource) -> SoundLibrary:
        """Make the index anew from the store."""
        if isinstance(place, Path):
            DiskIndex.recreate(place)
        else:
            ValkeyIndex.recreate(place).close()
        library = cls(place)
        library.sync(source)
        return library
