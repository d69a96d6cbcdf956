"""Writing the sound index on Valkey: one writer at a time, and all of a page of changes or none."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from redis import Redis

from store.errors import StoreUnavailable
from store.posting_scripts import APPEND, COMMIT, FORGET, UNLOCK
from store.posting_servers import PostingServers, answered
from store.posting_view import TIME_BITS, KnownEntry, SoundBody

FORMAT = 2
"""History: 1 - first version. 2 - and the bass."""
MAX_BUCKET = 4096
"""Postings kept of one hash: what occurs everywhere says nothing."""
LOCK_S = 60
"""A silent writer loses the lock after so long, s."""
WAIT_S = 600
"""How long a writer waits for another, s."""
VIEW_S = 600
"""Postings of a sound that is gone are kept so long for the views that still have it, s."""
BUCKETS_AT_ONCE = 2000
"""Buckets that one script writes: it holds up the server's other clients."""
HASHES = 2**21
"""Hashes that there are; `compact` goes through them."""


class PeaksOf(Protocol):
    """Peaks of a sound."""

    @property
    def times(self) -> npt.NDArray[np.uint32]:
        """Their frames."""

    @property
    def bins(self) -> npt.NDArray[np.uint16]:
        """Their bands."""


class Indexed(Protocol):
    """What of a fingerprint the index keeps."""

    @property
    def frames(self) -> int:
        """Length, frames."""

    @property
    def hashes(self) -> npt.NDArray[np.uint32]:
        """Hashes of its postings."""

    @property
    def times(self) -> npt.NDArray[np.uint32]:
        """Frame of each of them."""

    @property
    def reference(self) -> PeaksOf:
        """The peaks that verify a match."""

    @property
    def signs(self) -> npt.NDArray[np.uint8]:
        """Signs of its whitened waveform."""

    @property
    def bass(self) -> npt.NDArray[np.uint64]:
        """Its bass, `FRAMES_PER_WORD` in a word, or empty."""


Sound = tuple[int, str, str, str | None, Indexed]
"""Sequence number, sound_id, kind, title, fingerprint."""


