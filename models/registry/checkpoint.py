"""TensorFlow 1 checkpoints read without TensorFlow: an index (a LevelDB table) and one file of raw tensors.

The index is a sorted table of LevelDB's `doc/table_format.md`: blocks of key-value pairs whose keys share prefixes,
found by an index block, found by a footer of 48 bytes. Its values are `BundleEntryProto` messages (TensorFlow's
`tensor_bundle.proto`). Only what a checkpoint of one shard and float32 tensors has is read; all else is refused.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

FOOTER = 48
"""Bytes."""
TRAILER = 5
"""Bytes behind a block: its compression and a checksum."""
MAGIC = 0xDB4775248B80FB57
DT_FLOAT = 1
MAX_VARINT = 10
"""Bytes."""

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
"""Wire types of protocol buffers."""


class NotACheckpoint(ValueError):
    """The bytes are not such a checkpoint. The message says what is wrong with them."""


@dataclass(frozen=True)
class Entry:
    """One tensor's place in the data file."""

    dtype: int
    shape: tuple[int, ...]
    shard: int
    offset: int
    size: int


def read_checkpoint(index: bytes, data: bytes) -> dict[str, npt.NDArray[np.float32]]:
    """The float tensors by name; what is no float32 (step counters) is left out.

    Raises:
        NotACheckpoint: see there.
    """
    tensors = {}
    for key, value in _table(index):
        if not key:  # the header
            continue
        entry = _entry(value)
        if entry.dtype != DT_FLOAT:
            continue
        count = int(np.prod(entry.shape, dtype=np.int64))
        end = entry.offset + entry.size
        if entry.shard != 0 or entry.size != 4 * count or not 0 <= entry.offset <= end <= len(data):
            raise NotACheckpoint(f"tensor {key.decode(errors='replace')} does not lie in the data file")
        tensors[key.decode()] = np.frombuffer(data, "<f4", count, entry.offset).reshape(entry.shape)
    return tensors


def _table(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    if len(content) < FOOTER or struct.unpack("<Q", content[-8:])[0] != MAGIC:
        raise NotACheckpoint("the index does not end as a LevelDB table does")
    footer = content[-FOOTER:]
    _, at = _handle(footer, 0)
    (offset, size), _ = _handle(footer, at)
    for _, handle in _block(content, offset, size):
        (start, length), _ = _handle(handle, 0)
        yield from _block(content, start, length)


def _block(content: bytes, offset: int, size: int) -> Iterator[tuple[bytes, bytes]]:
    if offset + size + TRAILER > len(content):
        raise NotACheckpoint("a block of the index lies beyond its end")
    if content[offset + size] != 0:
        raise NotACheckpoint("a block of the index is compressed")
    block = content[offset : offset + size]
    if size < 4:
        raise NotACheckpoint("a block of the index is too short")
    end = size - 4 - 4 * struct.unpack("<I", block[-4:])[0]
    at, key = 0, b""
    while at < end:
        shared, at = _varint(block, at)
        unshared, at = _varint(block, at)
        length, at = _varint(block, at)
        key = key[:shared] + block[at : at + unshared]
        at += unshared
        yield key, block[at : at + length]
        at += length


def _handle(content: bytes, at: int) -> tuple[tuple[int, int], int]:
    offset, at = _varint(content, at)
    size, at = _varint(content, at)
    return (offset, size), at


def _varint(content: bytes, at: int) -> tuple[int, int]:
    value = 0
    for place in range(MAX_VARINT):
        if at + place >= len(content):
            break
        byte = content[at + place]
        value |= (byte & 0x7F) << (7 * place)
        if not byte & 0x80:
            return value, at + place + 1
    raise NotACheckpoint("a number runs over the end")


def _fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        kind = tag & 7
        if kind == VARINT:
            value, at = _varint(message, at)
            yield tag >> 3, value
        elif kind == BYTES:
            length, at = _varint(message, at)
            yield tag >> 3, message[at : at + length]
            at += length
        elif kind in (FIXED32, FIXED64):
            at += 4 if kind == FIXED32 else 8
        else:
            raise NotACheckpoint(f"a field of wire type {kind}")


def _entry(message: bytes) -> Entry:
    """`BundleEntryProto`: dtype 1, shape 2 (`TensorShapeProto`: dim 2, size 1), shard_id 3, offset 4, size 5."""
    numbers = {1: 0, 3: 0, 4: 0, 5: 0}
    shape: list[int] = []
    for number, value in _fields(message):
        if number == 2 and isinstance(value, bytes):
            for part, dimension in _fields(value):
                if part == 2 and isinstance(dimension, bytes):
                    sizes = [size for field, size in _fields(dimension) if field == 1 and isinstance(size, int)]
                    shape.append(sizes[0] if sizes else 0)
        elif number in numbers and isinstance(value, int):
            numbers[number] = value
    return Entry(numbers[1], tuple(shape), numbers[3], numbers[4], numbers[5])
