"""The published topic taxonomy: reading `taxonomy.toml`, and refusing one that would mislead."""

from __future__ import annotations

import re
import tomllib
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

PUBLISHED = Path(__file__).with_name("taxonomy.toml")
CLASSES = {"imagenet-1k": 1000}
"""Class lists that a taxonomy may map from, with their length."""
LANGUAGES = ("en", "it")
"""Languages in which every topic has a name."""
EVIDENCE = ("picture", "objects", "faces", "sound", "text", "hashtag")
"""What can support a topic. A hashtag can support every one."""
ID_FORM = re.compile(r"[a-z][a-z0-9_]*(/[a-z][a-z0-9_]*)?")
VERSION_FORM = re.compile(r"[a-z0-9-]+@[0-9]+")


class TaxonomyError(ValueError):
    """A taxonomy that contradicts itself. The message names every fault found."""


@dataclass(frozen=True)
class Topic:
    """One topic."""

    id: str
    """`parent` or `parent/child`; never renamed."""
    names: Mapping[str, str]
    """By language, ISO 639-1."""
    evidence: tuple[str, ...]
    """What can support it, of `EVIDENCE`. Only `hashtag`: it is never said of what is seen or heard."""
    words: tuple[str, ...]
    """Words and phrases that support it, in a caption or as a hashtag."""
    hashtags: tuple[str, ...]
    """Further hashtags."""
    classes: tuple[tuple[int, str], ...]
    """(index, name) of the picture classes that mean this topic itself, not one of its children."""

    @property
    def parent(self) -> str | None:
        """The id of the topic above, or None."""
        return self.id.rpartition("/")[0] or None


@dataclass(frozen=True)
class Taxonomy:
    """All topics, parents before their children."""

    version: str
    class_list: str
    topics: tuple[Topic, ...]

    @cached_property
    def index(self) -> Mapping[str, int]:
        """Position of each topic by id."""
        return {topic.id: position for position, topic in enumerate(self.topics)}

    @cached_property
    def matrix(self) -> npt.NDArray[np.float32]:
        """[classes, topics], 1 where a class means the topic or one of its children. Read-only."""
        table = np.zeros((CLASSES[self.class_list], len(self.topics)), np.float32)
        for position, topic in enumerate(self.topics):
            for number, _ in topic.classes:
                table[number, position] = 1.0
                if topic.parent is not None:
                    table[number, self.index[topic.parent]] = 1.0
        table.flags.writeable = False
        return table

    @cached_property
    def wide_matrix(self) -> npt.NDArray[np.float64]:
        """`matrix` in double precision. Read-only."""
        table = self.matrix.astype(np.float64)
        table.flags.writeable = False
        return table

    @cached_property
    def own_matrix(self) -> npt.NDArray[np.float64]:
        """[classes, topics], 1 where a class means the topic itself. Read-only."""
        table = np.zeros((CLASSES[self.class_list], len(self.topics)))
        for position, topic in enumerate(self.topics):
            table[[number for number, _ in topic.classes], position] = 1.0
        table.flags.writeable = False
        return table

    @cached_property
    def descent(self) -> npt.NDArray[np.float64]:
        """[topics, topics], 1 from each topic to itself and to its parent. Read-only."""
        table = np.eye(len(self.topics))
        for position, parent in enumerate(self.parents):
            if parent >= 0:
                table[position, parent] = 1.0
        table.flags.writeable = False
        return table

    @cached_property
    def parents(self) -> npt.NDArray[np.intp]:
        """[topics], position of each topic's parent; -1 for the first level."""
        return np.array([-1 if topic.parent is None else self.index[topic.parent] for topic in self.topics], np.intp)

    @cached_property
    def by_hashtag(self) -> Mapping[str, str]:
        """Topic id by folded hashtag."""
        return {hashtag_key(word): topic.id for topic in self.topics for word in (*topic.words, *topic.hashtags)}

    @cached_property
    def by_phrase(self) -> Mapping[tuple[str, ...], str]:
        """Topic id by folded words of a phrase."""
        return {tuple(folded_words(word)): topic.id for topic in self.topics for word in topic.words}

    @cached_property
    def longest_phrase(self) -> int:
        """Words in the longest phrase."""
        return max((len(phrase) for phrase in self.by_phrase), default=0)


