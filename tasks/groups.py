"""Near-duplicates in one group, and a split for each group: what a model is tested on, it has not seen.

Uploads are near-duplicates that have a file or an original sound in common, also by way of the upload that they duet
with, or whose pictures (or sounds) look alike to the encoder. A group is named by what its members had in common first:
more uploads and more labels do not rename it, unless they show two groups to be one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from models.training.dataset import Split
from store.duplicates import Common

ALIKE = 0.95
"""Cosine between two uploads' mean embeddings from which they are near-duplicates. Of 60 photo clips, re-encoded ones
(JPEG quality 40, or 0.4 of the size) have 0.955 and more in 95 of 100, and no two different ones more than 0.93."""
BLOCK = 512
"""Uploads compared with all others at once."""
SHORTEST = 1e-9
SALT = "tagfarm-split-1"
"""Part of the hash: changing it deals every split anew."""
VALIDATION_SHARE = 0.15
TEST_SHARE = 0.15


def group_names(
    uploads: Sequence[str], common: Mapping[str, Sequence[Common]], means: npt.NDArray[np.float32]
) -> dict[str, str]:
    """The group of each upload.

    Args:
        uploads: their ids.
        common: what each shares with others.
        means: [n, d] mean embedding of each, in the same order; a row of zeros is like no other.
    """
    place = {upload_id: number for number, upload_id in enumerate(uploads)}
    joined = _Joined(len(uploads))
    first: dict[str, int] = {}
    for upload_id in uploads:
        for one in common[upload_id]:
            joined.join(place[upload_id], first.setdefault(one.key, place[upload_id]))
    seen: dict[int, int] = {}
    for at, number in enumerate(alike_components(means).tolist()):
        joined.join(at, seen.setdefault(number, at))
    names: dict[int, tuple[bool, str, str]] = {}
    for upload_id in uploads:
        root = joined.root(place[upload_id])
        name = min((_name(one) for one in common[upload_id]), default=(True, "~", f"upload:{upload_id}"))
        names[root] = min(names.get(root, name), name)
    return {upload_id: names[joined.root(place[upload_id])][2] for upload_id in uploads}


def split_of(group: str) -> Split:
    """The split that a group falls into, by a hash of its name alone."""
    number = int.from_bytes(hashlib.sha256(f"{SALT}:{group}".encode()).digest()[:8], "big") / 2**64
    if number < TEST_SHARE:
        return "test"
    return "validation" if number < TEST_SHARE + VALIDATION_SHARE else "train"


def _name(common: Common) -> tuple[bool, str, str]:
    # Sounds before files: an upload of an old sound stays with it when an older upload of that sound is labelled.
    return not common.key.startswith("sound:"), common.born.isoformat(), common.key


def alike_components(means: npt.NDArray[np.float32], least: float = ALIKE) -> npt.NDArray[np.intp]:
    """[n] a number for each row, the same for rows that a chain of cosines of `least` and more connects.

    Every pair is looked at, block by block: looking at what their first principal directions allow before took longer.
    """
    lengths = np.linalg.norm(means, axis=1)
    lengths[lengths <= SHORTEST] = np.inf  # a row of zeros is like no other
    numbers = np.arange(len(means))
    for at in range(0, len(means), BLOCK):
        products = means[at : at + BLOCK] @ means[at:].T
        products /= lengths[at : at + BLOCK, None]
        rows, columns = np.nonzero(products >= least * lengths[at:])
        numbers = _connected(numbers, rows + at, columns + at)
    return numbers


def _connected(
    numbers: npt.NDArray[np.intp], rows: npt.NDArray[np.intp], columns: npt.NDArray[np.intp]
) -> npt.NDArray[np.intp]:
    """Component numbers with these pairs connected as well."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    if not len(rows):
        return numbers
    size = len(numbers)
    ends = (numbers[rows], numbers[columns])
    graph = coo_matrix((np.ones(len(rows), np.bool_), ends), shape=(size, size))
    return np.asarray(connected_components(graph, directed=False)[1][numbers], np.intp)


class _Joined:
    """Union-find."""

    def __init__(self, count: int) -> None:
        self._above = list(range(count))

    def root(self, place: int) -> int:
        while self._above[place] != place:
            self._above[place] = self._above[self._above[place]]
            place = self._above[place]
        return place

    def join(self, one: int, other: int) -> None:
        low, high = sorted((self.root(one), self.root(other)))
        self._above[high] = low
