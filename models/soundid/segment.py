"""One immutable file of the sound index: postings sorted by hash, and the sounds they belong to.

The file is safetensors, written by its library and mapped here (the library copies what it loads). All sounds of a
segment lie one after the other on one line of frames, so that a posting is a single uint32: sound and time at once.

    directory  uint32 [2**bits+1] where the postings of each value of a hash's upper bits begin; the more postings,
                                  the more bits
    low        uint8  [postings]  lower 8 bits of the hash, ascending within the directory's entry
    postings   uint32 [postings]  frame on the line
    starts     uint32 [sounds+1]  where each sound begins on the line
    seqs       int64  [sounds]    sequence number in the store
    keys       uint64 [sounds]    first 8 bytes of blake2b of the sound's id
    texts      uint8  [bytes]     for each sound JSON [sound_id, kind, title]
    text_ends  uint32 [sounds+1]
    peak_ends  uint32 [sounds+1]
    peak_times uint32 [peaks]     frame in the sound
    peak_bins  uint16 [peaks]     as in `features.Peaks`
    sign_ends  int64  [sounds+1]
    signs      uint8  [bytes]     as in `whitening.signs`
    bass_ends  int64  [sounds+1]
    bass       uint64 [words]     as in `bass.bass`

Format history: 1 - first version. 2 - a directory that grows, and the signs of the whitened waveform. 3 - and of the
bass.
"""

from __future__ import annotations

import hashlib
import json
import mmap
import os
import zlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from models.soundid.jit import compiled
from models.soundid.pairs import HASH_BITS

FORMAT = 3
MIN_BITS, MAX_BITS = HASH_BITS - 8, HASH_BITS
"""Upper bits of a hash that a directory is by."""
POSTINGS_BITS = 3
"""A directory has about an entry for every 2**`POSTINGS_BITS` postings."""
MAX_BUCKET = 4096
"""Postings kept of one hash in a segment: what occurs everywhere says nothing, and would make every query slow."""
LINE_STEP = 1024
"""Frames between the places of the line whose sound is known at once: a power of two."""
SCANNED = 16
"""Postings of a directory's entry that are scanned; of more, half are left out at a time."""
MAX_LINE = 2**32 - 2
"""Frames that one segment can hold: more than 11,000 hours."""
MAX_HEADER = 65_536
"""Bytes of a header that is believed."""

DTYPES: dict[str, tuple[str, type[np.generic]]] = {
    "directory": ("U32", np.uint32),
    "low": ("U8", np.uint8),
    "postings": ("U32", np.uint32),
    "starts": ("U32", np.uint32),
    "seqs": ("I64", np.int64),
    "keys": ("U64", np.uint64),
    "texts": ("U8", np.uint8),
    "text_ends": ("U32", np.uint32),
    "peak_ends": ("U32", np.uint32),
    "peak_times": ("U32", np.uint32),
    "peak_bins": ("U16", np.uint16),
    "sign_ends": ("I64", np.int64),
    "signs": ("U8", np.uint8),
    "bass_ends": ("I64", np.int64),
    "bass": ("U64", np.uint64),
}

ENDS = ("starts", "text_ends", "peak_ends", "sign_ends", "bass_ends")
"""Tables of where each sound begins in another."""


class IndexCorrupt(Exception):
    """The index cannot be read: damaged, or written by a newer version. The store is the truth: make it again."""

    def __init__(self, what: str) -> None:
        super().__init__(f"the sound index cannot be read ({what}); make it again: tagfarm sounds rebuild")
        self.what = what

    def __reduce__(self) -> tuple[Any, ...]:
        return (IndexCorrupt, (self.what,))


@dataclass(frozen=True)
class SoundEntry:
    """A sound of the catalogue. `kind` is `song`, `effect` or `original`; `frames` its length."""

    seq: int
    sound_id: str
    kind: str
    title: str | None
    frames: int


def sounds_at(starts: npt.NDArray[np.uint32]) -> npt.NDArray[np.int32]:
    """The sound at every `LINE_STEP`-th frame of a line. Sounds start at `starts`; its last is the line's end."""
    at = np.arange(0, int(starts[-1]) + 1, LINE_STEP)
    found = np.searchsorted(starts, at, side="right") - 1
    return np.clip(found, 0, len(starts) - 2).astype(np.int32)


