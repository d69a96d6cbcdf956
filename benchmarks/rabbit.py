"""A RabbitMQ node of a test's or benchmark's own: on free ports, with all that it keeps in one folder.

The machine's own RabbitMQ, if one runs, is not touched: this one has its own name, cookie, ports and port mapper.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path

SERVER_FOLDERS = ("/usr/lib/rabbitmq/bin", "/opt/rabbitmq/sbin", "/usr/local/sbin")
START_S = 90.0
CONSUMER_TIMEOUT_MS = 1_800_000
"""RabbitMQ's own default."""


def programs() -> Path | None:
    """Where RabbitMQ's programs lie; None: it is not installed. Debian's own wrappers would change the user."""
    for folder in map(Path, SERVER_FOLDERS):
        if (folder / "rabbitmq-server").is_file():
            return folder
    found = shutil.which("rabbitmq-server")
    return Path(found).resolve().parent if found else None


def free_port() -> int:
    """A TCP port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class RabbitNode:
    """One node. `start` and `kill` may take turns: what durable queues held is there again."""

    def __init__(self, consumer_timeout_ms: int = CONSUMER_TIMEOUT_MS) -> None:
        folder = programs()
        if folder is None:
            raise FileNotFoundError("rabbitmq-server is not installed; on Debian: apt-get install rabbitmq-server")
        self._programs = folder
        # A short path: Erlang's files and sockets have long names of their own.
        self.home = Path(tempfile.mkdtemp(prefix="tagfarm-rabbit-"))
        self.port, self._distribution, self._mapper = free_port(), free_port(), free_port()
        self._name = f"tagfarm{self.port}@localhost"
        (self.home / "rabbitmq.conf").write_text(
            f"listeners.tcp.default = 127.0.0.1:{self.port}\nconsumer_timeout = {consumer_timeout_ms}\n"
            "disk_free_limit.absolute = 50MB\nlog.console = false\n"
        )
        (self.home / "plugins").write_text("[].\n")
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """For Celery."""
        return f"amqp://guest:guest@127.0.0.1:{self.port}//"

    @property
    def pid(self) -> int:
        """Of the process group that it runs in."""
        assert self._process is not None
        return self._process.pid

    def _environment(self) -> dict[str, str]:
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.home),
            "LANG": "C.UTF-8",
            "ERL_EPMD_PORT": str(self._mapper),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            # Or it would refuse to end while it thinks that a node lives that was just killed.
            "ERL_EPMD_RELAXED_COMMAND_CHECK": "1",
            "RABBITMQ_NODENAME": self._name,
            "RABBITMQ_DIST_PORT": str(self._distribution),
            "RABBITMQ_MNESIA_BASE": str(self.home / "data"),
            "RABBITMQ_LOG_BASE": str(self.home / "log"),
            "RABBITMQ_PID_FILE": str(self.home / "pid"),
            "RABBITMQ_CONFIG_FILE": str(self.home / "rabbitmq.conf"),
            "RABBITMQ_ADVANCED_CONFIG_FILE": str(self.home / "none"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.home / "plugins"),
            "RABBITMQ_CONF_ENV_FILE": str(self.home / "none.conf"),
            "RABBITMQ_GENERATED_CONFIG_DIR": str(self.home / "generated"),
            # Two schedulers: it shall not take the machine.
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+S 2:2 +sbwt none +sbwtdcpu none +sbwtdio none",
        }

    def start(self) -> None:
        """Start it and wait until it takes connections."""
        with (self.home / "out").open("ab") as out:
            self._process = subprocess.Popen(
                [str(self._programs / "rabbitmq-server")],
                env=self._environment(),
                cwd=self.home,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        deadline = time.monotonic() + START_S
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(
                    f"RabbitMQ did not start:\n{(self.home / 'out').read_text(errors='replace')[-3000:]}"
                )
            time.sleep(0.1)

    def _answers(self) -> bool:
        from amqp import Connection

        try:
            with Connection(f"127.0.0.1:{self.port}", connect_timeout=2):
                return True
        except Exception:
            return False

    def kill(self) -> None:
        """kill -9: what is not on disk is lost."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, 9)
            self._process.wait()
            self._process = None

    def stop(self) -> None:
        """End it, with its port mapper, and remove its folder."""
        self.kill()
        ending = ["epmd", "-port", str(self._mapper), "-kill"]
        subprocess.run(ending, env=self._environment(), capture_output=True, check=False)
        shutil.rmtree(self.home, ignore_errors=True)

    def control(self, *arguments: str) -> str:
        """`rabbitmqctl`. Slow (seconds): it starts an Erlang of its own."""
        command = [str(self._programs / "rabbitmqctl"), "--quiet", "--node", self._name, *arguments]
        return subprocess.run(command, env=self._environment(), capture_output=True, text=True, check=True).stdout

    def __enter__(self) -> RabbitNode:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
