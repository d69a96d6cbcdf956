"""A fuzzer at the media entrance: mutated files of every kind through the sandboxed decoders, as an upload goes.

    python -m benchmarks.fuzz                        # a minute; writes benchmarks/results/fuzz.{json,md}
    python -m benchmarks.fuzz --seconds 36000        # a night
    python -m benchmarks.fuzz --count 20000 --check  # so many files, and exit 1 if a bar is missed

Each file is a real one of some container and codec to which one to four things were done: cut off, bits flipped,
stretches zeroed, swapped, doubled or taken from another file, and numbers that declare sizes, counts or durations made
wild anywhere in it. The same seed gives the same files. A file that ends its decoder or takes too long is kept with
`--keep FOLDER`, to be looked at.
"""

from __future__ import annotations

import argparse
import collections
import hashlib
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
from rich.progress import Progress

from benchmarks.mutations import SEED, corpus, mutated
from benchmarks.report import Bar, check, table, write
from media.pool import GRACE_S, DecoderPool
from media.types import DecoderDied, Limits, MediaError
from workers.build import OBSERVERS
from workers.settings import CPUS

SECONDS = 60.0
DEADLINE_S = 20.0
"""For one file; those here are a second long."""
MEMORY_GROWTH = 1.05
"""Resident memory of the farm's side at the end, against that after a tenth of the files."""


class Fuzz:
    """One run: files through a pool of decoders, and what came of them."""

    def __init__(self, scratch: Path, seed: int, keep: Path | None) -> None:
        self._scratch = scratch
        self._seed = seed
        self._keep = keep
        self._lock = threading.Lock()
        self.outcomes: dict[str, collections.Counter[str]] = collections.defaultdict(collections.Counter)
        self.died: list[dict[str, Any]] = []
        self.late = self.untyped = 0
        self.slowest_s = 0.0
        self.memory: list[int] = []

    def one(self, pool: DecoderPool, number: int) -> None:
        """Decode one file; count how it ended."""
        name, done, data = mutated(number, self._seed)
        folder = Path(tempfile.mkdtemp(dir=self._scratch))
        path = folder / "media"
        path.write_bytes(data)
        start = time.monotonic()
        try:
            pool.decode(path, folder)
            outcome = "decoded"
        except DecoderDied as error:
            outcome = "decoder died"
            with self._lock:
                self.died.append({"number": number, "file": name, "done": done, "how": error.how})
            self._find(number, data)
        except MediaError as error:
            outcome = error.outcome
        except Exception as error:
            outcome = f"untyped: {type(error).__name__}"
            self._find(number, data)
        took_s = time.monotonic() - start
        _remove(folder)
        with self._lock:
            self.outcomes[name.split("/")[0]][outcome] += 1
            self.untyped += outcome.startswith("untyped")
            self.slowest_s = max(self.slowest_s, took_s)
            if took_s > DEADLINE_S + GRACE_S:
                self.late += 1
                self._find(number, data)

    def _find(self, number: int, data: bytes) -> None:
        if self._keep is not None:
            self._keep.mkdir(parents=True, exist_ok=True)
            (self._keep / f"{number}-{hashlib.sha256(data).hexdigest()[:12]}").write_bytes(data)


def _remove(folder: Path) -> None:
    import shutil

    shutil.rmtree(folder, ignore_errors=True)


def resident() -> int:
    """Memory of this process and its warm decoders, as each would have it alone, bytes."""
    processes = [psutil.Process(), *psutil.Process().children(recursive=True)]
    total = 0
    for process in processes:
        try:
            total += process.memory_info().rss
        except psutil.Error:
            continue
    return total


