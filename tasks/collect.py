"""Garbage collection of artifacts: those that no current document names any more.

A document that is tagged anew leaves its old embeddings behind, and a node that dies between keeping and committing
leaves some that never had a document. What is younger than the longest attempt is left alone: its commit may come yet.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from store.artifacts import ArtifactStore
from store.store import Store

OLD_ENOUGH_S = 24 * 3600.0
"""Age from which an artifact without a document is garbage, s."""
AT_ONCE = 500


@dataclass
class Collected:
    """What was looked at, what was (or would be) deleted, and how large each is, bytes."""

    artifacts: int = 0
    bytes: int = 0
    deleted: int = 0
    deleted_bytes: int = 0
    young: int = 0
    """Without a document, but too young to be deleted."""


def collect(
    store: Store,
    artifacts: ArtifactStore,
    older_than_s: float = OLD_ENOUGH_S,
    dry_run: bool = False,
    told: Callable[[int], object] = lambda done: None,
) -> Collected:
    """Delete what no current document names. Safe while the farm runs, from any number of machines.

    Args:
        store: whose documents.
        artifacts: where to look.
        older_than_s: must be longer than any attempt takes, s.
        dry_run: count, and delete nothing.
        told: called with the number of artifacts seen.
    """
    result = Collected()
    for page in _pages(artifacts):
        # The age is taken before the store is asked: what is named after that is younger than it.
        old = time.time() - older_than_s
        used = store.in_use([address for address, _, _ in page])
        for address, written, size in page:
            result.artifacts += 1
            result.bytes += size
            if address in used:
                continue
            if written > old:
                result.young += 1
                continue
            result.deleted += 1
            result.deleted_bytes += size
            if not dry_run:
                artifacts.delete(address)
        told(result.artifacts)
    return result


def _pages(artifacts: ArtifactStore) -> Iterator[list[tuple[str, float, int]]]:
    page: list[tuple[str, float, int]] = []
    for one in artifacts.addresses():
        page.append(one)
        if len(page) == AT_ONCE:
            yield page
            page = []
    if page:
        yield page
