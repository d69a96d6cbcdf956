"""The archive that `benchmarks.retag` tags again, and the child process that does it.

python -m benchmarks.retag_archive HOME [--every-head]    # one run on the archive in HOME, on one core
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
from rich.progress import track
from sqlalchemy import text

from models.topics.calibration import load_calibration
from models.topics.tagger import TopicsTagger
from scripts import demo_media
from store.artifacts import ArtifactStore
from store.schema import Base
from store.store import Selection, Started, Store
from tasks.job import Desk, sound_use_rows, tag_rows
from tasks.leases import LeaseKeeper
from tasks.pipeline import Analysis
from tasks.retag import Heads, Retagger
from tasks.sound_library import SoundLibrary
from workers.build import build_models, build_parts
from workers.scratch import NodeScratch
from workers.settings import Settings

UPLOADS = 2000
DEMO_CLIPS = ("bikes-silent", "bikes-with-bunny-sound", "bunny-bikes-duet", "bunny-original", "cat", "photo-slideshow")
FULL_ROUNDS = 2
TIMES = {"at", "updated_at", "created_at", "uploaded_at", "due_at", "started_at", "ended_at", "written_at"}


class NextTopics(TopicsTagger):
    """The version that tags the archive again: surer topics only."""

    version = "efficientnet-lite2-taxonomy@next"

    def __init__(self) -> None:
        fitted = load_calibration()
        super().__init__(calibration=replace(fitted, threshold=(fitted.threshold[0] + 0.1, fitted.threshold[1] + 0.1)))


def clips() -> list[Path]:
    """The demo's clips."""
    made = demo_media.make(demo_media.CACHE, lambda _: None)
    return [made[name] for name in DEMO_CLIPS]


def settings_of(home: Path, roots: list[Path]) -> Settings:
    """One node's, on one decoder and the CPU."""
    settings = Settings(home=home, _env_file=None)  # type: ignore[call-arg]
    settings.media.roots, settings.media.decoders, settings.models.device = roots, 1, "cpu"
    return settings


def fill(store: Store, artifacts: ArtifactStore, analyses: list[Analysis], requests: list[dict[str, Any]]) -> None:
    """An archive: each analysis many times, under ids of their own."""
    for number in track(range(UPLOADS), "filling the archive"):
        analysis, request = analyses[number % len(analyses)], requests[number % len(analyses)]
        upload_id = f"u{number:05d}"
        admission = store.admit(upload_id, request | {"upload_id": upload_id}, "h", owner="benchmark", lease_s=600)
        assert isinstance(admission, Started)
        address = artifacts.put(upload_id, admission.attempt_id, analysis.artifacts)
        document = analysis.document.model_copy(update={"upload_id": upload_id})
        with store.commit(admission.attempt_id) as transaction:
            rows = tag_rows(document), sound_use_rows(document), address, analysis.encodings
            transaction.finish(document.to_json(), *rows)


def work(home: Path, every_head: bool) -> None:
    """The child: one run to its end, on one core. Prints what it took."""
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    import torch

    torch.set_num_threads(1)
    models = build_models(settings_of(home, []))
    taggers = [NextTopics() if tagger.name == "topics" else tagger for tagger in models.taggers]
    heads = Heads(models.encoders, taggers)
    names = heads.from_kept() if every_head else ["topics"]
    store = Store.open(f"sqlite:///{home / 'tagfarm.db'}")
    selection = Selection(where="upload_id >= 'u'") if every_head else Selection(stale=("topics",))
    run, known = store.open_retag(selection, [heads.target(name) for name in names], ("embeddings",))
    left = run.left
    wall, cpu = time.perf_counter(), time.process_time()
    progress = Retagger(store, ArtifactStore((home / "artifacts").as_uri()), heads, run, full_instead=False).work()
    taken = {"wall_s": time.perf_counter() - wall, "cpu_s": time.process_time() - cpu}
    sys.stdout.write(
        json.dumps({**taken, "uploads": left - progress.left, "items": progress.items, "known": known}) + "\n"
    )
    store.close()
    models.close()


