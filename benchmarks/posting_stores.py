"""Stores that postings of fingerprints can be kept in, as `benchmarks.sound_stores` asks them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from models.soundid.fingerprint import Fingerprint
from models.soundid.index import DiskIndex
from models.soundid.pairs import QueryPairs
from store.sound_postings import ValkeyIndex

MOST = 100_000
"""Postings of a lookup, as another way of playing may read."""
PARTITIONS = 8
TIME_BITS = 21

Sound = tuple[int, str, str, str | None, Fingerprint]

LOOKUP = """
WITH asked AS (
    SELECT * FROM unnest(%(rows)s::int[], %(hashes)s::int[], %(worth)s::real[]) AS a(place, hash, worth)
), counted AS (
    SELECT a.place, a.worth, p.hash, p.part, octet_length(p.data) / 8 AS size
    FROM asked a JOIN sound_postings p ON p.hash = a.hash
), chosen AS (
    SELECT *, sum(size) OVER (ORDER BY size / worth, place, part ROWS UNBOUNDED PRECEDING) AS spent FROM counted
)
SELECT c.place, p.data FROM chosen c JOIN sound_postings p ON p.hash = c.hash AND p.part = c.part
WHERE c.spent <= %(most)s ORDER BY c.place, c.part
"""
"""Counts, bounds and postings in one round trip; `octet_length` of a long value does not read it."""


class Postings(Protocol):
    """A store under test."""

    def add(self, sounds: Sequence[Sound]) -> Any:
        """Add sounds."""

    def lookup(self, pairs: QueryPairs) -> int:
        """How many postings the lookup gave."""

    def size(self) -> int:
        """Bytes that the postings take, in memory or on disk."""


class InValkey:
    """The shipped index."""

    def __init__(self, url: str) -> None:
        self.index = ValkeyIndex([url])
        self.index.update((), [(1, "none")])
        self._empty = self.index.stats()["bytes"]

    def add(self, sounds: Sequence[Sound]) -> Any:
        """Postings and bodies."""
        return self.index.add(sounds)

    def lookup(self, pairs: QueryPairs) -> int:
        """One script."""
        return len(self.index.view().lookup(pairs.hashes, MOST, pairs.worth).rows)

    def size(self) -> int:
        """Memory, less the bodies that the disk keeps beside its postings as well."""
        client = self.index._servers.first
        bodies = [int(client.memory_usage(key, samples=0) or 0) for key in client.scan_iter("tagfarm:sounds:s:*", 5000)]
        return self.index.stats()["bytes"] - self._empty - sum(bodies)


class InPostgres:
    """A row for each hash and page of sounds, in hash partitions: adding never rewrites a row."""

    def __init__(self, url: str) -> None:
        import psycopg

        self._connection = psycopg.connect(url, autocommit=True)
        self._part = 0
        self._connection.execute(
            "CREATE TABLE sound_postings (hash int, part int, data bytea NOT NULL, PRIMARY KEY (hash, part)) "
            "PARTITION BY HASH (hash)"
        )
        for number in range(PARTITIONS):
            self._connection.execute(
                f"CREATE TABLE sound_postings_{number} PARTITION OF sound_postings "
                f"FOR VALUES WITH (MODULUS {PARTITIONS}, REMAINDER {number})"
            )

    def add(self, sounds: Sequence[Sound]) -> Any:
        """By COPY, its quickest way in."""
        hashes = np.concatenate([fingerprint.hashes for *_, fingerprint in sounds])
        postings = np.concatenate(
            [f.times.astype(np.uint64) | np.uint64(number << TIME_BITS) for number, *_, f in sounds]
        )
        order = np.argsort(hashes, kind="stable")
        hashes, postings = hashes[order], postings[order].astype("<u8")
        buckets, begins = np.unique(hashes, return_index=True)
        ends = np.append(begins[1:], len(hashes))
        self._part += 1
        with self._connection.cursor().copy("COPY sound_postings FROM STDIN (FORMAT BINARY)") as copy:
            copy.set_types(["int4", "int4", "bytea"])
            for code, begin, end in zip(buckets.tolist(), begins.tolist(), ends.tolist(), strict=True):
                copy.write_row((code, self._part, postings[begin:end].tobytes()))

    def settle(self) -> None:
        """What its own housekeeping would have done after a while."""
        self._connection.execute("VACUUM ANALYZE sound_postings")

    def lookup(self, pairs: QueryPairs) -> int:
        """One statement."""
        asked = {
            "rows": list(range(len(pairs.hashes))),
            "hashes": pairs.hashes.tolist(),
            "worth": pairs.worth.tolist(),
            "most": MOST,
        }
        rows = self._connection.execute(LOOKUP, asked, binary=True).fetchall()
        return sum(len(data) for _, data in rows) // 8

    def size(self) -> int:
        """On disk, the key with it."""
        query = "SELECT sum(pg_total_relation_size(relid)) FROM pg_partition_tree('sound_postings')"
        return int(self._connection.execute(query).fetchone()[0])  # type: ignore[index]


class OnDisk:
    """The segments that one machine maps."""

    def __init__(self, folder: Path) -> None:
        self.index = DiskIndex(folder)

    def add(self, sounds: Sequence[Sound]) -> Any:
        """A segment, merged as it comes."""
        return self.index.add(sounds)

    def lookup(self, pairs: QueryPairs) -> int:
        """From the page cache."""
        return len(self.index.view().lookup(pairs.hashes, MOST, pairs.worth).rows)

    def size(self) -> int:
        """Hashes and postings."""
        return sum(s.directory.nbytes + s.low.nbytes + s.postings.nbytes for s in self.index.view().segments)
