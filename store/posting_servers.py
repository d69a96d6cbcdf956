"""The Valkey (or Redis) servers of the sound index: connections, keys, scripts, and what it means if one is away."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from redis import ConnectionError as ValkeyConnectionError
from redis import Redis, ResponseError
from redis import TimeoutError as ValkeyTimeoutError

from store.errors import SoundIndexLost, StoreUnavailable

TIMEOUT_S = 5.0
"""A server that does not answer for so long is away, s."""
CONNECTIONS = 64
"""Connections to each server at most."""

Result = TypeVar("Result")


class PostingServers:
    """All servers of one index. Safe to use from many threads.

    Args:
        urls: `redis://host:port/db`, in the index's order.
        prefix: of all keys.
    """

    def __init__(self, urls: Sequence[str], prefix: str) -> None:
        self.clients = [
            Redis.from_url(url, socket_timeout=TIMEOUT_S, socket_connect_timeout=TIMEOUT_S, max_connections=CONNECTIONS)
            for url in urls
        ]
        self._prefix = prefix
        self._threads = ThreadPoolExecutor(4 * len(urls), "sound-postings") if len(urls) > 1 else None

    def __len__(self) -> int:
        return len(self.clients)

    @property
    def first(self) -> Redis:
        """The server that has the catalogue as well."""
        return self.clients[0]

    def key(self, name: str) -> str:
        """The key of that name."""
        return f"{self._prefix}:{name}"

    def run(self, code: str, server: int, keys: Sequence[str], arguments: Sequence[Any]) -> Any:
        """What a script of `posting_scripts` answers on that server.

        Raises:
            StoreUnavailable: it is away, or the lock is another's.
            SoundIndexLost: it has another index than the caller means, or none.
        """
        client = self.clients[server]
        script = client.register_script(code)
        try:
            return answered(lambda: script(keys=[self.key(key) for key in keys], args=arguments))
        except ResponseError as error:
            if "EPOCH" in str(error):
                raise SoundIndexLost(f"server {server + 1} of {len(self)} has another index, or none") from error
            if "LOCK" in str(error):
                raise StoreUnavailable("the lock of the shared sound index was lost to another writer") from error
            raise

    def on_all(self, ask: Callable[[int], Result]) -> list[Result]:
        """The same of every server, all at the same time."""
        if self._threads is None:
            return [ask(0)]
        return list(self._threads.map(ask, range(len(self))))

    def close(self) -> None:
        """Let go of the connections."""
        for client in self.clients:
            client.close()
        if self._threads is not None:
            self._threads.shutdown()


def answered(call: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
    """What a server says; `StoreUnavailable` where it says nothing. redis-py connects again by itself."""
    try:
        return call(*arguments, **named)
    except (ValkeyConnectionError, ValkeyTimeoutError) as error:
        cure = "start it, or mend TAGFARM_SOUNDS__SERVERS"
        raise StoreUnavailable(f"a server of the shared sound index is away ({error}); {cure}") from error
