"""The sound index on Valkey (or Redis) servers: posting lists by hash, for catalogues beyond one machine.

Each server holds the buckets of its share of the hashes, and of its share of the sounds what verifies them; the first
one also the catalogue. A bucket is a string of 8-byte postings (sound's number, frame). A lookup is one script on each
server, so one round trip, and its postings are bounded there.

A sound's number is given once and never again. What is in the index is said by a log of numbers that came and went,
written in one step after all postings are there: a view is a prefix of that log, so it does not change, and what a
killed writer left behind is in no view. One writer at a time, by a lock; a writer that has lost it cannot commit.

The store is the truth: the servers need keep nothing. One that comes back empty is noticed (`SoundIndexLost`); if it is
the first one, the index is empty and filled again by the next sync.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from store.errors import SoundIndexLost
from store.posting_scripts import LOOKUP
from store.posting_servers import PostingServers, answered
from store.posting_view import LOG_ENTRY, BodyCache, Catalogue, SoundBody, ValkeyView
from store.posting_writer import FORMAT, PostingWriter, Sound

PREFIX = "tagfarm:sounds"


class ValkeyIndex:
    """The index on these servers. Safe to use from many threads and processes.

    Args:
        urls: of the servers, `redis://host:port/db`; their number and order are part of the index's shape.
        prefix: of all keys.

    Raises (all methods):
        StoreUnavailable: a server is away or does not answer. Reading or writing again later is safe.
        SoundIndexLost: a server lacks what it should hold, or the index is for other servers or of another version.
    """

    def __init__(self, urls: Sequence[str], prefix: str = PREFIX) -> None:
        self._servers = PostingServers(urls, prefix)
        self._writer = PostingWriter(self._servers)
        self._cache = BodyCache()
        self._bass: dict[int, npt.NDArray[np.uint64]] = {}
        self._guard = threading.Lock()
        self._view: ValkeyView | None = None

    @classmethod
    def recreate(cls, urls: Sequence[str], prefix: str = PREFIX) -> ValkeyIndex:
        """Empty the index, whatever is in it."""
        index = cls(urls, prefix)
        index._writer.recreate()
        return index

    def close(self) -> None:
        """Let go of the connections."""
        self._servers.close()

    # Reading

    def view(self) -> ValkeyView:
        """The index as it is now, others' changes among it. One round trip."""
        held = self._view
        read = held.catalogue.read if held is not None else 0
        with self._servers.first.pipeline(transaction=True) as pipeline:
            pipeline.hmget(self._servers.key("head"), "epoch", "format", "servers")
            pipeline.lrange(self._servers.key("log"), read, -1)
            (epoch, form, servers), entries = answered(pipeline.execute)
        if epoch is None:
            return ValkeyView(Catalogue.empty(b""), self)
        if int(form or 0) != FORMAT:
            raise SoundIndexLost(f"format {int(form or 0)}; this version reads {FORMAT}")
        if int(servers or 0) != len(self._servers):
            raise SoundIndexLost(f"made for {int(servers or 0)} servers, not {len(self._servers)}")
        if held is not None and held.catalogue.epoch == epoch and not entries:
            return held
        with self._guard:
            if held is not None and held.catalogue.epoch != epoch:
                self._cache.clear()
                self._bass = {}
                held, self._view = None, None
                read = 0
                entries = answered(lambda: self._servers.first.lrange(self._servers.key("log"), 0, -1))
            before = held.catalogue if held is not None else Catalogue.empty(epoch)
            made = ValkeyView(before.after(np.frombuffer(b"".join(entries), LOG_ENTRY)), self)
            if self._view is None or self._view.catalogue.read < made.catalogue.read:
                self._view = made
            return made

    def lookup(
        self, epoch: bytes, hashes: npt.NDArray[np.uint32], classes: npt.NDArray[np.uint8], most: int
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.uint64]]:
        """See `Reader.lookup`."""
        servers = len(self._servers)
        share = most // servers

        def ask(server: int) -> tuple[Any, Any, Any]:
            rows = np.flatnonzero(hashes % servers == server) if servers > 1 else np.arange(len(hashes))
            arguments = [epoch, hashes[rows].astype(">u4").tobytes(), classes[rows].tobytes(), share]
            found, postings = self._servers.run(LOOKUP, server, ["epoch", "b:"], arguments)
            pairs = np.frombuffer(found, "<u4").reshape(-1, 2).astype(np.int64)
            return rows[pairs[:, 0]], pairs[:, 1], np.frombuffer(postings, "<u8")

        if not epoch or not len(hashes):
            return np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.uint64)
        parts = self._servers.on_all(ask)
        if len(parts) == 1:
            return parts[0]
        rows, counts, postings = (np.concatenate(column) for column in zip(*parts, strict=True))
        order = np.argsort(rows, kind="stable")
        begins = (np.cumsum(counts) - counts)[order]
        counts = counts[order]
        at = np.arange(counts.sum()) + np.repeat(begins - (np.cumsum(counts) - counts), counts)
        return rows[order], counts, postings[at]

    def body(self, number: int) -> SoundBody:
        """See `Reader.body`."""
        return self._cache.get(number, self._read_body)

    def bass(self, numbers: Sequence[int]) -> list[npt.NDArray[np.uint64]]:
        """See `Reader.bass`. What was asked for last is kept."""
        known = self._bass
        missing = [number for number in numbers if number not in known]
        read: dict[int, npt.NDArray[np.uint64]] = {}
        for server, client in enumerate(self._servers.clients):
            here = [number for number in missing if number % len(self._servers) == server]
            with client.pipeline(transaction=False) as pipeline:
                for number in here:
                    pipeline.hget(self._servers.key(f"s:{number}"), "bass")
                for number, words in zip(here, answered(pipeline.execute), strict=True):
                    read[number] = np.frombuffer(words or b"", "<u8").astype(np.uint64, copy=False)
        kept = {number: known[number] if number in known else read[number] for number in numbers}
        self._bass = kept
        return list(kept.values())

    def _read_body(self, number: int) -> SoundBody:
        client = self._servers.clients[number % len(self._servers)]
        fields = answered(lambda: client.hgetall(self._servers.key(f"s:{number}")))
        if not fields:
            raise SoundIndexLost(f"sound {number} is missing")
        return SoundBody.read(fields)

    @property
    def last_seq(self) -> int:
        """The highest sequence number of the store that went in; 0: none."""
        return int(answered(lambda: self._servers.first.hget(self._servers.key("head"), "last_seq")) or 0)

    def __len__(self) -> int:
        return len(self.view())

    def __contains__(self, sound_id: object) -> bool:
        return isinstance(sound_id, str) and bool(
            answered(lambda: self._servers.first.hexists(self._servers.key("ids"), sound_id))
        )

    def stats(self) -> dict[str, int]:
        """Sounds, servers, postings dropped from crowded buckets, bytes that the servers use in all."""
        dropped = answered(lambda: self._servers.first.hget(self._servers.key("head"), "dropped"))
        used = answered(lambda: [int(client.info("memory")["used_memory"]) for client in self._servers.clients])
        return {"sounds": len(self), "servers": len(self._servers), "dropped": int(dropped or 0), "bytes": sum(used)}

    # Writing

    def add(self, sounds: Iterable[Sound]) -> int:
        """Add sounds, all or none; see `update`. Returns how many are new."""
        return self.update(sounds, ())[0]

    def remove(self, sound_id: str, seq: int = 0) -> bool:
        """Forget a sound. True if it was there."""
        return bool(self.update((), [(seq, sound_id)])[1])

    def update(
        self,
        added: Iterable[Sound],
        removed: Iterable[tuple[int, str]],
    ) -> tuple[int, int]:
        """Add and remove sounds, all or none: a page of the store's changes, in which `last_seq` MUST not run ahead.

        Args:
            added: sequence number, sound_id, kind, title, fingerprint. One that is there with the same sequence
                number is left; with another, replaced.
            removed: sequence number (0: none) and sound_id.

        Returns:
            How many were added, and how many were there to be removed.
        """
        return self._writer.update(added, removed)

    def compact(self) -> int:
        """Take out the postings of sounds that are long gone, or that a killed writer left. Returns how many."""
        return self._writer.compact()