class PostingWriter:
    """Changes the index on these servers."""

    def __init__(self, servers: PostingServers) -> None:
        self._servers = servers

    def update(self, added: Iterable[Sound], removed: Iterable[tuple[int, str]]) -> tuple[int, int]:
        """See `ValkeyIndex.update`."""
        latest = {sound_id: (seq, kind, title, fingerprint) for seq, sound_id, kind, title, fingerprint in added}
        leaving = {sound_id: seq for seq, sound_id in removed}
        with self._lock() as token:
            epoch = answered(lambda: self._servers.first.hget(self._servers.key("head"), "epoch")) or self._empty()
            here = self._known([*latest, *leaving])
            fresh = {sound_id: what for sound_id, what in latest.items() if here.get(sound_id, (0, -1))[1] != what[0]}
            gone = [sound_id for sound_id in (*leaving, *fresh) if sound_id in here]
            held = int(answered(lambda: self._servers.first.hget(self._servers.key("head"), "last_seq")) or 0)
            last_seq = max(held, *(seq for seq, *_ in latest.values()), *leaving.values(), 0)
            numbers = self._numbers(len(fresh))
            dropped = self._write(epoch, dict(zip(numbers, fresh.items(), strict=True)))
            log: list[Any] = []
            for sound_id in gone:
                log += [here[sound_id][0], 0, 0, 0, sound_id]
            for number, (sound_id, (seq, kind, _, fingerprint)) in zip(numbers, fresh.items(), strict=True):
                log += [number, max(1, fingerprint.frames), int(kind == "effect"), seq, sound_id]
            keys = ["head", "log", "ids", "lock", "pending", "dead"]
            self._servers.run(COMMIT, 0, keys, [token, epoch, last_seq, dropped, *log])
            return len(fresh), sum(sound_id in here for sound_id in leaving)

    def compact(self) -> int:
        """Take out the postings of sounds that are long gone, or that a killed writer left. Returns how many."""
        with self._lock():
            client, before = self._servers.first, time.time() - VIEW_S
            epoch = answered(lambda: client.hget(self._servers.key("head"), "epoch"))
            dead = [
                int(number)
                for name in ("dead", "pending")
                for number in answered(client.zrangebyscore, self._servers.key(name), 0, before)
            ]
            if not dead:
                return 0
            numbers = np.asarray(dead, "<u8").tobytes()
            servers = len(self._servers)

            def forget(server: int) -> int:
                freed = 0
                for first in range(server, HASHES, servers * BUCKETS_AT_ONCE):
                    hashes = np.arange(first, min(HASHES, first + servers * BUCKETS_AT_ONCE), servers)
                    arguments = [epoch, numbers, hashes.astype(">u4").tobytes()]
                    freed += int(self._servers.run(FORGET, server, ["epoch", "b:"], arguments))
                    self._renew()
                return freed

            freed = sum(self._servers.on_all(forget))
            for number in dead:
                answered(self._servers.clients[number % servers].delete, self._servers.key(f"s:{number}"))
            answered(
                lambda: (
                    client.zrem(self._servers.key("dead"), *dead),
                    client.zrem(self._servers.key("pending"), *dead),
                )
            )
            return freed

    def _known(self, sound_ids: Sequence[str]) -> dict[str, tuple[int, int]]:
        """Number and sequence number of those of these sounds that are there."""
        if not sound_ids:
            return {}
        values = answered(lambda: self._servers.first.hmget(self._servers.key("ids"), list(sound_ids)))
        pairs = zip(sound_ids, values, strict=True)
        return {name: (int(value.split()[0]), int(value.split()[1])) for name, value in pairs if value}

    def _numbers(self, count: int) -> list[int]:
        """New numbers, noted as pending until they are committed."""
        if not count:
            return []
        client = self._servers.first
        last = int(answered(lambda: client.hincrby(self._servers.key("head"), "numbers", count)))
        numbers = list(range(last - count + 1, last + 1))
        answered(lambda: client.zadd(self._servers.key("pending"), dict.fromkeys(map(str, numbers), time.time())))
        return numbers

    def _write(self, epoch: bytes, sounds: Mapping[int, tuple[str, tuple[int, str, str | None, Indexed]]]) -> int:
        """Put the sounds' postings and bodies on the servers. Returns how many postings found no room."""
        if not sounds:
            return 0
        servers = len(self._servers)
        hashes = np.concatenate([fingerprint.hashes for _, (*_, fingerprint) in sounds.values()])
        postings = np.concatenate(
            [
                fingerprint.times.astype(np.uint64) | np.uint64(number << TIME_BITS)
                for number, (_, (*_, fingerprint)) in sounds.items()
            ]
        ).astype("<u8")
        order = np.argsort(hashes, kind="stable")
        hashes, postings = hashes[order], postings[order]

        def put(server: int) -> int:
            dropped = 0
            mine = hashes % servers == server
            codes, places = hashes[mine], postings[mine]
            buckets, begins = np.unique(codes, return_index=True)
            ends = np.append(begins[1:], len(codes))
            heads = buckets.astype(np.uint32).byteswap().astype("<u8") | (
                (ends - begins).astype("<u8") << np.uint64(32)
            )
            for first in range(0, len(buckets), BUCKETS_AT_ONCE):
                some = slice(first, first + BUCKETS_AT_ONCE)
                begin = begins[some][0]
                packed = np.insert(places[begin : ends[some][-1]], begins[some] - begin, heads[some])
                arguments = [epoch, MAX_BUCKET, packed.astype("<u8", copy=False).tobytes()]
                dropped += int(self._servers.run(APPEND, server, ["epoch", "b:"], arguments))
                self._renew()
            with self._servers.clients[server].pipeline(transaction=False) as pipeline:
                for number, (sound_id, (seq, kind, title, fingerprint)) in sounds.items():
                    if number % servers == server:
                        peaks = fingerprint.reference
                        entry = KnownEntry(seq, sound_id, kind, title, fingerprint.frames)
                        body = SoundBody(entry, peaks.times, peaks.bins, fingerprint.signs, fingerprint.bass)
                        fields: dict[Any, Any] = dict(body.fields())
                        pipeline.hset(self._servers.key(f"s:{number}"), mapping=fields)
                answered(pipeline.execute)
            return dropped

        return sum(self._servers.on_all(put))

    def recreate(self) -> None:
        """Empty the index, whatever is in it."""
        with self._lock():
            self._empty()

    def _empty(self) -> bytes:
        """Begin a new index; the epoch. Under the lock."""
        epoch = secrets.token_hex(8).encode()
        for client in self._servers.clients:
            answered(_delete, client, self._servers.key(""), self._servers.key("lock"))
            answered(client.set, self._servers.key("epoch"), epoch)
        head: dict[Any, Any] = {"epoch": epoch, "format": FORMAT, "servers": len(self._servers), "last_seq": 0}
        answered(lambda: self._servers.first.hset(self._servers.key("head"), mapping=head))
        return epoch

    @contextmanager
    def _lock(self) -> Iterator[bytes]:
        """One writer among all processes. The lock of one that dies runs out."""
        token, client, key = secrets.token_hex(8).encode(), self._servers.first, self._servers.key("lock")
        deadline = time.monotonic() + WAIT_S
        while not answered(lambda: client.set(key, token, nx=True, px=1000 * LOCK_S)):
            if time.monotonic() > deadline:
                raise StoreUnavailable(f"another writer has held the shared sound index for {WAIT_S} s; is it alive?")
            time.sleep(0.02)
        try:
            yield token
        finally:
            # If the server is away, the lock runs out.
            with suppress(StoreUnavailable):
                self._servers.run(UNLOCK, 0, ["lock"], [token])

    def _renew(self) -> None:
        answered(lambda: self._servers.first.pexpire(self._servers.key("lock"), 1000 * LOCK_S))


def _delete(client: Redis, prefix: str, but: str) -> None:
    """Delete every key with this prefix but one."""
    batch = []
    for key in client.scan_iter(match=f"{prefix}*", count=5000):
        if key != but.encode():
            batch.append(key)
        if len(batch) == 5000:
            client.unlink(*batch)
            batch = []
    if batch:
        client.unlink(*batch)
