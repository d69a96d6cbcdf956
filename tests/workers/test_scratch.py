import os
import signal
import subprocess
import sys
from pathlib import Path

from workers.scratch import NodeScratch, clear_dead


def test_a_living_neighbours_scratch_is_left_alone(tmp_path: Path) -> None:
    neighbour = NodeScratch(tmp_path)
    (neighbour.path / "upload").write_bytes(b"x")
    assert clear_dead(tmp_path) == 0
    mine = NodeScratch(tmp_path)
    assert (neighbour.path / "upload").exists()
    mine.close()
    neighbour.close()
    assert list(tmp_path.iterdir()) == []


def test_a_killed_nodes_scratch_is_cleared_by_the_next(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from workers.scratch import NodeScratch\n"
        "s = NodeScratch(Path(sys.argv[1])); (s.path / 'upload').write_bytes(b'x'); print('ready', flush=True)\n"
        "time.sleep(60)"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    assert clear_dead(tmp_path) == 0
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()
    NodeScratch(tmp_path).close()
    assert list(tmp_path.iterdir()) == []
