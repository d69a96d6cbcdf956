"""The manifest: which segments make up the index now. Switched by rename, so that there is only the old or the new.

Manifest history: 1 - first version.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

from models.soundid.disk_view import DiskView
from models.soundid.segment import IndexCorrupt, Segment

FORMAT = 1
MANIFEST = "manifest.json"
SUFFIX = ".segment"
LOCK_S = 600
"""How long a writer waits for another, s."""


def lock(path: Path) -> Any:
    """One writer among all processes; the lock of one that dies is freed by the system."""
    from filelock import FileLock

    return FileLock(path / "lock", timeout=LOCK_S)


def stamp(path: Path) -> tuple[int, ...] | None:
    """What changes whenever the manifest is switched."""
    try:
        status = (path / MANIFEST).stat()
    except FileNotFoundError:
        return None
    return (status.st_ino, status.st_mtime_ns, status.st_size)


def read_manifest(path: Path, known: dict[str, Segment]) -> DiskView:
    """What the manifest names, opened; `known` segments are used again.

    Raises:
        IndexCorrupt: if it or a segment cannot be read.
        FileNotFoundError: if it or a segment is not there (a writer may have replaced them just now).
    """
    try:
        manifest = json.loads((path / MANIFEST).read_bytes())
        version = int(manifest["format"])
        if version != FORMAT:
            raise IndexCorrupt(f"manifest of format {version}; this version reads {FORMAT}")
        names = [str(entry["name"]) for entry in manifest["segments"]]
        gone = [frozenset(int(number) for number in entry["gone"]) for entry in manifest["segments"]]
        generation, last_seq = int(manifest["generation"]), int(manifest["last_seq"])
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise IndexCorrupt(f"{type(error).__name__} in the manifest") from error
    if any(Path(name).name != name or not name.endswith(SUFFIX) for name in names):
        raise IndexCorrupt("a name in the manifest")
    segments = tuple(known.get(name) or Segment(path / name) for name in names)
    if any(numbers and max(numbers) >= len(segment) for segment, numbers in zip(segments, gone, strict=True)):
        raise IndexCorrupt("a removed sound that never was")
    return DiskView(generation, last_seq, segments, tuple(gone))


def write_manifest(path: Path, view: DiskView) -> None:
    """Make this the index. The segments MUST be in place; under the lock."""
    entries = [
        {"name": segment.name, "gone": sorted(gone)} for segment, gone in zip(view.segments, view.gone, strict=True)
    ]
    manifest = {"format": FORMAT, "generation": view.generation, "last_seq": view.last_seq, "segments": entries}
    written = path / (MANIFEST + ".tmp")
    with written.open("w") as file:
        json.dump(manifest, file)
        file.flush()
        os.fsync(file.fileno())
    # The segment's name must be on the disk before the manifest that names it, and then the manifest's.
    _sync(path)
    written.replace(path / MANIFEST)
    _sync(path)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sweep(path: Path, keep: set[str]) -> None:
    """Unlink the segments that no manifest names: merged ones, and what a killed writer left. Under the lock."""
    for file in (*path.glob(f"*{SUFFIX}"), *path.glob(f"*{SUFFIX}*.tmp")):
        if file.name not in keep:
            with suppress(FileNotFoundError):
                file.unlink()
