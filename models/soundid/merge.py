"""Merging segments into one, in bounded memory whatever their size: postings pass through by ranges of hashes."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from models.soundid.pairs import HASH_BITS
from models.soundid.segment import DTYPES, FORMAT, MAX_LINE, MIN_BITS, Segment, checksum
from models.soundid.segment_file import bounded_buckets, directory_bits

CHUNK = 4_000_000
"""Postings that pass through memory at a time; about 60 bytes each."""
COPIED = 1 << 24
"""Bytes of other tables copied at a time."""
HEADER = 4096
"""Bytes kept free for the header, which is only known at the end; JSON may be followed by spaces."""

Part = tuple[Segment, frozenset[int]]
"""A segment and the numbers of its sounds that are left out."""


def merge(path: Path, parts: Sequence[Part]) -> None:
    """Write one segment of all sounds of these, in their order, and see it on the disk.

    The caller renames it into place. At least one sound MUST be left.

    Raises:
        ValueError: if the sounds are longer than one segment can hold.
    """
    alive = [np.asarray([number not in gone for number in range(len(segment))]) for segment, gone in parts]
    segments = [segment for segment, _ in parts]
    starts = _ends([_chosen(np.diff(s.starts.astype(np.int64)), a) for s, a in zip(segments, alive, strict=True)])
    if starts[-1] > MAX_LINE:
        raise ValueError(f"{starts[-1]} frames are more than one segment holds")
    spool = path.with_name(path.name + ".low.tmp")
    sizes: dict[str, int] = {}
    try:
        with path.open("w+b") as file, spool.open("w+b") as low:
            file.seek(HEADER)

            def put(name: str, blocks: Iterable[Any]) -> None:
                sizes[name] = sum(file.write(block) for block in blocks)

            # Wide numbers first, so that each lies where its width wants it.
            for name in ("seqs", "keys"):
                put(name, (_chosen(getattr(s, name), a).tobytes() for s, a in zip(segments, alive, strict=True)))
            for name in ("sign_ends", "bass_ends"):
                put(name, [_ends_of(segments, alive, name).data])
            put("bass", _runs(segments, alive, "bass_ends", "bass"))
            begin = file.tell()
            directory, dropped = _postings(file, low, segments, alive, starts)
            sizes["postings"] = file.tell() - begin
            put("directory", [directory.data])
            put("starts", [starts.astype(np.uint32).data])
            for name in ("text_ends", "peak_ends"):
                put(name, [_ends_of(segments, alive, name).astype(np.uint32).data])
            put("peak_times", _runs(segments, alive, "peak_ends", "peak_times"))
            put("peak_bins", _runs(segments, alive, "peak_ends", "peak_bins"))
            put("texts", _runs(segments, alive, "text_ends", "texts"))
            put("signs", _runs(segments, alive, "sign_ends", "all_signs"))
            low.seek(0)
            put("low", iter(lambda: low.read(COPIED), b""))
            _header(file, sizes, dropped + sum(segment.dropped for segment in segments), 0)
        merged = Segment(path)
        with path.open("r+b") as file:
            _header(file, sizes, merged.dropped, checksum(merged.tables()))
            file.flush()
            os.fsync(file.fileno())
    finally:
        spool.unlink(missing_ok=True)


def _header(file: IO[bytes], sizes: dict[str, int], dropped: int, crc: int) -> None:
    body: dict[str, Any] = {"__metadata__": {"format": str(FORMAT), "dropped": str(dropped), "crc32": str(crc)}}
    at = 0
    for name, size in sizes.items():
        code, kind = DTYPES[name]
        body[name] = {"dtype": code, "shape": [size // np.dtype(kind).itemsize], "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(body, separators=(",", ":")).encode().ljust(HEADER - 8)
    file.seek(0)
    file.write(len(text).to_bytes(8, "little") + text)


def _chosen(values: npt.NDArray[Any], alive: npt.NDArray[np.bool_]) -> npt.NDArray[Any]:
    return values if alive.all() else values[alive]


def _ends(lengths: Sequence[npt.NDArray[np.int64]]) -> npt.NDArray[np.int64]:
    return np.concatenate([[0], np.cumsum(np.concatenate(lengths))]).astype(np.int64)


def _ends_of(segments: Sequence[Segment], alive: Sequence[npt.NDArray[np.bool_]], name: str) -> npt.NDArray[np.int64]:
    return _ends([_chosen(np.diff(getattr(s, name).astype(np.int64)), a) for s, a in zip(segments, alive, strict=True)])


def _runs(
    segments: Sequence[Segment], alive: Sequence[npt.NDArray[np.bool_]], ends: str, name: str
) -> Iterator[memoryview]:
    """What the living sounds hold of a table, in blocks."""
    for segment, here in zip(segments, alive, strict=True):
        edges = np.flatnonzero(np.diff(np.concatenate([[False], here, [False]]).astype(np.int8)))
        limits, values = getattr(segment, ends), getattr(segment, name)
        for first, last in edges.reshape(-1, 2):
            begin, end = int(limits[first]), int(limits[last])
            for at in range(begin, end, COPIED):
                yield values[at : min(end, at + COPIED)].data


def _postings(
    file: IO[bytes],
    low: IO[bytes],
    segments: Sequence[Segment],
    alive: Sequence[npt.NDArray[np.bool_]],
    starts: npt.NDArray[np.int64],
) -> tuple[npt.NDArray[np.uint32], int]:
    """Write the postings and the lower bits of their hashes; the directory, and how many postings were dropped."""
    total = sum(len(segment.postings) for segment in segments)
    bits = directory_bits(total)
    counts = np.zeros(2**bits, dtype=np.int64)
    moved = _moves(segments, alive, starts)
    dropped = 0
    for first, last in _chunks(segments, total):
        hashes, postings = [], []
        for segment, here, by in zip(segments, alive, moved, strict=True):
            codes, places = segment.slice(first, last)
            if isinstance(by, int):
                line = places.astype(np.int64) + by
            else:
                sounds = np.searchsorted(segment.starts, places, side="right") - 1
                kept = here[sounds]
                codes, line = codes[kept], places[kept].astype(np.int64) + by[sounds[kept]]
            hashes.append(codes)
            postings.append(line.astype(np.uint32))
        codes, places = np.concatenate(hashes), np.concatenate(postings)
        # By hash, then by time: a stable sort, for the sounds come in the line's order.
        order = np.argsort(codes, kind="stable")
        codes, places = codes[order], places[order]
        keep, lost = bounded_buckets(codes)
        if lost:
            codes, places, dropped = codes[keep], places[keep], dropped + lost
        file.write(places.data)
        low.write((codes & np.uint32(0xFF)).astype(np.uint8).data)
        begin = first << (bits - MIN_BITS)
        here_counts = np.bincount((codes >> np.uint32(HASH_BITS - bits)) - begin)
        counts[begin : begin + len(here_counts)] += here_counts
    return np.concatenate([[0], np.cumsum(counts)]).astype(np.uint32), dropped


def _moves(
    segments: Sequence[Segment], alive: Sequence[npt.NDArray[np.bool_]], starts: npt.NDArray[np.int64]
) -> list[int | npt.NDArray[np.int64]]:
    """By how much a posting's place moves: the same for all of a segment, or by sound."""
    moved: list[int | npt.NDArray[np.int64]] = []
    first = 0
    for segment, here in zip(segments, alive, strict=True):
        if here.all():
            moved.append(int(starts[first]))
        else:
            by = np.zeros(len(segment), dtype=np.int64)
            by[here] = starts[first : first + int(here.sum())] - segment.starts[:-1][here].astype(np.int64)
            moved.append(by)
        first += int(here.sum())
    return moved


def _chunks(segments: Sequence[Segment], total: int) -> Iterator[tuple[int, int]]:
    """Ranges of the hashes' upper `MIN_BITS` bits that hold `CHUNK` postings together, or are a single value."""
    edges = sum((segment.edges().astype(np.int64) for segment in segments), np.zeros(2**MIN_BITS + 1, dtype=np.int64))
    first = 0
    while first < 2**MIN_BITS and edges[first] < total:
        last = int(np.searchsorted(edges, edges[first] + CHUNK, side="right")) - 1
        last = min(max(first + 1, last), 2**MIN_BITS)
        yield first, last
        first = last
