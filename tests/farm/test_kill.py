"""kill -9 in the middle of the work: nothing lost, nothing doubled."""

from __future__ import annotations

import collections
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

UPLOADS = 50
KILL_AFTER = 12


@pytest.fixture
def kill_farm(farm_factory, tmp_path: Path) -> Iterator[object]:
    # The shortest lease and visibility that the settings' validator allows for short jobs: the test waits for them.
    environment = {
        "TAGFARM_WORKER__LEASE_S": "6",
        "TAGFARM_MEDIA__FETCH_DEADLINE_S": "5",
        "TAGFARM_MEDIA__DECODE_DEADLINE_S": "20",
        "TAGFARM_BROKER__VISIBILITY_TIMEOUT_S": "60",
    }
    running = farm_factory(tmp_path / "farm", environment)
    yield running
    running.close()


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_fifty_uploads_survive_a_killed_node(kill_farm, media: Path) -> None:
    farm = kill_farm
    files = []
    for number in range(UPLOADS):
        source = media / ("silent.mp4" if number % 3 else "b.mp4")
        files.append(shutil.copy(source, media / f"kill-{number:02d}.mp4"))
        farm.send(f"u{number:02d}", Path(files[-1]))
    farm.wait(lambda: farm.store.feed_head() >= KILL_AFTER, "the first documents")
    node = farm.embedded.nodes[0]
    children = psutil.Process(node.pid).children(recursive=True)
    os.kill(node.pid, signal.SIGKILL)
    node.wait()
    assert farm.store.feed_head() < UPLOADS, "the node was too quick to be killed in the middle"
    psutil.wait_procs(children, timeout=10)
    assert not [child for child in children if child.is_running()], "decoders outlived their node"
    farm.embedded.start_node()
    farm.wait(lambda: farm.store.feed_head() >= UPLOADS, "all documents", patience_s=400)
    for number in range(UPLOADS):
        assert farm.document(f"u{number:02d}")["outcome"] == "ok"
    events = farm.store.feed(0, 1000)
    doubled = [name for name, count in collections.Counter(event.upload_id for event in events).items() if count > 1]
    assert (len(events), doubled) == (UPLOADS, [])
    assert farm.store.counts()["ok"] == UPLOADS
    originals = farm.store.list_sounds()
    assert len(originals) == 1, "seventeen uploads of one sound are one original"
