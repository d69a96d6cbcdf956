"""What is kept of an upload beside its document - embeddings, curves, key frames - as one safetensors file.

Files live under a root that fsspec can reach (a folder, a bucket). Addresses are relative to it, made from a hash: an
upload_id comes from outside and is never part of a path.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
from collections.abc import Mapping
from pathlib import Path

import fsspec
import numpy as np
from fsspec.implementations.local import LocalFileSystem
from safetensors import SafetensorError
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

    def get(self, address: str) -> dict[str, np.ndarray] | None:
        """The arrays; None if there are none at this address (any more). Raises `ArtifactCorrupt`."""
        try:
            body = self._fs.cat_file(self._path(address))
        except FileNotFoundError:
            return None
        try:
            return load(body)
        except (SafetensorError, ValueError, KeyError) as error:
            raise ArtifactCorrupt(f"artifact {address} cannot be read: {error}") from error

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
