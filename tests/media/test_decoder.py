from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import psutil

ROOT = Path(__file__).parents[2]

ORPHAN = """
import os, pickle, signal, sys, time
from pathlib import Path
from media import decoder, sandbox
from media.types import Limits
clip, folder, told = sys.argv[1:]
decoder.warm(pickle.dumps(()))
confine = sandbox.confine
def confine_late(confinement):
    warm = os.getppid()
    Path(told).write_text(str(os.getpid()))
    os.kill(warm, signal.SIGKILL)
    while os.getppid() == warm:
        time.sleep(0.01)
    confine(confinement)
sandbox.confine = confine_late
decoder.decode_upload(clip, folder, Limits())
"""


def test_a_child_whose_parent_died_before_it_could_ask_to_die_with_it(
    clip: Path, scratch: Path, tmp_path: Path
) -> None:
    told = tmp_path / "child"
    command = [sys.executable, "-c", ORPHAN, str(clip), str(scratch), str(told)]
    warm = subprocess.run(command, env={**os.environ, "PYTHONPATH": str(ROOT)}, timeout=60)
    assert warm.returncode == -9
    child = int(told.read_text())
    if psutil.pid_exists(child):
        psutil.wait_procs([psutil.Process(child)], timeout=20)
    assert not psutil.pid_exists(child)
    assert list(scratch.iterdir()) == []
