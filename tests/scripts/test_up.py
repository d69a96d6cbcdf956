"""`tagfarm up` as a person runs it: it comes up, tags, and Ctrl-C leaves nothing behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil

from scripts import clips


def test_up_tags_and_stops_cleanly(tmp_path: Path) -> None:
    home, media = tmp_path / "home", tmp_path / "media"
    clips.write(media / "clip.mp4", [np.full((64, 64, 3), shade, np.uint8) for shade in range(0, 240, 20)], fps=12)
    environment = {**os.environ, "TAGFARM_HOME": str(home)}
    environment.pop("TAGFARM_BROKER__URL", None)
    command = [sys.executable, "-m", "scripts.cli"]
    up = subprocess.Popen(
        [*command, "up", "--root", str(media)], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    try:
        deadline = time.monotonic() + 60
        while not (home / "broker.url").exists():
            assert up.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.1)
        arguments = ["enqueue", str(media / "clip.mp4"), "--wait", "--timeout", "150"]
        done = subprocess.run([*command, *arguments], env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr + (home / "node.log").read_text()
        family = psutil.Process(up.pid).children(recursive=True)
        assert len(family) >= 2
        up.send_signal(signal.SIGINT)
        output, _ = up.communicate(timeout=60)
        assert up.returncode == 0, output
    finally:
        if up.poll() is None:
            up.kill()
            up.wait()
    _, alive = psutil.wait_procs(family, timeout=10)
    assert alive == []
    assert not (home / "broker.url").exists()
    assert list((home / "scratch").iterdir()) == []
