"""The sound index on Valkey as it was at one moment: what a matcher reads, over the network."""

from __future__ import annotations

import json
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

TIME_BITS = 21
"""Lower bits of a posting: the frame in the sound; the sound's number is above them."""
MAX_POSTINGS = 3_000_000
"""Postings that one lookup gives at most, if not told otherwise."""
CLASSES_PER_DOUBLING = 4
"""Classes of what a hash is worth: as fine as the servers' classes of how many postings it has."""
BASS_WORDS = 337_500
"""Words of bass that are fetched at most, 2.7 MB: a day of sound."""
FRAMES_PER_WORD = 25.6
"""Frames that a word of a sound's bass holds: two bits for every 8 ms."""
LOG_ENTRY = np.dtype([("number", "<u8"), ("frames", "<u4"), ("effect", "u1")])
"""An entry of the log of what came and went."""
CACHE_BYTES = 256 * 1024**2
"""Peaks and signs that a process keeps of the sounds that it looked at last."""


@dataclass(frozen=True)
class FoundPostings:
    """What a lookup found: for each hit its row in the query, the sound's number in the view, the frame in it."""

    rows: npt.NDArray[np.int32]
    sounds: npt.NDArray[np.int32]
    times: npt.NDArray[np.int32]


@dataclass(frozen=True)
class FoundBass:
    """The bass of several sounds, one after the other: words, the sounds' numbers in the view, where each begins."""

    words: npt.NDArray[np.uint64]
    sounds: npt.NDArray[np.int64]
    starts: npt.NDArray[np.int64]


@dataclass(frozen=True)
class KnownEntry:
    """A sound as the index has it. `frames`: its length."""

    seq: int
    sound_id: str
    kind: str
    title: str | None
    frames: int


@dataclass(frozen=True)
class SoundBody:
    """What is kept of a sound beside its postings."""

    entry: KnownEntry
    times: npt.NDArray[np.uint32]
    bins: npt.NDArray[np.uint16]
    signs: npt.NDArray[np.uint8]
    bass: npt.NDArray[np.uint64]

    @property
    def size(self) -> int:
        """Bytes, about."""
        return self.times.nbytes + self.bins.nbytes + self.signs.nbytes + self.bass.nbytes + 500

    def fields(self) -> dict[str, bytes]:
        """As they are kept on a server."""
        entry = self.entry
        name = json.dumps([entry.seq, entry.sound_id, entry.kind, entry.title, entry.frames])
        return {
            "entry": name.encode(),
            "times": self.times.astype("<u4").tobytes(),
            "bins": self.bins.astype("<u2").tobytes(),
            "signs": self.signs.tobytes(),
            "bass": self.bass.astype("<u8").tobytes(),
        }

    @classmethod
    def read(cls, fields: dict[bytes, bytes]) -> SoundBody:
        """From what a server keeps."""
        return cls(
            KnownEntry(*json.loads(fields[b"entry"])),
            np.frombuffer(fields[b"times"], "<u4").astype(np.uint32, copy=False),
            np.frombuffer(fields[b"bins"], "<u2").astype(np.uint16, copy=False),
            np.frombuffer(fields[b"signs"], np.uint8),
            np.frombuffer(fields[b"bass"], "<u8").astype(np.uint64, copy=False),
        )


class BodyCache:
    """The bodies that were read last: a sound's number never means another, so that they hold in every view."""

    def __init__(self, size: int = CACHE_BYTES) -> None:
        self._room = size
        self._held: OrderedDict[int, SoundBody] = OrderedDict()
        self._guard = threading.Lock()

    def get(self, number: int, read: Callable[[int], SoundBody]) -> SoundBody:
        """The body of that number, from here or by `read`."""
        with self._guard:
            if number in self._held:
                self._held.move_to_end(number)
                return self._held[number]
        body = read(number)
        with self._guard:
            if number not in self._held:
                self._held[number] = body
                self._room -= body.size
                while self._room < 0 and len(self._held) > 1:
                    self._room += self._held.popitem(last=False)[1].size
        return body

    def clear(self) -> None:
        """Forget all."""
        with self._guard:
            self._room += sum(body.size for body in self._held.values())
            self._held.clear()


@dataclass(frozen=True)
class Catalogue:
    """Which sounds there are: their numbers on the servers, ascending, and lengths in frames.

    Attributes:
        epoch: of the index that this is a moment of.
        read: entries of the log that are in it.
        effect: which are of kind `effect`.
    """

    epoch: bytes
    read: int
    numbers: npt.NDArray[np.int64]
    lengths: npt.NDArray[np.int64]
    effect: npt.NDArray[np.bool_]

    @classmethod
    def empty(cls, epoch: bytes) -> Catalogue:
        """Before the first sound."""
        return cls(epoch, 0, np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.bool_))

    def after(self, entries: npt.NDArray[Any]) -> Catalogue:
        """With more entries (`LOG_ENTRY`) of the log; length 0: the sound is gone."""
        numbers = np.concatenate([self.numbers, entries["number"].astype(np.int64)])
        lengths = np.concatenate([self.lengths, entries["frames"].astype(np.int64)])
        effect = np.concatenate([self.effect, entries["effect"] != 0])
        # The last that is said of a number holds.
        found, last = np.unique(numbers[::-1], return_index=True)
        lengths, effect = lengths[::-1][last], effect[::-1][last]
        alive = lengths > 0
        return Catalogue(self.epoch, self.read + len(entries), found[alive], lengths[alive], effect[alive])


