"""Trained heads on disk: `REGISTRY/TAGGER/NUMBER/`, signed, never changed once they are there.

    manifest.json       what it is, what it was trained on, how good it is, the sha256 of the files below, a signature
    head.safetensors    its tensors
    taxonomy.json       topics that the packaged taxonomy lacks, if it has any
    encoder.safetensors the last blocks of its own encoder, if one was fine-tuned for it (`fine_tuning` in the manifest)

A version is written beside and renamed, so it is whole or not there. Its signature is HMAC-SHA256 (RFC 2104) over the
manifest, which names every file's sha256: without the farm's key nobody can make a version that a node loads.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import secrets
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

FORMAT = 2
"""1: first version. 2: may have an encoder of its own; versions without one are still written as 1."""
PLAIN_FORMAT = 1
MANIFEST_FILE = "manifest.json"
HEAD_FILE = "head.safetensors"
TAXONOMY_FILE = "taxonomy.json"
ENCODER_FILE = "encoder.safetensors"
SIGNATURE = "signature"
KEY_BYTES = 32
PACKAGED = "packaged"
"""The name of what tagfarm ships, wherever a version can be named."""

Tensors = Mapping[str, npt.NDArray[Any]]


class VersionError(Exception):
    """A version that cannot be used. The message says which, why, and what to do."""


class VersionMissing(VersionError):
    """There is none of that name."""


class VersionCorrupt(VersionError):
    """Its files are damaged or missing: copy it again from where it was trained, or train anew."""


class VersionIncompatible(VersionError):
    """Whole, but made for another format, encoder or taxonomy than this program's."""


class VersionUnsigned(VersionError):
    """It has no signature, or not one that this farm's key made."""


@dataclass(frozen=True)
class Version:
    """One version, verified."""

    tagger: str
    number: int
    folder: Path
    manifest: Mapping[str, Any]
    digest: str
    """sha256 of the manifest file: names the content, where the number only names the place."""

    @property
    def name(self) -> str:
        """As commands say it, `topics/3`."""
        return f"{self.tagger}/{self.number}"

    def tensors(self) -> dict[str, npt.NDArray[Any]]:
        """The head's tensors, checked against the manifest.

        Raises:
            VersionCorrupt: they cannot be read or are not what was signed.
        """
        return self._load(HEAD_FILE)

    @property
    def fine_tuned_blocks(self) -> int:
        """How many of the encoder's last blocks are its own; 0: it reads the packaged encoder."""
        return int(self.manifest["fine_tuning"]["blocks"]) if "fine_tuning" in self.manifest else 0

    @property
    def own_encoder(self) -> tuple[str, str] | None:
        """What its own encoder is called in evidence, and `name@N` of it; None: it has none."""
        if not self.fine_tuned_blocks:
            return None
        base = str(self.manifest["encoder"]).partition("@")[0]
        return f"picture-{self.tagger}-{self.number}", f"{base}-{self.tagger}@{self.number}"

    def encoder_tensors(self) -> dict[str, npt.NDArray[Any]]:
        """The tensors of its own encoder. Raises `VersionCorrupt` as `tensors`."""
        return self._load(ENCODER_FILE)

    def _load(self, name: str) -> dict[str, npt.NDArray[Any]]:
        from safetensors import SafetensorError
        from safetensors.numpy import load

        content = self.read(name)
        try:
            return load(content)
        except (SafetensorError, ValueError, KeyError) as error:
            raise VersionCorrupt(f"{self.name}: {name} cannot be read: {error}") from error

    def extra_topics(self) -> Mapping[str, Any] | None:
        """The document of `taxonomy.json`; None: it adds no topic."""
        if TAXONOMY_FILE not in self.manifest["files"]:
            return None
        document: dict[str, Any] = json.loads(self.read(TAXONOMY_FILE))
        return document

    def read(self, name: str) -> bytes:
        """One of its files, checked: what is used is what was checked."""
        try:
            content = (self.folder / name).read_bytes()
        except OSError as error:
            raise VersionCorrupt(f"{self.name}: {name} cannot be read: {error.strerror or error}") from error
        if hashlib.sha256(content).hexdigest() != self.manifest["files"].get(name):
            raise VersionCorrupt(f"{self.name}: {name} is damaged: its sha256 is not the manifest's")
        return content


def parse_name(name: str) -> tuple[str, int | None]:
    """`topics/3` to tagger and number; `topics/packaged` to tagger and None.

    Raises:
        VersionMissing: not such a name.
    """
    tagger, _, number = name.partition("/")
    if tagger and number == PACKAGED:
        return tagger, None
    if not (tagger.isidentifier() and number.isascii() and number.isdigit() and int(number) > 0):
        raise VersionMissing(f"{name!r} is no version; write TAGGER/NUMBER, e.g. topics/3, or TAGGER/{PACKAGED}")
    return tagger, int(number)