def run_child(home: Path, *, kill_after_s: float | None = None, every_head: bool = False) -> dict[str, Any] | None:
    """Run the child to its end; with `kill_after_s` kill it so long after it wrote first: then None."""
    command = [sys.executable, "-m", "benchmarks.retag_archive", str(home), *(["--every-head"] if every_head else [])]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    if kill_after_s is not None:
        store = Store.open(f"sqlite:///{home / 'tagfarm.db'}")
        head = store.feed_head()
        while store.feed_head() == head and child.poll() is None:
            time.sleep(0.01)
        store.close()
        time.sleep(kill_after_s)
        child.send_signal(signal.SIGKILL)
    said, _ = child.communicate()
    if child.returncode == -signal.SIGKILL:
        return None
    if child.returncode != 0:
        raise SystemExit(f"the child ended with {child.returncode}")
    answer: dict[str, Any] = json.loads(said)
    return answer


def everything(home: Path) -> dict[str, list[str]]:
    """All rows of all tables, but for times."""
    store = Store.open(f"sqlite:///{home / 'tagfarm.db'}")
    found = {}
    with store._database.read() as connection:
        for one in Base.metadata.sorted_tables:
            columns = ", ".join(f'"{column.name}"' for column in one.columns if column.name not in TIMES)
            found[one.name] = sorted(map(repr, connection.execute(text(f"SELECT {columns} FROM {one.name}"))))
    store.close()
    return found


def full_rate(home: Path, files: list[Path]) -> dict[str, float]:
    """What uploads take through the whole pipeline and commit, on one core."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(before)})
    import torch

    torch.set_num_threads(1)
    settings = settings_of(home, sorted({file.parent for file in files}))
    scratch = NodeScratch(settings.scratch)
    parts = build_parts(settings, scratch.path)
    store = Store.open(f"sqlite:///{home / 'full.db'}")
    desk = Desk(
        store=store,
        artifacts=ArtifactStore((home / "full-artifacts").as_uri()),
        parts=parts,
        library=SoundLibrary(home / "full-index"),
        leases=LeaseKeeper(lambda attempt_id: True, 600),
        owner="benchmark",
        lease_s=600,
        max_attempts=3,
    )
    desk.library.warm()
    messages = [{"upload_id": f"full-{number}", "media": file.as_uri()} for number, file in enumerate(files)]
    for message in messages:
        desk.handle(message)
    wall, spent = time.perf_counter(), _cpu_s()
    for _ in range(FULL_ROUNDS):
        for message in messages:
            store.requeue(str(message["upload_id"]), "backfill")
            if desk.handle(message) != "committed":
                raise SystemExit(f"{message['upload_id']} was not tagged")
    taken = {"wall_s": time.perf_counter() - wall, "cpu_s": _cpu_s() - spent}
    parts.close()
    store.close()
    scratch.close()
    os.sched_setaffinity(0, before)
    return {"uploads": FULL_ROUNDS * len(files), **taken}


def _cpu_s() -> float:
    """CPU seconds so far of this process and its decoder."""
    own = psutil.Process()
    spent = own.cpu_times().user + own.cpu_times().system
    for child in own.children(recursive=True):
        times = child.cpu_times()
        # Each upload is decoded in a process of its own, which has ended by now: its parent has its times.
        spent += times.user + times.system + times.children_user + times.children_system
    return spent


def restore(home: Path, archive: Path) -> None:
    """The archive as it was."""
    for name in ("tagfarm.db-wal", "tagfarm.db-shm"):
        (home / name).unlink(missing_ok=True)
    shutil.copyfile(archive, home / "tagfarm.db")


def main() -> None:
    """The child's entrance."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("home", type=Path)
    parser.add_argument("--every-head", action="store_true")
    options = parser.parse_args()
    work(options.home, options.every_head)


if __name__ == "__main__":
    main()