class Reader(Protocol):
    """How a view reads the servers; MUST be safe to use from many threads."""

    def lookup(
        self, epoch: bytes, hashes: npt.NDArray[np.uint32], classes: npt.NDArray[np.uint8], most: int
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.uint64]]:
        """Rows, ascending, with the number of postings of each, and the postings in that order."""

    def body(self, number: int) -> SoundBody:
        """A sound."""

    def bass(self, numbers: Sequence[int]) -> list[npt.NDArray[np.uint64]]:
        """The bass of each of these sounds; empty where it is not known."""


class ValkeyView:
    """The index at one moment. Has the shape of `IndexView`: a sound's number here is its place in the catalogue."""

    def __init__(self, catalogue: Catalogue, reader: Reader) -> None:
        self.catalogue = catalogue
        self._reader = reader
        self.frames = int(catalogue.lengths.sum())
        """Length of all sounds together, frames."""
        self._first = int(catalogue.numbers[0]) if len(catalogue.numbers) else 0
        span = int(catalogue.numbers[-1]) - self._first + 1 if len(catalogue.numbers) else 0
        self._places = np.full(span + 1, -1, dtype=np.int32)
        self._places[catalogue.numbers - self._first] = np.arange(len(catalogue.numbers), dtype=np.int32)
        self._bass: dict[int, FoundBass] = {}

    def __len__(self) -> int:
        return len(self.catalogue.numbers)

    def lookup(
        self,
        hashes: npt.NDArray[np.uint32],
        most: int = MAX_POSTINGS,
        worth: npt.NDArray[np.float32] | None = None,
    ) -> FoundPostings:
        """Postings of these hashes, those of one sound in the order of the hashes; one round trip.

        At most `most`: where there are more, the hashes of the most worth a posting are answered. Sounds that came
        later, and those that are gone, are not among them.
        """
        classes = np.zeros(len(hashes), dtype=np.uint8)
        if worth is not None:
            classes = np.clip(-CLASSES_PER_DOUBLING * np.log2(np.maximum(worth, 1e-9)), 0, 255).astype(np.uint8)
        rows, counts, postings = self._reader.lookup(self.catalogue.epoch, hashes, classes, most)
        numbers = (postings >> np.uint64(TIME_BITS)).astype(np.int64) - self._first
        # One place past the last stands for all that are not of this view.
        numbers[(numbers < 0) | (numbers >= len(self._places))] = len(self._places) - 1
        sounds = self._places[numbers]
        here = sounds >= 0
        times = (postings & np.uint64(2**TIME_BITS - 1)).astype(np.int32)
        return FoundPostings(np.repeat(rows, counts)[here].astype(np.int32), sounds[here], times[here])

    def lengths(self, sounds: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Lengths of these sounds, frames."""
        return self.catalogue.lengths[sounds]

    def _body(self, sound: int) -> SoundBody:
        return self._reader.body(int(self.catalogue.numbers[sound]))

    def entry(self, sound: int) -> KnownEntry:
        """The sound of that number."""
        return self._body(sound).entry

    def peaks(self, sound: int) -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.uint16]]:
        """Times and bins of its peaks, ascending in time."""
        body = self._body(sound)
        return body.times, body.bins

    def signs(self, sound: int) -> npt.NDArray[np.uint8]:
        """Signs of its whitened waveform."""
        return self._body(sound).signs

    def bass(self, most: int) -> FoundBass:
        """The bass of the sounds that came last, of so many words at most; read once, and then what is new."""
        most = min(most, BASS_WORDS)
        if most not in self._bass:
            lengths = np.ceil(self.catalogue.lengths[::-1] / FRAMES_PER_WORD).astype(np.int64) + 1
            latest = len(self) - 1 - np.arange(int(np.searchsorted(np.cumsum(lengths), most, side="right")))
            parts = self._reader.bass([int(number) for number in self.catalogue.numbers[latest]])
            known = np.asarray([len(part) > 0 for part in parts], dtype=np.bool_)
            ends = np.cumsum([0, *(len(part) for part in parts if len(part))], dtype=np.int64)
            words = np.concatenate([np.zeros(0, np.uint64), *parts])
            self._bass[most] = FoundBass(words, latest[known].astype(np.int64), ends)
        return self._bass[most]

    def bass_tables(self) -> list[Any]:
        """None: what `bass` has not would have to be fetched sound by sound."""
        return []

    def effects(self, longest: int) -> list[int]:
        """Numbers of the sounds of kind `effect` of so many frames at most."""
        return [int(sound) for sound in np.flatnonzero(self.catalogue.effect & (self.catalogue.lengths <= longest))]
