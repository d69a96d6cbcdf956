"""Readers for two containers in the corpus that no library reads: Qt resources and OpenTTD sound sets.

Both check every offset against the file before they follow it: a package is somebody else's bytes.
"""

from __future__ import annotations

import io
import re
import struct
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import PurePosixPath

RCC_COMPRESSED, RCC_FOLDER, RCC_ZSTD = 1, 2, 4
MAX_MEMBER = 256 * 1024**2
"""Largest member that is unpacked, bytes."""
MAX_DEPTH = 32


class ArchiveError(Exception):
    """The container is damaged, or of a kind that is not read."""


def read_rcc(data: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield (path, content) of a Qt resource file, versions 1 to 3, in the file's order.

    Follows Qt's `qresource.cpp`: a tree of 14-byte nodes (22 from version 2 on, with a time), names as UTF-16, contents
    with their length in front and zlib-compressed where the node says so. Zstandard members are refused.

    Raises:
        ArchiveError: not a resource file, an offset outside of it, a name that leaves its folder, a member too large.
    """
    if data[:4] != b"qres" or len(data) < 20:
        raise ArchiveError("not a Qt resource file")
    version, tree, contents, names = struct.unpack_from(">4I", data, 4)
    if not 1 <= version <= 3:
        raise ArchiveError(f"Qt resource format {version} is not known")
    size = 14 if version == 1 else 22

    def name(offset: int) -> str:
        (length,) = _unpack(">H", data, names + offset)
        start = names + offset + 6
        text = data[start : start + 2 * length].decode("utf-16-be", errors="replace")
        if text in {"", ".", ".."} or "/" in text or "\\" in text or "\0" in text:
            raise ArchiveError("a member's name leaves its folder")
        return text

    def walk(node: int, folder: str, depth: int) -> Iterator[tuple[str, bytes]]:
        if depth > MAX_DEPTH:
            raise ArchiveError("folders too deep, or in a circle")
        at = tree + node * size
        label, flags = _unpack(">IH", data, at)
        path = f"{folder}/{name(label)}" if node else folder
        if flags & RCC_FOLDER:
            count, first = _unpack(">II", data, at + 6)
            if count * size > len(data):
                raise ArchiveError("a folder claims more members than the file can hold")
            for child in range(first, first + count):
                if child <= node:
                    raise ArchiveError("folders in a circle")
                yield from walk(child, path, depth + 1)
            return
        _, offset = _unpack(">II", data, at + 6)
        yield path.lstrip("/"), _content(data, contents + offset, flags)

    yield from walk(0, "", 0)


def read_cat(data: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield (name, RIFF WAVE file) of an OpenTTD sound set (`.cat`), in its order.

    A table of little-endian (offset, size) pairs, as many as fit before the first offset; at each offset a name with
    its length in front, then the file.

    Raises:
        ArchiveError: not a sound set, or an entry outside of the file.
    """
    (first,) = _unpack("<I", data, 0)
    first &= 0x7FFFFFFF
    if first == 0 or first % 8 or first > len(data):
        raise ArchiveError("not an OpenTTD sound set")
    for entry in range(first // 8):
        offset, _ = _unpack("<II", data, entry * 8)
        offset &= 0x7FFFFFFF
        (length,) = _unpack("<B", data, offset)
        name = data[offset + 1 : offset + 1 + length].split(b"\0")[0].decode("latin-1")
        start = offset + 1 + length
        if data[start : start + 4] != b"RIFF":
            raise ArchiveError(f"entry {entry} holds no RIFF file")
        (size,) = _unpack("<I", data, start + 4)
        if start + 8 + size > len(data):
            raise ArchiveError(f"entry {entry} reaches past the end")
        yield name, data[start : start + 8 + size]


def inside(path: str, content: bytes) -> Iterator[tuple[str, bytes]]:
    """The members of a container, or the file itself. Names are shortened to what tells them apart."""
    suffix, stem = PurePosixPath(path).suffix, PurePosixPath(path).stem
    if suffix == ".rcc":
        for name, body in read_rcc(content):
            yield f"{stem}/{name.rpartition('/resource/')[2]}", body
    elif suffix == ".cat":
        for number, (name, body) in enumerate(read_cat(content)):
            title = name.split('". ')[0].split('" ')[0].strip('" ')
            slug = re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")
            yield f"{stem}/{number:02d}-{slug}.wav", body
    elif suffix == ".pk3":
        with zipfile.ZipFile(io.BytesIO(content)) as bundle:
            for entry in bundle.infolist():
                if not entry.is_dir() and entry.file_size <= MAX_MEMBER:
                    yield f"{stem}/{entry.filename}", bundle.read(entry)
    else:
        yield path, content


def safe_path(path: str) -> PurePosixPath:
    """A member's path that stays in its folder.

    Raises:
        ArchiveError: it does not.
    """
    pure = PurePosixPath(path)
    if pure.is_absolute() or ".." in pure.parts or "\\" in path or "\0" in path or not pure.parts:
        raise ArchiveError("a member's path leaves its folder")
    return pure


def _unpack(form: str, data: bytes, offset: int) -> tuple[int, ...]:
    try:
        return struct.unpack_from(form, data, offset)
    except struct.error as error:
        raise ArchiveError("an offset outside of the file") from error


def _content(data: bytes, at: int, flags: int) -> bytes:
    (length,) = _unpack(">I", data, at)
    start = at + 4
    if start + length > len(data):
        raise ArchiveError("a member reaches past the end")
    body = data[start : start + length]
    if flags & RCC_ZSTD:
        raise ArchiveError("Zstandard members are not read")
    if not flags & RCC_COMPRESSED:
        return body
    try:
        return zlib.decompressobj().decompress(body[4:], MAX_MEMBER)
    except zlib.error as error:
        raise ArchiveError("a member is damaged") from error