def sound_key(sound_id: str) -> int:
    """64 bits that stand for a sound's id."""
    return int.from_bytes(hashlib.blake2b(sound_id.encode(), digest_size=8).digest(), "little")


class Segment:
    """A segment, mapped. Any number of threads and processes may read it; it stays readable when it is unlinked.

    Raises:
        IndexCorrupt: if the file is not a segment, is cut short, or is of a newer format.
        FileNotFoundError: if there is none.
    """

    def __init__(self, path: Path) -> None:
        self.name = path.name
        self._effects: dict[int, list[int]] = {}
        with path.open("rb") as file:
            self.size = os.fstat(file.fileno()).st_size
            if self.size < 16:
                raise IndexCorrupt(f"{self.name}: {self.size} bytes")
            self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        arrays = self.tables()
        self.directory, self.low, self.postings = arrays["directory"], arrays["low"], arrays["postings"]
        self.starts, self.seqs, self.keys = arrays["starts"], arrays["seqs"], arrays["keys"]
        self.texts, self.text_ends = arrays["texts"], arrays["text_ends"]
        self.peak_ends, self.peak_times, self.peak_bins = arrays["peak_ends"], arrays["peak_times"], arrays["peak_bins"]
        self.sign_ends, self.all_signs = arrays["sign_ends"], arrays["signs"]
        self.bass_ends, self.bass = arrays["bass_ends"], arrays["bass"]
        self._bits = (len(self.directory) - 1).bit_length() - 1
        sounds = len(self.seqs)
        if (
            sounds == 0
            or not MIN_BITS <= self._bits <= MAX_BITS
            or len(self.directory) != 2**self._bits + 1
            or len(self.low) != len(self.postings)
            or len(self.keys) != sounds
            or any(len(arrays[ends]) != sounds + 1 for ends in ENDS)
            or len(self.peak_times) != len(self.peak_bins)
            or int(self.directory[0]) != 0
            or (np.diff(self.directory.astype(np.int64)) < 0).any()
            or int(self.directory[-1]) != len(self.low)
            or int(self.peak_ends[-1]) != len(self.peak_times)
            or int(self.text_ends[-1]) != len(self.texts)
            or int(self.sign_ends[-1]) != len(self.all_signs)
            or int(self.bass_ends[-1]) != len(self.bass)
            or (np.diff(self.bass_ends, prepend=0) < 0).any()
        ):
            raise IndexCorrupt(f"{self.name}: tables that do not fit together")

    def tables(self) -> dict[str, npt.NDArray[Any]]:
        """Map every table; only the header is read."""
        length = int.from_bytes(self._map[:8], "little")
        if length > MAX_HEADER or 8 + length > self.size:
            raise IndexCorrupt(f"{self.name}: no header")
        try:
            header = json.loads(self._map[8 : 8 + length])
            metadata = header["__metadata__"]
            self.format, self.dropped, self.checksum = (int(metadata[key]) for key in ("format", "dropped", "crc32"))
            if self.format != FORMAT:
                raise IndexCorrupt(f"{self.name}: format {self.format}; this version reads {FORMAT}")
            arrays = {}
            for name, (dtype, kind) in DTYPES.items():
                entry = header[name]
                begin, end = (8 + length + int(offset) for offset in entry["data_offsets"])
                count = (end - begin) // np.dtype(kind).itemsize
                if entry["dtype"] != dtype or list(entry["shape"]) != [count] or not 8 + length <= begin <= end:
                    raise IndexCorrupt(f"{self.name}: table {name}")
                arrays[name] = np.frombuffer(self._map, dtype=kind, count=count, offset=begin)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise IndexCorrupt(f"{self.name}: {type(error).__name__} in the header") from error
        return arrays

    def verify(self) -> None:
        """Read everything and compare checksums. Raises `IndexCorrupt`."""
        if checksum(self.tables()) != self.checksum:
            raise IndexCorrupt(f"{self.name}: wrong checksum")

    def __len__(self) -> int:
        return len(self.seqs)

    def entry(self, number: int) -> SoundEntry:
        """The sound of that number."""
        begin, end = int(self.text_ends[number]), int(self.text_ends[number + 1])
        try:
            sound_id, kind, title = json.loads(self.texts[begin:end].tobytes())
        except (ValueError, TypeError, RecursionError) as error:
            raise IndexCorrupt(f"{self.name}: name of sound {number}") from error
        frames = int(self.starts[number + 1]) - int(self.starts[number])
        return SoundEntry(int(self.seqs[number]), str(sound_id), str(kind), title, frames)

    def peaks(self, number: int) -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.uint16]]:
        """Times and bins of a sound's peaks."""
        begin, end = int(self.peak_ends[number]), int(self.peak_ends[number + 1])
        return self.peak_times[begin:end], self.peak_bins[begin:end]

    @cached_property
    def sound_at(self) -> npt.NDArray[np.int32]:
        """The sound at every `LINE_STEP`-th frame of the line: where to begin to look for a posting's."""
        return sounds_at(self.starts)

    def effects(self, longest: int) -> list[int]:
        """Numbers of the sounds of kind `effect` of so many frames at most; read once."""
        if longest not in self._effects:
            short = np.flatnonzero(np.diff(self.starts.astype(np.int64)) <= longest)
            self._effects[longest] = [int(number) for number in short if self.entry(int(number)).kind == "effect"]
        return self._effects[longest]

    def find(self, sound_id: str) -> list[int]:
        """Numbers of the sounds with this id."""
        same = np.flatnonzero(self.keys == np.uint64(sound_key(sound_id)))
        return [int(number) for number in same if self.entry(int(number)).sound_id == sound_id]

    def signs(self, number: int) -> npt.NDArray[np.uint8]:
        """Signs of a sound's whitened waveform."""
        begin, end = int(self.sign_ends[number]), int(self.sign_ends[number + 1])
        return self.all_signs[begin:end]

    def ranges(self, hashes: npt.NDArray[np.uint32]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Where the postings of each hash (in any order) begin, and how many there are."""
        begin, count = np.empty(len(hashes), dtype=np.int64), np.empty(len(hashes), dtype=np.int64)
        _ranges(hashes, HASH_BITS - self._bits, self.directory, self.low, begin, count)
        return begin, count

    def edges(self) -> npt.NDArray[np.uint32]:
        """Where the postings of each value of a hash's upper `MIN_BITS` bits begin, and where the last ones end."""
        return self.directory[:: 2 ** (self._bits - MIN_BITS)]

    def slice(self, first: int, last: int) -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.uint32]]:
        """Hashes and postings, by hash, of which the upper `MIN_BITS` bits are from `first` to before `last`."""
        wider = self._bits - MIN_BITS
        directory = self.directory[first << wider : (last << wider) + 1]
        begin, end = int(directory[0]), int(directory[-1])
        shift = np.uint32(HASH_BITS - self._bits)
        upper = np.repeat(np.arange(first << wider, last << wider, dtype=np.uint32), np.diff(directory))
        low = self.low[begin:end] & np.uint32((1 << int(shift)) - 1)
        return upper << shift | low, self.postings[begin:end]


