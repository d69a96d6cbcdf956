"""Arrays that cross from the decoder to its parent as files: `.npy`, memory-mapped, never pickled.

The file may come from a process that a hostile upload has taken over, so reading follows no link and believes no
header.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from numpy.lib import format as npy

HEADER_BYTES = 128
"""Fixed, so that the length can be written in when it is known."""


def header(dtype: npt.DTypeLike, length: int) -> bytes:
    """The `.npy` header (format 1.0) of a one-dimensional array, `HEADER_BYTES` long."""
    fields = f"{{'descr': '{np.dtype(dtype).str}', 'fortran_order': False, 'shape': ({length},), }}".encode("latin1")
    room = HEADER_BYTES - len(npy.magic(1, 0)) - 2
    return npy.magic(1, 0) + room.to_bytes(2, "little") + fields.ljust(room - 1) + b"\n"


class GrowingArray:
    """A one-dimensional `.npy` file that is written as its values come, so that memory does not grow with it."""

    def __init__(self, path: Path, dtype: npt.DTypeLike) -> None:
        self._path = path
        self._dtype = np.dtype(dtype)
        self._file = path.open("wb")
        self._file.write(header(self._dtype, 0))
        self.length = 0

    def append(self, values: npt.NDArray[Any]) -> None:
        """Add values at the end."""
        self._file.write(np.ascontiguousarray(values, self._dtype).data)
        self.length += len(values)

    def close(self) -> npt.NDArray[Any]:
        """Finish the file; the array, memory-mapped read-only."""
        self._file.seek(0)
        self._file.write(header(self._dtype, self.length))
        self._file.close()
        return read(self._path)


def write(path: Path, array: npt.NDArray[Any]) -> None:
    """Write an array of plain numbers."""
    if array.dtype.hasobject:
        raise TypeError("only arrays of plain numbers can be handed over")
    np.save(path, array, allow_pickle=False)


def read(path: Path) -> npt.NDArray[Any]:
    """The array in a file, memory-mapped read-only.

    Raises:
        ValueError: the file is no array of plain numbers, or is shorter than it says.
        OSError: there is no such file, or it is a link.
    """
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
        version = npy.read_magic(file)
        if version not in {(1, 0), (2, 0)}:
            raise ValueError("unknown .npy version")
        reader = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        shape, fortran, dtype = reader(file)
        if dtype.hasobject or any(side < 0 for side in shape):
            raise ValueError("not an array of plain numbers")
        order: Any = "F" if fortran else "C"
        if 0 in shape:
            return np.empty(shape, dtype, order=order)
        size = os.fstat(file.fileno()).st_size
        if size - file.tell() < int(np.prod(shape, dtype=object)) * dtype.itemsize:
            raise ValueError("the array is shorter than its header says")
        return np.memmap(file, dtype=dtype, mode="r", offset=file.tell(), shape=shape, order=order)
