import os
import subprocess
import sys
from pathlib import Path

from benchmarks.sound_kill import after, do, fingerprint, held, step
from models.soundid.index import DiskIndex

ROOT = Path(__file__).parents[2]


def test_two_hundred_kills(tmp_path):
    command = [sys.executable, "-m", "benchmarks.sound_kill", "--cycles", "200", "--dry", "--folder", str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    run = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    assert "'cycles': 200" in run.stdout
    assert "Error" not in run.stderr


def test_the_expected_state_is_what_the_steps_leave(tmp_path):
    index, state = DiskIndex(tmp_path), {}
    for number in range(1, 60):
        do(index, number)
        state = after(state, number)
        assert {name: seq for name, seq, whole in held(index) if whole} == state
    assert {step(number)[0] for number in range(60)} == {"add", "remove", "compact"}


def test_a_wrong_fingerprint_shows(tmp_path):
    index = DiskIndex(tmp_path)
    index.add([(1, "s_0", "song", None, fingerprint(2))])
    assert list(held(index)) == [("s_0", 1, False)]
