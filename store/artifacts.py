"""What is kept of an upload beside its document - embeddings, curves, key frames - as one safetensors file.

Files live under a root that fsspec can reach (a folder, a bucket). Addresses are relative to it, made from a hash: an
upload_id comes from outside and is never part of a path.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from pathlib import Path

import fsspec
import numpy as np
from fsspec.implementations.local import LocalFileSystem
from safetensors import SafetensorError, safe_open
from safetensors.numpy import load, save

from store.errors import StoreError

_ADDRESS = re.compile(r"[0-9a-f]{2}/[0-9a-f]{2}/[0-9a-f]{32}-[0-9]+\.safetensors", re.ASCII)


class ArtifactCorrupt(StoreError):
    """The file is there, but it cannot be read."""


class ArtifactStore:
    """Named arrays by address. Safe to share between threads.

    Args:
        root_url: a path or an fsspec URL: `file:///var/lib/tagfarm/artifacts`, `s3://bucket/artifacts`.
    """

    def __init__(self, root_url: str) -> None:
        self._fs, root = fsspec.core.url_to_fs(root_url)
        self._root = str(root).rstrip("/")
        self._local = isinstance(self._fs, LocalFileSystem)

    def put(self, upload_id: str, attempt_id: int, tensors: Mapping[str, np.ndarray]) -> str:
        """Keep what one attempt found and return its address: the same for the same attempt. All of it or nothing."""
        address = self.address(upload_id, attempt_id)
        body = save({name: np.asarray(tensor, order="C") for name, tensor in tensors.items()})
        path = self._path(address)
        if self._local:
            _write_whole(Path(path), body)
        else:
            self._fs.pipe_file(path, body)  # object stores show an object when it is whole
        return address

    def get(self, address: str, only: Iterable[str] | None = None) -> dict[str, np.ndarray] | None:
        """The arrays; None if there are none at this address (any more). Raises `ArtifactCorrupt`.

        Args:
            address: as `put` returned it.
            only: names; others are left out, and on a local disk not read. None: all.
        """
        path = self._path(address)
        try:
            if self._local and only is not None:
                return _read_some(path, set(only))
            arrays = load(self._fs.cat_file(path))
        except FileNotFoundError:
            return None
        except (SafetensorError, ValueError, KeyError) as error:
            raise ArtifactCorrupt(f"artifact {address} cannot be read: {error}") from error
        wanted = set(arrays if only is None else only)
        return {name: array for name, array in arrays.items() if name in wanted}

    def addresses(self) -> Iterator[tuple[str, float, int]]:
        """Every artifact that is there: its address, when it was written (seconds since 1970), and its bytes."""
        for path, facts in self._fs.find(self._root, detail=True).items():
            address = "/".join(str(path).split("/")[-3:])
            if _ADDRESS.fullmatch(address):
                moment = facts.get("mtime", facts.get("LastModified", facts.get("created", 0.0)))
                written = moment.timestamp() if isinstance(moment, datetime) else float(moment)
                yield address, written, int(facts.get("size") or 0)

    def delete(self, address: str) -> bool:
        """Drop the arrays; False: there were none."""
        try:
            self._fs.rm_file(self._path(address))
        except FileNotFoundError:
            return False
        return True

    @staticmethod
    def address(upload_id: str, attempt_id: int) -> str:
        """Where an attempt's arrays are kept."""
        name = hashlib.sha256(upload_id.encode("utf-8", "surrogatepass")).hexdigest()
        return f"{name[:2]}/{name[2:4]}/{name[:32]}-{int(attempt_id)}.safetensors"

    def _path(self, address: str) -> str:
        if _ADDRESS.fullmatch(address) is None:
            raise ValueError(f"not an address of this store: {address!r}")
        return f"{self._root}/{address}"


def _read_some(path: str, names: set[str]) -> dict[str, np.ndarray]:
    with safe_open(path, framework="numpy") as file:
        return {name: file.get_tensor(name) for name in file.keys() if name in names}  # noqa: SIM118  # no mapping


def _write_whole(path: Path, body: bytes) -> None:
    """Write a file so that it is there whole or not at all, also when the power fails."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with part.open("xb") as file:
            file.write(body)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