@compiled
def _ranges(
    hashes: npt.NDArray[np.uint32],
    shift: int,
    directory: npt.NDArray[np.uint32],
    low: npt.NDArray[np.uint8],
    begin: npt.NDArray[np.int64],
    count: npt.NDArray[np.int64],
) -> None:
    for at in range(len(hashes)):
        upper = hashes[at] >> shift
        first, last = np.int64(0), np.int64(0)
        if upper < len(directory) - 1:
            # Never outside of the table, even where damage has put it out of order.
            size = np.int64(len(low))
            first, last = min(np.int64(directory[upper]), size), min(np.int64(directory[upper + 1]), size)
        if shift == 0:
            # The directory is by whole hashes: nothing is left to look for.
            begin[at], count[at] = first, last - first
            continue
        wanted = np.uint8(hashes[at] & 0xFF)
        end = last
        while end - first > SCANNED:
            middle = (first + end) // 2
            if low[middle] < wanted:
                first = middle + 1
            else:
                end = middle
        while first < end and low[first] < wanted:
            first += 1
        stop = first
        while stop < last and low[stop] == wanted:
            stop += 1
        begin[at], count[at] = first, stop - first


def checksum(arrays: dict[str, npt.NDArray[Any]]) -> int:
    """CRC-32 of all tables, in the format's order."""
    crc = 0
    for name in DTYPES:
        crc = zlib.crc32(np.ascontiguousarray(arrays[name]).view(np.uint8).data, crc)
    return crc