def fold(text: str) -> str:
    """Lower case, compatibility forms joined, accents dropped: how authors' spellings are compared."""
    decomposed = unicodedata.normalize("NFKD", text).casefold()
    return "".join(character for character in decomposed if not unicodedata.combining(character))


def folded_words(text: str) -> list[str]:
    """The folded words of a text, in order."""
    return re.findall(r"[^\W_]+", fold(text))


def hashtag_key(text: str) -> str:
    """A hashtag without its sign, spaces, accents or case."""
    return "".join(folded_words(text))


def load_taxonomy(path: Path = PUBLISHED) -> Taxonomy:
    """Read and validate a taxonomy.

    Raises:
        TaxonomyError: it contradicts itself; the message names every fault.
    """
    with path.open("rb") as file:
        try:
            document = tomllib.load(file)
        except tomllib.TOMLDecodeError as error:
            raise TaxonomyError(f"not TOML: {error}") from error
    return parse_taxonomy(document)


def parse_taxonomy(document: Mapping[str, Any]) -> Taxonomy:
    """Build a taxonomy from its document.

    Raises:
        TaxonomyError: as `load_taxonomy`.
    """
    faults: list[str] = []
    version, class_list = str(document.get("version", "")), str(document.get("classes", ""))
    if not VERSION_FORM.fullmatch(version):
        faults.append(f"version {version!r} is not of the form name@1")
    if class_list not in CLASSES:
        raise TaxonomyError(f"classes {class_list!r} are not known")
    topics = []
    for entry in document.get("topic", []):
        try:
            topics.append(_topic(entry))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            faults.append(f"topic {entry.get('id') if isinstance(entry, dict) else entry!r}: {error!r}")
    faults.extend(_faults(topics, CLASSES[class_list]))
    if faults:
        raise TaxonomyError("; ".join(faults))
    return Taxonomy(version, class_list, tuple(topics))


def _topic(entry: Mapping[str, Any]) -> Topic:
    classes = []
    for label in entry.get("imagenet", []):
        number, _, name = label.partition(" ")
        classes.append((int(number), name))
    return Topic(
        id=entry["id"],
        names=dict(entry["names"]),
        evidence=tuple(entry["evidence"]),
        words=tuple(entry.get("words", [])),
        hashtags=tuple(entry.get("hashtags", [])),
        classes=tuple(classes),
    )


def _faults(topics: Sequence[Topic], class_count: int) -> Iterator[str]:
    if not topics:
        yield "no topics"
    before: set[str] = set()
    seen_by_picture = {name for topic in topics if topic.classes for name in (topic.id, topic.parent)}
    for topic in topics:
        where = f"topic {topic.id!r}"
        if not ID_FORM.fullmatch(topic.id):
            yield f"{where}: id is not of the form parent/child"
        if topic.id in before:
            yield f"{where}: listed twice"
        if topic.parent is not None and topic.parent not in before:
            yield f"{where}: its parent is not listed before it"
        before.add(topic.id)
        for language in LANGUAGES:
            if not topic.names.get(language, "").strip():
                yield f"{where}: no name in {language!r}"
        if "hashtag" not in topic.evidence or set(topic.evidence) - set(EVIDENCE):
            yield f"{where}: evidence must hold 'hashtag', and may hold {', '.join(EVIDENCE[:-1])}"
        if ("picture" in topic.evidence) != (topic.id in seen_by_picture):
            yield f"{where}: says 'picture' where no class maps to it, or the other way round"
    yield from _doubly_claimed(topics, class_count)


def _doubly_claimed(topics: Sequence[Topic], class_count: int) -> Iterator[str]:
    owner_of_class: dict[int, str] = {}
    owner_of_word: dict[str, str] = {}
    for topic in topics:
        where = f"topic {topic.id!r}"
        for number, name in topic.classes:
            if not 0 <= number < class_count or not name:
                yield f"{where}: class '{number} {name}' does not exist"
            if number in owner_of_class:
                yield f"{where}: class {number} is already mapped to {owner_of_class[number]!r}"
            owner_of_class.setdefault(number, topic.id)
        for key in sorted({hashtag_key(word) for word in (*topic.words, *topic.hashtags)}):
            if not key:
                yield f"{where}: a word without letters"
            if key in owner_of_word:
                yield f"{where}: word {key!r} already supports {owner_of_word[key]!r}"
            owner_of_word.setdefault(key, topic.id)
