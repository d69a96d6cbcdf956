"""Files that the safetensors library reads, written piece by piece and mapped."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save

from models.training.tensor_file import map_tensors, tensor_file


@pytest.mark.parametrize("rows", [0, 1, 4096, 4097])
def test_the_library_reads_what_is_written(tmp_path: Path, rows: int) -> None:
    random = np.random.default_rng(0)
    arrays = {
        "times_s": random.random(rows).astype(np.float32),
        "embeddings": random.random((rows, 7)).astype(np.float16),
    }
    path = tmp_path / "rows.safetensors"
    path.write_bytes(b"".join(tensor_file({name: (array, array.dtype) for name, array in arrays.items()})))
    for found in (load_file(path), map_tensors(path)):
        assert set(found) == set(arrays)
        for name, array in arrays.items():
            np.testing.assert_array_equal(found[name], array)
    assert path.read_bytes() == save(arrays)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x00" * 8,
        struct.pack("<Q", 1 << 40),
        struct.pack("<Q", 2) + b"{}"[:1],
        struct.pack("<Q", 70) + b'{"a":{"dtype":"F32","shape":[4],"data_offsets":[0,16]}}'.ljust(70),
        struct.pack("<Q", 70) + b'{"a":{"dtype":"F64","shape":[1],"data_offsets":[0,8]}}'.ljust(70) + b"\x00" * 8,
        struct.pack("<Q", 70) + b'{"a":{"dtype":"F32","shape":[9],"data_offsets":[0,4]}}'.ljust(70) + b"\x00" * 64,
        struct.pack("<Q", 70) + b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[-4,0]}}'.ljust(70) + b"\x00" * 64,
    ],
)
def test_what_is_no_such_file_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "rows.safetensors"
    path.write_bytes(content)
    with pytest.raises((ValueError, KeyError, TypeError)):
        map_tensors(path)
