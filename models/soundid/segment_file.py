"""A segment's file, written from fingerprints."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from models.soundid.fingerprint import Fingerprint
from models.soundid.pairs import HASH_BITS
from models.soundid.segment import (
    FORMAT,
    MAX_BITS,
    MAX_BUCKET,
    MAX_LINE,
    MIN_BITS,
    POSTINGS_BITS,
    SoundEntry,
    checksum,
    sound_key,
)


@dataclass
class _Rows:
    """Sounds on their way into a segment."""

    entries: list[SoundEntry]
    hashes: list[npt.NDArray[np.uint32]]
    times: list[npt.NDArray[np.uint32]]
    peak_times: list[npt.NDArray[np.uint32]]
    peak_bins: list[npt.NDArray[np.uint16]]
    signs: list[npt.NDArray[np.uint8]]
    bass: list[npt.NDArray[np.uint64]]
    dropped: int = 0


def rows_of(sounds: Iterable[tuple[SoundEntry, Fingerprint]]) -> _Rows:
    """What a segment keeps of these sounds."""
    rows = _Rows([], [], [], [], [], [], [])
    for entry, fingerprint in sounds:
        rows.entries.append(entry)
        rows.hashes.append(fingerprint.hashes)
        rows.times.append(fingerprint.times)
        rows.peak_times.append(fingerprint.reference.times)
        rows.peak_bins.append(fingerprint.reference.bins)
        rows.signs.append(fingerprint.signs)
        rows.bass.append(fingerprint.bass)
    return rows


def directory_bits(postings: int) -> int:
    """Upper bits of a hash that the directory of so many postings is by."""
    return min(max(MIN_BITS, postings.bit_length() - POSTINGS_BITS), MAX_BITS)


def _concatenate(parts: Sequence[npt.NDArray[Any]], dtype: type[np.generic]) -> npt.NDArray[Any]:
    return np.concatenate([np.zeros(0, dtype), *parts]).astype(dtype, copy=False)


def write_segment(path: Path, rows: _Rows) -> None:
    """Write a segment and see it on the disk. The caller renames it into place.

    Raises:
        ValueError: if the sounds are longer than one segment can hold.
    """
    from safetensors.numpy import save_file

    starts = np.concatenate([[0], np.cumsum([entry.frames for entry in rows.entries], dtype=np.int64)])
    if starts[-1] > MAX_LINE:
        raise ValueError(f"{starts[-1]} frames are more than one segment holds")
    hashes = _concatenate(rows.hashes, np.uint32)
    line = [times + np.uint32(start) for times, start in zip(rows.times, starts, strict=False)]
    postings = _concatenate(line, np.uint32)
    # By hash, then by time: a stable sort, for the sounds come in the line's order.
    order = np.argsort(hashes, kind="stable")
    hashes, postings = hashes[order], postings[order]
    keep, dropped = bounded_buckets(hashes)
    hashes, postings = hashes[keep], postings[keep]
    texts = [json.dumps([entry.sound_id, entry.kind, entry.title]).encode() for entry in rows.entries]
    bits = directory_bits(len(hashes))
    upper = hashes >> np.uint32(HASH_BITS - bits)
    arrays: dict[str, npt.NDArray[Any]] = {
        "directory": np.searchsorted(upper, np.arange(2**bits + 1)).astype(np.uint32),
        "low": (hashes & np.uint32(0xFF)).astype(np.uint8),
        "postings": postings,
        "starts": starts.astype(np.uint32),
        "seqs": np.asarray([entry.seq for entry in rows.entries], dtype=np.int64),
        "keys": np.asarray([sound_key(entry.sound_id) for entry in rows.entries], dtype=np.uint64),
        "texts": np.frombuffer(b"".join(texts), dtype=np.uint8),
        "text_ends": np.cumsum([0] + [len(text) for text in texts]).astype(np.uint32),
        "peak_ends": np.cumsum([0] + [len(times) for times in rows.peak_times]).astype(np.uint32),
        "peak_times": _concatenate(rows.peak_times, np.uint32),
        "peak_bins": _concatenate(rows.peak_bins, np.uint16),
        "sign_ends": np.cumsum([0] + [len(signs) for signs in rows.signs], dtype=np.int64),
        "signs": _concatenate(rows.signs, np.uint8),
        "bass_ends": np.cumsum([0] + [len(bass) for bass in rows.bass], dtype=np.int64),
        "bass": _concatenate(rows.bass, np.uint64),
    }
    metadata = {"format": FORMAT, "dropped": rows.dropped + dropped, "crc32": checksum(arrays)}
    save_file(arrays, path, metadata={key: str(value) for key, value in metadata.items()})
    with path.open("rb") as file:
        os.fsync(file.fileno())


def bounded_buckets(hashes: npt.NDArray[np.uint32]) -> tuple[npt.NDArray[np.bool_], int]:
    """Which of the sorted postings stay, at most `MAX_BUCKET` a hash, spread evenly; and how many go."""
    begins = (
        np.flatnonzero(np.concatenate([[True], hashes[1:] != hashes[:-1]])) if len(hashes) else np.zeros(0, np.intp)
    )
    counts = np.diff(np.append(begins, len(hashes)))
    keep = np.ones(len(hashes), dtype=np.bool_)
    for begin, count in zip(begins[counts > MAX_BUCKET], counts[counts > MAX_BUCKET], strict=True):
        keep[begin : begin + count] = False
        keep[begin + np.arange(MAX_BUCKET, dtype=np.int64) * count // MAX_BUCKET] = True
    return keep, int(len(hashes) - keep.sum())
