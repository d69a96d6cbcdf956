"""`tagfarm up` as a person runs it: it comes up, tags, and Ctrl-C leaves nothing behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest

from scripts import clips

COMMAND = [sys.executable, "-m", "scripts.cli"]


class Up:
    """`tagfarm up` on one clip, in a home of its own."""

    def __init__(self, folder: Path) -> None:
        self.home, self.clip = folder / "home", folder / "media" / "clip.mp4"
        frames = [np.full((64, 64, 3), shade, np.uint8) for shade in range(0, 240, 20)]
        clips.write(self.clip, frames, fps=12)
        self.environment = {**os.environ, "TAGFARM_HOME": str(self.home)}
        self.environment.pop("TAGFARM_BROKER__URL", None)
        self.process = self.start()

    def start(self) -> subprocess.Popen[bytes]:
        """Start it and wait until it says where its broker is."""
        before = self.broker()
        command = [*COMMAND, "up", "--root", str(self.clip.parent)]
        self.process = subprocess.Popen(command, env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        deadline = time.monotonic() + 60
        while self.broker() in (None, before):
            assert self.process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.1)
        return self.process

    def broker(self) -> tuple[str, int] | None:
        said = self.home / "broker.url"
        return (said.read_text(), said.stat().st_mtime_ns) if said.exists() else None

    def enqueue(self, *more: str) -> None:
        arguments = ["enqueue", str(self.clip), "--wait", "--timeout", "150", *more]
        done = subprocess.run([*COMMAND, *arguments], env=self.environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr + (self.home / "node.log").read_text()

    def family(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children(recursive=True)


@pytest.fixture
def up(tmp_path: Path) -> Iterator[Up]:
    running = Up(tmp_path)
    yield running
    if running.process.poll() is None:
        running.process.kill()
        running.process.wait()


def test_up_tags_and_stops_cleanly(up: Up) -> None:
    up.enqueue()
    family = up.family()
    assert len(family) >= 2
    up.process.send_signal(signal.SIGINT)
    output, _ = up.process.communicate(timeout=60)
    assert up.process.returncode == 0, output
    _, alive = psutil.wait_procs(family, timeout=10)
    assert alive == []
    assert not (up.home / "broker.url").exists()
    assert list((up.home / "scratch").iterdir()) == []


@pytest.mark.slow
def test_killed_it_leaves_nothing_that_the_next_one_minds(up: Up) -> None:
    up.enqueue()
    family = up.family()
    up.process.kill()
    up.process.wait()
    alive = [process for process in family if process.name() == "valkey-server"]
    assert len(alive) == 1
    _, left = psutil.wait_procs([process for process in family if process not in alive], timeout=60)
    assert left == []  # its node has ended itself
    assert alive[0].is_running()
    up.start()
    psutil.wait_procs(alive, timeout=10)
    assert not alive[0].is_running()
    up.enqueue("--upload-id", "again")
    up.process.send_signal(signal.SIGINT)
    up.process.communicate(timeout=60)
    assert up.process.returncode == 0
