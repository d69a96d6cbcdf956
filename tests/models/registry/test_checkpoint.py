"""The reader of checkpoints, on tables that the test writes as LevelDB does."""

from __future__ import annotations

import struct

import numpy as np
import pytest

from models.registry.checkpoint import MAGIC, NotACheckpoint, read_checkpoint
from models.registry.convert import convert_files, convert_musicnn
from models.registry.tensors import ConversionFailed


def varint(value: int) -> bytes:
    out = b""
    while value >= 128:
        out += bytes([value & 127 | 128])
        value >>= 7
    return out + bytes([value])


def block(pairs: list[tuple[bytes, bytes]]) -> bytes:
    body, last = b"", b""
    for key, value in pairs:
        shared = 0
        while shared < min(len(key), len(last)) and key[shared] == last[shared]:
            shared += 1
        body += varint(shared) + varint(len(key) - shared) + varint(len(value)) + key[shared:] + value
        last = key
    return body + struct.pack("<II", 0, 1)


def entry(dtype: int, shape: tuple[int, ...], offset: int, size: int, shard: int = 0) -> bytes:
    dims = b"".join(b"\x12" + varint(len(d)) + d for d in (b"\x08" + varint(n) for n in shape))
    message = b"\x08" + varint(dtype) + b"\x12" + varint(len(dims)) + dims
    message += b"\x18" + varint(shard) if shard else b""
    return message + b"\x20" + varint(offset) + b"\x28" + varint(size) + b"\x35" + b"\0\0\0\0"


def table(pairs: list[tuple[bytes, bytes]], compression: int = 0) -> bytes:
    data = block(pairs)
    content = data + bytes([compression]) + b"\0\0\0\0"
    index = block([(pairs[-1][0], varint(0) + varint(len(data)))])
    at = len(content)
    content += index + b"\0" + b"\0\0\0\0"
    footer = varint(0) + varint(0) + varint(at) + varint(len(index))
    return content + footer.ljust(40, b"\0") + struct.pack("<Q", MAGIC)


VALUES = np.arange(300, dtype="<f4")
DATA = VALUES.tobytes() + np.array([7], "<i8").tobytes()
PAIRS = [
    (b"", b"\x08\x01"),
    (b"dense/bias", entry(1, (100,), 0, 400)),
    (b"dense/kernel", entry(1, (10, 20), 400, 800)),
    (b"step", entry(9, (), 1200, 8)),
]


def test_tensors_come_back_by_name_and_counters_do_not() -> None:
    found = read_checkpoint(table(PAIRS), DATA)
    assert sorted(found) == ["dense/bias", "dense/kernel"]
    assert (found["dense/bias"] == VALUES[:100]).all()
    assert (found["dense/kernel"] == VALUES[100:].reshape(10, 20)).all()


@pytest.mark.parametrize(
    ("index", "said"),
    [
        (b"", "does not end"),
        (table(PAIRS)[:-1], "does not end"),
        (table(PAIRS, compression=1), "compressed"),
        (table([(b"a", entry(1, (100,), 900, 400))]), "does not lie"),
        (table([(b"a", entry(1, (50,), 0, 400))]), "does not lie"),
        (table([(b"a", entry(1, (100,), 0, 400, shard=1))]), "does not lie"),
        (table([(b"a", b"\x0b")]), "wire type"),
        (table([(b"a", b"\x08" + b"\xff" * 12)]), "runs over"),
    ],
)
def test_what_is_no_such_checkpoint_is_refused(index: bytes, said: str) -> None:
    with pytest.raises(NotACheckpoint, match=said):
        read_checkpoint(index, DATA)


def test_another_checkpoint_is_not_musicnn() -> None:
    with pytest.raises(ConversionFailed, match="not musicnn"):
        convert_musicnn(DATA, table(PAIRS))
    with pytest.raises(ConversionFailed, match="not a TensorFlow checkpoint"):
        convert_musicnn(DATA, b"nothing")


def test_files_are_kept_whole() -> None:
    found = convert_files(b"abc", b"\0\xff")
    assert [bytes(found.tensors[name].numpy()) for name in ("file0", "file1")] == [b"abc", b"\0\xff"]
