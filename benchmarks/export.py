"""A labelled data set of very many uploads: how long its export takes, and how much memory.

    python -m benchmarks.export            # measure, write benchmarks/results/export.{json,md}
    python -m benchmarks.export --check    # the same, and exit 1 if a bar is missed

A store is planted with 20,000 labelled uploads of 30 rows each, of which every twentieth is a near-duplicate of another
one; `tasks.export` writes the data set in a process of its own. What is measured is that process: its CPU time, and its
largest resident memory, mapped files apart, above what it had before.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from rich.progress import track
from safetensors.numpy import save
from sqlalchemy import delete, insert, select

from benchmarks.report import Bar, check, write
from models.protocol import Encoding, Evidence
from models.training import dataset
from store.artifacts import ArtifactStore
from store.schema import Base, Document, Outbox, Upload
from store.schema_labels import EncodingKept, Label
from store.store import NewLabel, Started, Store
from tasks.artifacts import FORMAT
from tasks.contract import MediaFacts, TagDocument
from tasks.export import export
from tasks.groups import alike_components
from tasks.kept import encoding_rows, evidence_arrays

UPLOADS, ROWS, WIDTH = 20_000, 30, 1280
TWIN_EVERY = 20
"""Every so manieth upload is a near-duplicate of the one before it."""
CENTRES = 600
ENCODER = "efficientnet-lite2@1"
SEED = 5
CPU_BAR_S, MEMORY_BAR_MB = 120.0, 500.0
WATCH_S = 0.05


def embeddings() -> Iterator[np.ndarray]:
    """[ROWS, WIDTH] of each upload, about as the network's: sparse, none below 0, with much in common."""
    random = np.random.default_rng(SEED)
    centres = np.maximum(random.normal(size=(CENTRES, WIDTH)) - 0.3, 0).astype(np.float32)
    mean = centres[0]
    for number in range(UPLOADS):
        if number % TWIN_EVERY == 0 or number == 0:
            pair, share = random.integers(0, CENTRES, 2), random.random(2)
            mean = share[0] * centres[pair[0]] + share[1] * centres[pair[1]] + 0.1 * random.random(WIDTH)
        elif number % TWIN_EVERY != 1:
            pair, share = random.integers(0, CENTRES, 2), random.random(2)
            mean = share[0] * centres[pair[0]] + share[1] * centres[pair[1]] + 0.5 * random.random(WIDTH)
        noise = 0.05 * random.standard_normal((ROWS, WIDTH), np.float32)
        yield np.maximum(mean + noise, 0).astype(np.float16)


def plant(home: Path) -> None:
    """One upload as a node and a person make it; all others are its rows again under their own names."""
    store, artifacts = Store.open(f"sqlite:///{home / 'tagfarm.db'}"), ArtifactStore((home / "artifacts").as_uri())
    times = np.arange(ROWS) * 0.5
    encoding = Encoding(ENCODER, times, 0.5, np.zeros((ROWS, WIDTH), np.float32), np.zeros((ROWS, 0), np.float32))
    seen = Evidence(
        15.0, np.zeros((0, 0, 0, 3), np.uint8), times, [], np.zeros(0, np.float32), encodings={"picture": encoding}
    )
    arrays = {"format": np.array([FORMAT], np.int32), **evidence_arrays(seen, False)}
    admission = store.admit("u", {"upload_id": "u", "media": "file:///u"}, "h", owner="benchmark", lease_s=600)
    assert isinstance(admission, Started)
    address = artifacts.put("u", admission.attempt_id, arrays)
    media = MediaFacts(sha256=None, duration_s=15.0)
    document = TagDocument(upload_id="u", outcome="ok", media=media, models={"topics": "t@1"})
    with store.commit(admission.attempt_id) as transaction:
        transaction.finish(document.to_json(), [], [], address, encoding_rows(seen))
    store.label("u", [NewLabel("u", "topics", "animals/cat", "add", "benchmark", taxonomy="taxonomy@1")])
    with store._database.write() as connection:
        tables: tuple[type[Base], ...] = (Upload, Document, EncodingKept, Label, Outbox)
        mine = {one: [dict(row._mapping) for row in connection.execute(select(one.__table__))] for one in tables}
        for number, rows in enumerate(track(embeddings(), "planting", UPLOADS)):
            upload_id = f"u{number:05d}"
            path = Path(str(artifacts._path(ArtifactStore.address(upload_id, 1))))
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(save({**arrays, "embeddings/picture": rows}))
            for one in tables:
                for row in mine[one]:
                    fresh = {**row, "upload_id": upload_id}
                    fresh |= {"artifact": ArtifactStore.address(upload_id, 1)} if one is Document else {}
                    fresh |= {"label_id": None} if one is Label else {}
                    fresh |= {"cursor": 10 + number * 10 + row["cursor"]} if one is Outbox else {}
                    connection.execute(insert(one), {key: value for key, value in fresh.items() if value is not None})
        connection.execute(delete(Label).where(Label.upload_id == "u"))
    store.close()


