"""Re-tagging an archive: how fast heads run again on kept embeddings, beside what a full re-tag costs.

    python -m benchmarks.retag            # measure, write benchmarks/results/retag.{json,md}
    python -m benchmarks.retag --check    # the same, and exit 1 if a bar is missed

Real clips go through the farm's own pipeline once; their documents and what is kept of them make an archive of 2,000
uploads in a fresh store. Then a new version of the topics head tags it again from what is kept, in a process that is
bound to one core: what counts is that core's time from the run's first upload to its last, reading, heads and
committing with it; the wall's is beside it, and has in it what else runs on the machine. The same run is killed three
times at random moments (SIGKILL) and must end with the same store. The full re-tag is the same clips through the same
store by one node's desk and one decoder on one core, broker apart.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from rich.progress import track
from sqlalchemy import text

from benchmarks.report import Bar, check, table, write
from models.topics.calibration import load_calibration
from models.topics.tagger import TopicsTagger
from scripts import demo_media
from store.artifacts import ArtifactStore
from store.schema import Base
from store.store import Selection, Started, Store
from tasks.contract import TagUpload
from tasks.job import Desk, sound_use_rows, tag_rows
from tasks.kept import FRAMES_ONLY, evidence_of, names_for
from tasks.leases import LeaseKeeper
from tasks.pipeline import Analysis, Parts, analyse
from tasks.retag import Heads, Retagger, refusal
from tasks.sound_library import SoundLibrary
from workers.build import build_models, build_parts
from workers.scratch import NodeScratch
from workers.settings import Settings

UPLOADS = 2000
DEMO_CLIPS = ("bikes-silent", "bikes-with-bunny-sound", "bunny-bikes-duet", "bunny-original", "cat", "photo-slideshow")
MIN_RATE = 200.0
"""Uploads a second from embeddings, on one core."""
KILLS = 3
FULL_ROUNDS = 2
SEED = 11
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


def same_of_kept(analyses: list[Analysis], requests: list[dict[str, Any]], parts: Parts) -> int:
    """Sections that heads say otherwise of what is kept than of the file."""
    differ = 0
    for analysis, request in zip(analyses, requests, strict=True):
        document = analysis.document.to_json()
        for tagger in parts.taggers:
            if tagger.name in FRAMES_ONLY:
                continue
            kept = {name: analysis.artifacts[name] for name in names_for(tagger.encoders) if name in analysis.artifacts}
            encoders = {name: parts.encoders[name] for name in tagger.encoders}
            evidence = evidence_of(kept, encoders, request.get("caption", ""), request.get("hashtags", ())).evidence
            again = analysis.document.model_validate({**document, tagger.section: tagger.tag(evidence)}).to_json()
            differ += again[tagger.section] != document[tagger.section]
    return differ


def sizes(analyses: list[Analysis]) -> dict[str, float]:
    """What is kept of a minute of upload, kB: rows for heads by part, and the whole file."""
    minutes = sum(float(analysis.document.media.duration_s or 0) for analysis in analyses) / 60
    found: dict[str, float] = {}
    for analysis in analyses:
        for name, array in analysis.artifacts.items():
            part = name.split("/")[0]
            part = f"{part} of {name.split('/')[1]}" if part in ("embeddings", "scores") else part
            found[part] = found.get(part, 0.0) + np.asarray(array).nbytes / 1000
    found["all of it"] = sum(found.values())
    return {part: size / minutes for part, size in found.items()}


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
    command = [sys.executable, "-m", "benchmarks.retag", "--work", str(home), *(["--every-head"] if every_head else [])]
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


def measure(home: Path) -> dict[str, Any]:
    """Everything that the page says."""
    files = clips()
    settings = settings_of(home, sorted({file.parent for file in files}))
    scratch = NodeScratch(settings.scratch)
    parts = build_parts(settings, scratch.path)
    requests = [{"media": file.as_uri(), "caption": file.stem.replace("-", " ")} for file in files]
    analyses = [
        analyse(TagUpload(upload_id="u", **request), parts) for request in track(requests, "analysing the clips")
    ]
    if bad := [one.document.reason for one in analyses if one.document.outcome != "ok"]:
        raise SystemExit(f"a clip was not tagged: {bad}")
    store = Store.open(f"sqlite:///{home / 'tagfarm.db'}")
    fill(store, ArtifactStore((home / "artifacts").as_uri()), analyses, requests)
    heads = Heads(parts.encoders, parts.taggers)
    target = heads.target("topics")
    newer = replace(target, version="of-a-new-encoder@1", encoders={"picture": "efficientnet-lite2@next"})
    counts = store.retag_counts(Selection(stale=("topics",)), [newer])
    data: dict[str, Any] = {
        "clips": [one.document.media.duration_s for one in analyses],
        "rows": [[row.rows for row in one.encodings] for one in analyses],
        "differ": same_of_kept(analyses, requests, parts),
        "sizes_kb_a_minute": sizes(analyses),
        "stale_told": counts.stale,
        "refusal": refusal(counts, [newer]),
    }
    store.close()
    parts.close()
    scratch.close()
    archive = home / "archive.db"
    shutil.copyfile(home / "tagfarm.db", archive)
    data["from_embeddings"] = run_child(home)
    through = everything(home)
    restore(home, archive)
    draw = random.Random(SEED)
    wall = data["from_embeddings"]["wall_s"]
    data["killed_after_s"] = []
    while len(data["killed_after_s"]) < KILLS:
        moment = draw.uniform(0.0, wall / (KILLS + 1))
        if run_child(home, kill_after_s=moment) is not None:
            raise SystemExit("the run was over before it could be killed")
        data["killed_after_s"].append(moment)
    data["last_part"] = run_child(home)
    after = everything(home)
    data["tables_that_differ"] = sorted(name for name in through if through[name] != after[name])
    restore(home, archive)
    data["every_head"] = run_child(home, every_head=True)
    data["full"] = full_rate(home, files)
    return data


def restore(home: Path, archive: Path) -> None:
    """The archive as it was."""
    for name in ("tagfarm.db-wal", "tagfarm.db-shm"):
        (home / name).unlink(missing_ok=True)
    shutil.copyfile(archive, home / "tagfarm.db")


def main() -> int:
    """Measure, write the page, and with `--check` judge."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="exit 1 if a bar is missed")
    parser.add_argument("--work", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--every-head", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work is not None:
        work(options.work, options.every_head)
        return 0
    with tempfile.TemporaryDirectory(prefix="tagfarm-retag-") as folder:
        data = measure(Path(folder))
    cheap, every, full = data["from_embeddings"], data["every_head"], data["full"]
    rate = cheap["uploads"] / cheap["cpu_s"]
    seconds = sum(data["clips"]) / len(data["clips"])
    bars = [
        Bar("uploads a second of one core from embeddings", round(rate, 1), MIN_RATE, ">=", "/s", f"{UPLOADS} uploads"),
        Bar("tables that differ after three kills", len(data["tables_that_differ"]), 0, "<="),
        Bar("uploads of an old encoder told apart", data["stale_told"], UPLOADS, ">="),
        Bar("sections that differ between embeddings and file", data["differ"], 0, "<="),
    ]
    ways = [
        (name, one["uploads"] / one["cpu_s"], one["uploads"] / one["wall_s"])
        for name, one in (
            ("topics, from embeddings", cheap),
            ("all five heads that can be, from embeddings", every),
            ("full: fetch, decode, networks, heads, sounds, commit", full),
        )
    ]
    rows = np.array([sum(row) for row in data["rows"]])
    moments = ", ".join(f"{moment:.2f}" for moment in data["killed_after_s"])
    archive = f"{UPLOADS} uploads of {len(data['clips'])} clips, {seconds:.1f} s and {rows.mean():.0f} rows"
    changed = cheap["items"].get("changed", 0)
    body = (
        table(("way, one core", "uploads a second of its time", "of the wall's"), ways)
        + f"\nThe archive: {archive} of three encoders on average. Of the topics' run {changed} documents changed, and "
        f"as many events were written. Killed {moments} s after its first commit, each time gone on with; compared are "
        "all rows of all tables but for times.\n\n"
        + table(("kept of a minute of upload", "kB"), sorted(data["sizes_kb_a_minute"].items()))
        + f"\nWith a new encoder: “{data['refusal']}”\n"
    )
    page = write("retag", title="Re-tagging", command="python -m benchmarks.retag", bars=bars, data=data, body=body)
    sys.stderr.write(f"wrote {page.name}\n")
    return check(bars) if options.check else 0


if __name__ == "__main__":
    sys.exit(main())