def run(seconds: float, count: int | None, seed: int, keep: Path | None, decoders: int = CPUS) -> dict[str, Any]:
    """Fuzz for so long, or so many files; plain values for the report."""
    corpus()
    limits = Limits(deadline_s=DEADLINE_S, memory_bytes=1 << 30, max_duration_s=3600.0)
    with tempfile.TemporaryDirectory(prefix="tagfarm-fuzz-") as home:
        scratch = Path(home)
        fuzz = Fuzz(scratch, seed, keep)
        with DecoderPool(decoders, limits, OBSERVERS, scratch) as pool, ThreadPoolExecutor(decoders) as threads:
            fuzz.one(pool, 0)
            warm = {process.pid for process in psutil.Process().children(recursive=True)}
            done = _drive(fuzz, pool, threads, seconds, count)
            ended = _memory_when_idle()
            still = {process.pid for process in psutil.Process().children(recursive=True)}
        left = list(scratch.rglob("*"))
    samples = fuzz.memory or [ended]
    return {
        "files": done,
        "seed": seed,
        "kinds": sorted(corpus()),
        "outcomes": {kind: dict(sorted(counted.items())) for kind, counted in sorted(fuzz.outcomes.items())},
        "decoders_died": len(fuzz.died),
        "deaths": fuzz.died[:50],
        "late": fuzz.late,
        "untyped": fuzz.untyped,
        "slowest_s": round(fuzz.slowest_s, 2),
        "left_in_scratch": len(left),
        "memory_after_a_tenth_mib": samples[0] >> 20,
        "memory_at_end_mib": ended >> 20,
        "memory_growth": round(ended / samples[0], 3),
        "warm_decoders_kept": len(warm & still),
    }


def _memory_when_idle() -> int:
    time.sleep(0.5)
    return resident()


def _drive(fuzz: Fuzz, pool: DecoderPool, threads: ThreadPoolExecutor, seconds: float, count: int | None) -> int:
    """Keep every decoder busy in rounds; returns how many files there were. Memory is looked at between rounds."""
    end = time.monotonic() + seconds
    done, size = 1, 50
    started = time.monotonic()
    with Progress() as bars:
        row = bars.add_task("fuzzing", total=count or seconds)
        while done < count if count else time.monotonic() < end:
            block = range(done, min(done + size, count) if count else done + size)
            list(threads.map(lambda number: fuzz.one(pool, number), block))
            done = block.stop
            part = done / count if count else (time.monotonic() - started) / seconds
            if part >= 0.1:
                fuzz.memory.append(_memory_when_idle())
            bars.update(row, completed=done if count else time.monotonic() - started)
    return done


def bars_of(result: dict[str, Any]) -> list[Bar]:
    """What must hold."""
    return [
        Bar("decoders' deaths", result["decoders_died"], 0, "<="),
        Bar("files that took longer than the deadline", result["late"], 0, "<="),
        Bar("files without a typed outcome", result["untyped"], 0, "<="),
        Bar("files left in scratch", result["left_in_scratch"], 0, "<="),
        Bar("memory at the end against that after a tenth", result["memory_growth"], MEMORY_GROWTH, "<="),
    ]


def rows_of(result: dict[str, Any]) -> tuple[tuple[str, ...], Iterator[tuple[Any, ...]]]:
    """The outcomes as a table."""
    names = sorted({name for counted in result["outcomes"].values() for name in counted})
    rows = (
        (kind, sum(counted.values()), *(counted.get(name, 0) for name in names))
        for kind, counted in result["outcomes"].items()
    )
    return ("container", "files", *names), rows


def main() -> int:
    """Run, write the page, and with `--check` judge."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="exit 1 if a bar is missed")
    parser.add_argument("--seconds", type=float, default=SECONDS)
    parser.add_argument("--count", type=int, help="so many files, however long it takes")
    parser.add_argument("--seed", type=int, default=SEED, help="another seed, other files")
    parser.add_argument("--keep", type=Path, help="where files go that ended a decoder, or took too long")
    options = parser.parse_args()
    result = run(options.seconds, options.count, options.seed, options.keep)
    bars = bars_of(result)
    asked = f" --count {options.count}" if options.count else f" --seconds {options.seconds:g}"
    page = write(
        "fuzz",
        title="Mutated files through the sandboxed decoders",
        command=f"python -m benchmarks.fuzz{asked}",
        bars=bars,
        data=result,
        body=f"{result['files']} files; the slowest took {result['slowest_s']} s.\n\n{table(*rows_of(result))}",
    )
    sys.stderr.write(f"wrote {page.name}\n")
    return check(bars) if options.check else 0


if __name__ == "__main__":
    sys.exit(main())
