"""The AudioSet hierarchy: which classes a class implies (a dog is an animal)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache, lru_cache
from pathlib import Path

PARENTS_PATH = Path(__file__).with_name("audioset_parents.txt")
"""Its head names its source and its licence (CC BY-SA 4.0)."""


@lru_cache(maxsize=1)
def parents() -> Mapping[str, tuple[str, ...]]:
    """The classes right above each class, by display name."""
    lines = PARENTS_PATH.read_text(encoding="utf-8").splitlines()
    pairs = (line.partition("\t") for line in lines if not line.startswith("#"))
    return {name: tuple(above.split(" | ")) if above else () for name, _, above in pairs}


@cache
def above(name: str) -> tuple[str, ...]:
    """All classes that this one implies, nearest first.

    Where the ontology has several parents, the sound may be of either kind: only what is above all of them is implied.
    """
    right_above = parents().get(name, ())
    chains = [(parent, *above(parent)) for parent in right_above]
    if not chains:
        return ()
    return tuple(one for one in chains[0] if all(one in chain for chain in chains[1:]))


@lru_cache(maxsize=1)
def breadths() -> tuple[int, ...]:
    """How many classes imply each class, in the order of the scores."""
    counts = dict.fromkeys(parents(), 0)
    for name in parents():
        for one in above(name):
            counts[one] += 1
    return tuple(counts.values())


def closed(names: Iterable[str]) -> frozenset[str]:
    """These classes and all that they imply."""
    given = tuple(names)
    return frozenset(given).union(*(above(name) for name in given))
