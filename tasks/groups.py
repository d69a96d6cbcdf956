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
DIRECTIONS = 96
"""Principal directions that are compared first."""
SAMPLE = 4000
"""Uploads that the directions are found on."""
SLACK = 1e-4
"""More than single precision can be wrong."""
DENSE = 0.02
"""Share of the pairs of a block beyond which all of them are computed."""
PAIRS = 8192
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

    Exact, and not every pair is looked at in full: a cosine is what the first principal directions have of it and at
    most the product of what is left of both rows beside them. Only where that could reach `least` the rest is computed.
    """
    count = len(means)
    numbers = np.arange(count)
    lengths = np.linalg.norm(means, axis=1, keepdims=True)
    units = (means / np.maximum(lengths, SHORTEST)).astype(np.float32)
    units, inverse = np.unique(units, axis=0, return_inverse=True)  # one file that was sent often is one row here
    alone = np.arange(len(units))
    near, left = _projected(units)
    for at in range(0, len(units), BLOCK):
        bound = near[at : at + BLOCK] @ near[at:].T
        bound += np.outer(left[at : at + BLOCK], left[at:])
        rows, columns = np.nonzero(bound >= least - SLACK)
        upper = columns > rows
        rows, columns = rows[upper] + at, columns[upper] + at
        if len(rows) > DENSE * bound.size:
            # So many could be alike that they are all computed at once.
            rows, columns = np.nonzero(units[at : at + BLOCK] @ units[at:].T >= least)
            rows, columns = rows + at, columns + at
        else:
            parts = (slice(first, first + PAIRS) for first in range(0, len(rows), PAIRS))
            true = [np.einsum("ij,ij->i", units[rows[one]], units[columns[one]]) >= least for one in parts]
            kept = np.concatenate(true) if true else np.zeros(0, np.bool_)
            rows, columns = rows[kept], columns[kept]
        alone = _connected(alone, rows, columns)
    # A row of zeros is like no other.
    empty = lengths[:, 0] <= SHORTEST
    found = alone[inverse.ravel()]
    return np.where(empty, numbers + len(units), found)


def _projected(units: npt.NDArray[np.float32]) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """[n, m] what the first principal directions have of each row, and [n] the length of what they have not."""
    if units.shape[1] <= DIRECTIONS:
        return units, np.zeros(len(units), np.float32)
    sample = units[:: max(1, len(units) // SAMPLE)].astype(np.float64)
    _, directions = np.linalg.eigh(sample.T @ sample)
    near = units @ directions[:, -DIRECTIONS:].astype(np.float32)
    left = np.sqrt(np.maximum(1.0 - np.square(near).sum(axis=1), 0.0))
    return near, left.astype(np.float32)


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
