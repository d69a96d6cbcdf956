"""The sound index on Valkey (or Redis) servers: posting lists by hash, for catalogues beyond one machine.

Each server holds the buckets of its share of the hashes, and of its share of the sounds what verifies them; the first one
also the catalogue. A bucket is a string of 8-byte postings (sound's number, frame). A lookup is one script on each
server, so one round trip, and its postings are bounded there.

A sound's number is given once and never again. What is in the index is said by a log of numbers that came and went,
written in one step after all postings are there: a view is a prefix of that log, so it does not change, and what a
killed writer left behind is in no view. One writer at a time, by a lock; a writer that has lost it cannot commit.

The store is the truth: the servers need keep nothing. One that comes back empty is noticed (`SoundIndexLost`); if it is
the first one, the index is empty and filled again by the next sync.

Format history: 1 - first version.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import Any, Protocol, TypeVar

import numpy as np
import numpy.typing as npt
from redis import ConnectionError as ValkeyConnectionError
from redis import Redis, ResponseError
from redis import TimeoutError as ValkeyTimeoutError

from store.errors import SoundIndexLost, StoreUnavailable
from store.posting_scripts import APPEND, COMMIT, FORGET, LOOKUP, UNLOCK
from store.posting_view import LOG_ENTRY, TIME_BITS, BodyCache, Catalogue, KnownEntry, Reader, SoundBody, ValkeyView

FORMAT = 1
PREFIX = "tagfarm:sounds"
MAX_BUCKET = 4096
"""Postings kept of one hash."""
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
TIMEOUT_S = 5.0
"""A server that does not answer for so long is away, s."""
CONNECTIONS = 64

Result = TypeVar("Result")


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


class ValkeyIndex(Reader):
    """The index on these servers. Safe to use from many threads and processes.

    Args:
        urls: of the servers, `redis://host:port/db`; their number and order are part of the index's shape.
        prefix: of all keys.

    Raises (all methods):
        StoreUnavailable: a server is away or does not answer. Reading or writing again later is safe.
        SoundIndexLost: a server lacks what it should hold, or the index was made for other servers or by another version.
    """

    def __init__(self, urls: Sequence[str], prefix: str = PREFIX) -> None:
        self._clients = [
            Redis.from_url(
                url, socket_timeout=TIMEOUT_S, socket_connect_timeout=TIMEOUT_S, max_connections=CONNECTIONS
            )
            for url in urls
        ]
        self._prefix = prefix
        self._threads = ThreadPoolExecutor(4 * len(urls), "sound-postings") if len(urls) > 1 else None
        self._scripts = {code: self._clients[0].register_script(code) for code in (LOOKUP, APPEND, COMMIT, FORGET, UNLOCK)}
        self._cache = BodyCache()
        self._guard = threading.Lock()
        self._view: ValkeyView | None = None

    @classmethod
    def recreate(cls, urls: Sequence[str], prefix: str = PREFIX) -> ValkeyIndex:
        """Empty the index, whatever is in it."""
        index = cls(urls, prefix)
        with index._writer():
            index._empty()
        return index

    def close(self) -> None:
        """Let go of the connections."""
        for client in self._clients:
            client.close()
        if self._threads is not None:
            self._threads.shutdown()

    # Reading

    def view(self) -> ValkeyView:
        """The index as it is now, others' changes among it. One round trip."""
        held = self._view
        read = held.catalogue.read if held is not None else 0
        with self._clients[0].pipeline(transaction=True) as pipeline:
            pipeline.hmget(self._key("head"), "epoch", "format", "servers")
            pipeline.lrange(self._key("log"), read, -1)
            (epoch, form, servers), entries = _answered(pipeline.execute)
        if epoch is None:
            return ValkeyView(Catalogue.empty(b""), self)
        if int(form or 0) != FORMAT:
            raise SoundIndexLost(f"format {int(form or 0)}; this version reads {FORMAT}")
        if int(servers or 0) != len(self._clients):
            raise SoundIndexLost(f"made for {int(servers or 0)} servers, not {len(self._clients)}")
        if held is not None and held.catalogue.epoch == epoch and not entries:
            return held
        with self._guard:
            if held is not None and held.catalogue.epoch != epoch:
                self._cache.clear()
                held, self._view = None, None
                read = 0
                entries = _answered(lambda: self._clients[0].lrange(self._key("log"), 0, -1))
            before = held.catalogue if held is not None else Catalogue.empty(epoch)
            made = ValkeyView(before.after(np.frombuffer(b"".join(entries), LOG_ENTRY)), self)
            if self._view is None or self._view.catalogue.read < made.catalogue.read:
                self._view = made
            return made

    def lookup(
        self, epoch: bytes, hashes: npt.NDArray[np.uint32], classes: npt.NDArray[np.uint8], most: int
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.uint64]]:
        """See `Reader.lookup`."""
        servers = len(self._clients)
        share = most // servers

        def ask(server: int) -> tuple[Any, Any, Any]:
            rows = np.flatnonzero(hashes % servers == server) if servers > 1 else np.arange(len(hashes))
            arguments = [epoch, hashes[rows].astype(">u4").tobytes(), classes[rows].tobytes(), share]
            found, postings = self._run(LOOKUP, server, ["epoch", "b:"], arguments)
            pairs = np.frombuffer(found, "<u4").reshape(-1, 2).astype(np.int64)
            return rows[pairs[:, 0]], pairs[:, 1], np.frombuffer(postings, "<u8")

        if not epoch or not len(hashes):
            return np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.uint64)
        parts = self._on_all(ask)
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

    def _read_body(self, number: int) -> SoundBody:
        client = self._clients[number % len(self._clients)]
        fields = _answered(lambda: client.hgetall(self._key(f"s:{number}")))
        if not fields:
            raise SoundIndexLost(f"sound {number} is missing")
        return SoundBody.read(fields)

    @property
    def last_seq(self) -> int:
        """The highest sequence number of the store that went in; 0: none."""
        return int(_answered(lambda: self._clients[0].hget(self._key("head"), "last_seq")) or 0)

    def __len__(self) -> int:
        return len(self.view())

    def __contains__(self, sound_id: object) -> bool:
        return isinstance(sound_id, str) and bool(
            _answered(lambda: self._clients[0].hexists(self._key("ids"), sound_id))
        )

    def stats(self) -> dict[str, int]:
        """Sounds, servers, postings dropped from crowded buckets, bytes of memory that the servers use for all they hold."""
        dropped = _answered(lambda: self._clients[0].hget(self._key("head"), "dropped"))
        used = _answered(lambda: [int(client.info("memory")["used_memory"]) for client in self._clients])
        return {"sounds": len(self), "servers": len(self._clients), "dropped": int(dropped or 0), "bytes": sum(used)}

    # Writing

    def add(self, sounds: Iterable[tuple[int, str, str, str | None, Indexed]]) -> int:
        """Add sounds, all or none; see `update`. Returns how many are new."""
        return self.update(sounds, ())[0]

    def remove(self, sound_id: str, seq: int = 0) -> bool:
        """Forget a sound. True if it was there."""
        return bool(self.update((), [(seq, sound_id)])[1])

    def update(
        self,
        added: Iterable[tuple[int, str, str, str | None, Indexed]],
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
        latest = {sound_id: (seq, kind, title, fingerprint) for seq, sound_id, kind, title, fingerprint in added}
        leaving = {sound_id: seq for seq, sound_id in removed}
        with self._writer() as token:
            epoch = _answered(lambda: self._clients[0].hget(self._key("head"), "epoch")) or self._empty()
            here = self._known([*latest, *leaving])
            fresh = {
                sound_id: what for sound_id, what in latest.items() if here.get(sound_id, (0, -1))[1] != what[0]
            }
            gone = [sound_id for sound_id in (*leaving, *fresh) if sound_id in here]
            last_seq = max(self.last_seq, *(seq for seq, *_ in latest.values()), *leaving.values(), 0)
            numbers = self._numbers(len(fresh))
            dropped = self._write(epoch, dict(zip(numbers, fresh.items(), strict=True)))
            log: list[Any] = []
            for sound_id in gone:
                log += [here[sound_id][0], 0, 0, 0, sound_id]
            for number, (sound_id, (seq, kind, _, fingerprint)) in zip(numbers, fresh.items(), strict=True):
                log += [number, max(1, fingerprint.frames), int(kind == "effect"), seq, sound_id]
            keys = ["head", "log", "ids", "lock", "pending", "dead"]
            self._run(COMMIT, 0, keys, [token, epoch, last_seq, dropped, *log])
            return len(fresh), sum(sound_id in here for sound_id in leaving)

    def compact(self) -> int:
        """Take out the postings of sounds that are long gone, or that a killed writer left. Returns how many."""
        with self._writer():
            client, before = self._clients[0], time.time() - VIEW_S
            epoch = _answered(lambda: client.hget(self._key("head"), "epoch"))
            dead = [
                int(number)
                for name in ("dead", "pending")
                for number in _answered(lambda name=name: client.zrangebyscore(self._key(name), 0, before))
            ]
            if not dead:
                return 0
            numbers = np.asarray(dead, "<u8").tobytes()
            servers = len(self._clients)

            def forget(server: int) -> int:
                freed = 0
                for first in range(server, HASHES, servers * BUCKETS_AT_ONCE):
                    hashes = np.arange(first, min(HASHES, first + servers * BUCKETS_AT_ONCE), servers)
                    arguments = [epoch, numbers, hashes.astype(">u4").tobytes()]
                    freed += int(self._run(FORGET, server, ["epoch", "b:"], arguments))
                    self._renew()
                return freed

            freed = sum(self._on_all(forget))
            for number in dead:
                _answered(lambda n=number: self._clients[n % servers].delete(self._key(f"s:{n}")))
            _answered(lambda: (client.zrem(self._key("dead"), *dead), client.zrem(self._key("pending"), *dead)))
            return freed

    def _known(self, sound_ids: Sequence[str]) -> dict[str, tuple[int, int]]:
        """Number and sequence number of those of these sounds that are there."""
        if not sound_ids:
            return {}
        values = _answered(lambda: self._clients[0].hmget(self._key("ids"), list(sound_ids)))
        pairs = zip(sound_ids, values, strict=True)
        return {name: (int(value.split()[0]), int(value.split()[1])) for name, value in pairs if value}

    def _numbers(self, count: int) -> list[int]:
        """New numbers, noted as pending until they are committed."""
        if not count:
            return []
        client = self._clients[0]
        last = int(_answered(lambda: client.hincrby(self._key("head"), "numbers", count)))
        numbers = list(range(last - count + 1, last + 1))
        _answered(lambda: client.zadd(self._key("pending"), dict.fromkeys(map(str, numbers), time.time())))
        return numbers

    def _write(self, epoch: bytes, sounds: Mapping[int, tuple[str, tuple[int, str, str | None, Indexed]]]) -> int:
        """Put the sounds' postings and bodies on the servers. Returns how many postings found no room."""
        if not sounds:
            return 0
        servers = len(self._clients)
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
            heads = buckets.astype(np.uint32).byteswap().astype("<u8") | ((ends - begins).astype("<u8") << np.uint64(32))
            for first in range(0, len(buckets), BUCKETS_AT_ONCE):
                some = slice(first, first + BUCKETS_AT_ONCE)
                begin = begins[some][0]
                packed = np.insert(places[begin : ends[some][-1]], begins[some] - begin, heads[some])
                arguments = [epoch, MAX_BUCKET, packed.astype("<u8", copy=False).tobytes()]
                dropped += int(self._run(APPEND, server, ["epoch", "b:"], arguments))
                self._renew()
            with self._clients[server].pipeline(transaction=False) as pipeline:
                for number, (sound_id, (seq, kind, title, fingerprint)) in sounds.items():
                    if number % servers == server:
                        peaks = fingerprint.reference
                        entry = KnownEntry(seq, sound_id, kind, title, fingerprint.frames)
                        body = SoundBody(entry, peaks.times, peaks.bins, fingerprint.signs)
                        pipeline.hset(self._key(f"s:{number}"), mapping=body.fields())
                _answered(pipeline.execute)
            return dropped

        return sum(self._on_all(put))

    def _empty(self) -> bytes:
        """Begin a new index; the epoch. Under the lock."""
        epoch = secrets.token_hex(8).encode()
        for client in self._clients:
            _answered(lambda client=client: _delete(client, f"{self._prefix}:", self._key("lock")))
            _answered(lambda client=client: client.set(self._key("epoch"), epoch))
        head = {"epoch": epoch, "format": FORMAT, "servers": len(self._clients), "last_seq": 0}
        _answered(lambda: self._clients[0].hset(self._key("head"), mapping=head))
        return epoch

    @contextmanager
    def _writer(self) -> Iterator[bytes]:
        """One writer among all processes. The lock of one that dies runs out."""
        token, client, key = secrets.token_hex(8).encode(), self._clients[0], self._key("lock")
        deadline = time.monotonic() + WAIT_S
        while not _answered(lambda: client.set(key, token, nx=True, px=1000 * LOCK_S)):
            if time.monotonic() > deadline:
                raise StoreUnavailable(f"another writer has held the shared sound index for {WAIT_S} s; is it alive?")
            time.sleep(0.02)
        try:
            yield token
        finally:
            # If the server is away, the lock runs out.
            with suppress(StoreUnavailable):
                self._run(UNLOCK, 0, ["lock"], [token])

    def _renew(self) -> None:
        _answered(lambda: self._clients[0].pexpire(self._key("lock"), 1000 * LOCK_S))

    # Talking to the servers

    def _key(self, name: str) -> str:
        return f"{self._prefix}:{name}"

    def _run(self, code: str, server: int, keys: Sequence[str], arguments: Sequence[Any]) -> Any:
        script = self._scripts[code]
        try:
            return _answered(
                lambda: script(keys=[self._key(key) for key in keys], args=arguments, client=self._clients[server])
            )
        except ResponseError as error:
            if "EPOCH" in str(error):
                raise SoundIndexLost(f"server {server + 1} of {len(self._clients)} has another index, or none") from error
            if "LOCK" in str(error):
                raise StoreUnavailable("the lock of the shared sound index was lost to another writer") from error
            raise

    def _on_all(self, ask: Callable[[int], Result]) -> list[Result]:
        """The same of every server, all at the same time."""
        if self._threads is None:
            return [ask(0)]
        return list(self._threads.map(ask, range(len(self._clients))))


def _answered(call: Callable[[], Any]) -> Any:
    """What a server says; `StoreUnavailable` where it says nothing. redis-py connects again by itself."""
    try:
        return call()
    except (ValkeyConnectionError, ValkeyTimeoutError) as error:
        raise StoreUnavailable(f"a server of the shared sound index is away ({error}); it is asked again") from error


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
