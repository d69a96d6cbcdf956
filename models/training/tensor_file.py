"""safetensors files that are larger than memory: written piece by piece, and read where they lie.

The format (https://huggingface.co/docs/safetensors): 8 bytes, the header's length, little-endian; the header, JSON, by
name `dtype`, `shape` and `data_offsets` in what follows; the tensors.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

TYPES: Mapping[str, np.dtype[Any]] = {"F16": np.dtype("<f2"), "F32": np.dtype("<f4")}
MOST_HEADER_BYTES = 1 << 20
ALIGNMENT = 8
PIECE_ROWS = 4096

Arrays = Mapping[str, tuple[npt.NDArray[Any], npt.DTypeLike]]


def tensor_file(tensors: Arrays) -> Iterator[bytes]:
    """The file's content, piece by piece.

    Args:
        tensors: by name the array, which may be mapped from a file, and the type that it is written as; the widest type
            first, so that all are aligned.
    """
    header: dict[str, Any] = {}
    at = 0
    for name, (array, wanted) in tensors.items():
        kind = np.dtype(wanted)
        size = int(np.prod(array.shape, dtype=np.int64)) * kind.itemsize
        said = next(known for known, of in TYPES.items() if of == kind)
        header[name] = {"dtype": said, "shape": list(array.shape), "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % ALIGNMENT)
    yield struct.pack("<Q", len(text)) + text
    for array, wanted in tensors.values():
        for row in range(0, len(array), PIECE_ROWS):
            yield np.ascontiguousarray(array[row : row + PIECE_ROWS], np.dtype(wanted)).tobytes()


def map_tensors(path: Path) -> dict[str, npt.NDArray[Any]]:
    """The arrays, mapped from the file: what is never looked at is never read.

    Raises:
        OSError: it cannot be read.
        ValueError, KeyError, TypeError: it is no such file.
    """
    with path.open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8).ljust(8, b"\0"))
        if not 0 < length <= MOST_HEADER_BYTES:
            raise ValueError(f"{path.name} has no header")
        header = json.loads(file.read(length))
    begin, size = 8 + length, path.stat().st_size
    found: dict[str, npt.NDArray[Any]] = {}
    for name, facts in header.items():
        if name == "__metadata__":
            continue
        kind, shape = TYPES[facts["dtype"]], tuple(int(one) for one in facts["shape"])
        first, last = (begin + int(one) for one in facts["data_offsets"])
        if min(shape, default=1) < 0 or not begin <= first <= last <= size:
            raise ValueError(f"{path.name}: {name} lies outside of the file")
        if last - first != int(np.prod(shape, dtype=np.int64)) * kind.itemsize:
            raise ValueError(f"{path.name}: {name} has not the size of its shape")
        empty = first == last
        found[name] = np.zeros(shape, kind) if empty else np.memmap(path, kind, "r", first, shape)
    return found