class Registry:
    """All trained versions of one farm.

    Args:
        root: its folder, which may be on a shared file system.
        key: the signing key; None: nothing can be written, and nothing is trusted.
    """

    def __init__(self, root: Path, key: bytes | None) -> None:
        self.root = root
        self._key = key

    def at(self, root: Path) -> Registry:
        """A registry in another folder, with the same key."""
        return Registry(root, self._key)

    def numbers(self, tagger: str) -> list[int]:
        """The numbers of a tagger's versions, in order."""
        folder = self.root / tagger
        if not folder.is_dir():
            return []
        return sorted(int(path.name) for path in folder.iterdir() if path.name.isdigit() and path.is_dir())

    def names(self) -> list[tuple[str, int]]:
        """Every version there is, by tagger and number."""
        taggers = sorted(path.name for path in self.root.iterdir() if path.is_dir()) if self.root.is_dir() else []
        return [(tagger, number) for tagger in taggers for number in self.numbers(tagger)]

    def add(
        self,
        tagger: str,
        manifest: Mapping[str, Any],
        head: Tensors,
        extra_topics: Mapping[str, Any] | None = None,
        encoder: Tensors | None = None,
    ) -> Version:
        """Sign and keep a version under the next number.

        Raises:
            VersionUnsigned: there is no key to sign it with.
        """
        from safetensors.numpy import save

        if self._key is None:
            raise VersionUnsigned("there is no key to sign a version with; set TAGFARM_MODELS__SIGNING_KEY")
        files = {HEAD_FILE: save({name: np.ascontiguousarray(tensor) for name, tensor in head.items()})}
        if encoder is not None:
            files[ENCODER_FILE] = save({name: np.ascontiguousarray(tensor) for name, tensor in encoder.items()})
        if extra_topics is not None:
            files[TAXONOMY_FILE] = (json.dumps(extra_topics, indent=1, ensure_ascii=False) + "\n").encode()
        home = self.root / tagger
        home.mkdir(parents=True, exist_ok=True)
        incoming = home / f".incoming-{secrets.token_hex(8)}"
        incoming.mkdir()
        try:
            for name, content in files.items():
                _write(incoming / name, content)
            number = max(self.numbers(tagger), default=0) + 1
            while not self._settle(incoming, home, tagger, number, manifest, files):
                number += 1
        finally:
            shutil.rmtree(incoming, ignore_errors=True)
        return self.version(tagger, number)

    def _settle(
        self,
        incoming: Path,
        home: Path,
        tagger: str,
        number: int,
        manifest: Mapping[str, Any],
        files: Mapping[str, bytes],
    ) -> bool:
        hashes = {name: hashlib.sha256(content).hexdigest() for name, content in sorted(files.items())}
        written = FORMAT if ENCODER_FILE in files else PLAIN_FORMAT
        body = {"format": written, "tagger": tagger, "number": number, **manifest, "files": hashes}
        assert self._key is not None
        signed = {**body, SIGNATURE: _sign(body, self._key)}
        _write(incoming / MANIFEST_FILE, (json.dumps(signed, indent=1, ensure_ascii=False) + "\n").encode())
        try:
            # On every system this fails where another process has put a version of this number meanwhile.
            incoming.rename(home / str(number))
        except OSError:
            if not (home / str(number)).exists():
                raise
            return False
        return True

    def version(self, tagger: str, number: int) -> Version:
        """One version, with its manifest's signature and its files' sha256 checked.

        Raises:
            VersionMissing, VersionCorrupt, VersionIncompatible, VersionUnsigned: in words that say what to do.
        """
        folder = self.root / tagger / str(number)
        name = f"{tagger}/{number}"
        if not folder.is_dir():
            known = ", ".join(f"{tagger}/{known}" for known in self.numbers(tagger)) or "none"
            raise VersionMissing(f"there is no {name} in {self.root}; of {tagger} there are: {known}")
        try:
            content = (folder / MANIFEST_FILE).read_bytes()
            manifest = json.loads(content)
            written = manifest["format"]
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise VersionCorrupt(f"{name}: {MANIFEST_FILE} cannot be read: {error!r}") from error
        if written not in (PLAIN_FORMAT, FORMAT):
            raise VersionIncompatible(f"{name} has version format {written}, this program reads {FORMAT} and before")
        self._check_signature(name, manifest)
        if (manifest["tagger"], manifest["number"]) != (tagger, number):
            raise VersionCorrupt(f"{name} is in the wrong place: it is {manifest['tagger']}/{manifest['number']}")
        version = Version(tagger, number, folder, manifest, hashlib.sha256(content).hexdigest())
        for file in manifest["files"]:
            version.read(file)
        return version

    def _check_signature(self, name: str, manifest: Mapping[str, Any]) -> None:
        if self._key is None:
            raise VersionUnsigned(f"{name} cannot be trusted without a key; set TAGFARM_MODELS__SIGNING_KEY")
        given = manifest.get(SIGNATURE)
        if not isinstance(given, str):
            raise VersionUnsigned(f"{name} is not signed")
        body = {key: value for key, value in manifest.items() if key != SIGNATURE}
        if not hmac.compare_digest(given, _sign(body, self._key)):
            raise VersionUnsigned(
                f"{name}: its manifest was altered, or signed with another key than TAGFARM_MODELS__SIGNING_KEY"
            )


def read_key(path: Path, create: bool = False) -> bytes | None:
    """The key in a file of this machine's own; with `create`, made on first use and readable by its owner alone."""
    if create and not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            pass
        else:
            with os.fdopen(descriptor, "w") as file:
                file.write(secrets.token_hex(KEY_BYTES) + "\n")
    return path.read_text().strip().encode() if path.is_file() else None


def _sign(body: Mapping[str, Any], key: bytes) -> str:
    plain = json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return "hmac-sha256:" + hmac.new(key, plain.encode(), hashlib.sha256).hexdigest()


def _write(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