def own_kb() -> int:
    """Resident memory of this process that is no file's, kB: pages of mapped files the system takes back at will."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return int(next(line for line in lines if line.startswith("RssAnon")).split()[1])


def work(home: Path) -> None:
    """The child: the export. Prints what it took."""
    store, artifacts = Store.open(f"sqlite:///{home / 'tagfarm.db'}"), ArtifactStore((home / "artifacts").as_uri())
    alike_components(np.eye(8, WIDTH, dtype=np.float32))  # what is imported for it is no cost of the export
    before, cpu, peak, over = own_kb(), time.process_time(), [0], threading.Event()

    def watch() -> None:
        while not over.wait(WATCH_S):
            peak[0] = max(peak[0], own_kb())

    watcher = threading.Thread(target=watch)
    watcher.start()
    done = export(store, artifacts, "topics", home / "data", ENCODER, keyframes=False)
    taken = {"cpu_s": time.process_time() - cpu, "uploads": done.uploads, "groups": done.groups}
    over.set()
    watcher.join()
    taken["peak_mb"] = (peak[0] - before) / 1024
    data = dataset.read(home / "data")
    groups = {item.upload_id: item.group for item in data.items}
    twins = range(1, UPLOADS, TWIN_EVERY)
    taken["twins"] = len(twins)
    taken["twins_together"] = sum(groups[f"u{number:05d}"] == groups[f"u{number - 1:05d}"] for number in twins)
    sys.stdout.write(json.dumps(taken) + "\n")
    store.close()


def grouping() -> float:
    """CPU seconds of finding the near-duplicates alone."""
    means = np.stack([rows.astype(np.float32).mean(axis=0) for rows in track(embeddings(), "grouping", UPLOADS)])
    cpu = time.process_time()
    alike_components(means)
    return time.process_time() - cpu


def main() -> int:
    """Measure, write the page, and with `--check` judge."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="exit 1 if a bar is missed")
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child is not None:
        work(options.child)
        return 0
    with tempfile.TemporaryDirectory(prefix="tagfarm-export-") as name:
        home = Path(name)
        plant(home)
        command = [sys.executable, "-m", "benchmarks.export", "--child", name]
        data = json.loads(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout)
        data["bytes"] = sum(path.stat().st_size for path in (home / "data").iterdir() if path.is_file())
    data["grouping_cpu_s"] = grouping()
    bars = [
        Bar("CPU time of the export", round(data["cpu_s"], 1), CPU_BAR_S, "<=", " s", f"{UPLOADS} uploads"),
        Bar("memory that it takes beside what was there", round(data["peak_mb"], 1), MEMORY_BAR_MB, "<=", " MB"),
        Bar("planted near-duplicates in two groups", data["twins"] - data["twins_together"], 0, "<="),
    ]
    body = (
        f"{UPLOADS} uploads of {ROWS} rows, {data['bytes'] / 1e6:.0f} MB of data set, {data['groups']} groups. Finding "
        f"near-duplicates took {data['grouping_cpu_s']:.1f} s of the CPU time.\n"
    )
    page = write(
        "export",
        title="A data set of very many uploads",
        command="python -m benchmarks.export",
        bars=bars,
        data=data,
        body=body,
    )
    sys.stderr.write(f"wrote {page.name}\n")
    return check(bars) if options.check else 0


if __name__ == "__main__":
    sys.exit(main())
