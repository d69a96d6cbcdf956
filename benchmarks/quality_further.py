"""How well sound quality follows what is wrong, on 90 sounds that `benchmarks.quality` does not use.

`python -m benchmarks.quality_further [--check]`: music and short sounds of the corpus, damaged in the same ways at the
same levels. No curve and no weight was set on them. About ten minutes; writes `results/quality_further.md`.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import av
import numpy as np
from rich.progress import track

from .corpus import CorpusError, chosen, corpus_root, locate, pull_all, sources
from .quality import ACROSS_BAR, WITHIN_BAR, correlations
from .report import Bar, check, table, write
from .sound_faults import SOUND_FAULTS
from .sound_sources import (
    EFFECTS,
    MIN_TRACK_BYTES,
    MUSIC,
    RATE,
    SUFFIXES,
    TRACK_START_S,
    Recording,
    levelled,
    piece,
    read,
)
from .sound_trials import SoundTrial, trial_of

NAME = "quality_further"
COMMAND = "python -m benchmarks.quality_further --check"
TRACKS, MORE_TRACKS, SHORT = 10, 6, 24
"""Of each library; of one that the benchmark takes none from; and short sounds."""
MORE_MUSIC, SHORT_SOURCE = "warzone2100-music", "gcompris-qt-data"
SHORTEST_S = 2.5
WORKERS = 2


def further() -> list[Recording]:
    """All of them. Raises `CorpusError` where a source is missing."""
    found = [(path, "music", TRACK_START_S) for path in _tracks()] + [(path, "short", 0.0) for path in _shorts()]
    return [
        Recording(f"{number} {path.stem}", kind, "further", levelled(piece(read(path, start_s))))
        for number, (path, kind, start_s) in enumerate(found)
    ]


def _files(source: str, least: int = 0) -> list[Path]:
    every = sorted(locate(source).rglob("*"))
    return [path for path in every if path.suffix.lower() in SUFFIXES and path.stat().st_size > least]


def _tracks() -> Iterator[Path]:
    for source in MUSIC:
        files = _files(source, MIN_TRACK_BYTES)
        used = (len(files) // 3, 2 * len(files) // 3)
        rest = [path for number, path in enumerate(files) if number not in used]
        yield from rest[:: max(1, len(rest) // TRACKS)][:TRACKS]
    yield from _files(MORE_MUSIC, MIN_TRACK_BYTES)[:MORE_TRACKS]


def _shorts() -> Iterator[Path]:
    """In an order by chance, what is long enough and recorded at `RATE` or more."""
    used = tuple("/" + ending for _, _, ending in EFFECTS)
    files = [path for path in _files(SHORT_SOURCE) if not path.as_posix().endswith(used)]
    found = 0
    for number in np.random.default_rng(1).permutation(len(files)):
        if found == SHORT:
            return
        with av.open(str(files[number])) as source:
            rate = int(source.streams.audio[0].rate)
        if rate >= RATE and len(read(files[number], 0.0)) >= SHORTEST_S * RATE:
            found += 1
            yield files[number]


def judged(recording: Recording) -> list[SoundTrial]:
    """All levels of all faults of one sound."""
    found = []
    with tempfile.TemporaryDirectory() as folder:
        clip = Path(folder) / "clip.m4a"
        for fault, damage in SOUND_FAULTS.items():
            for level, amount in enumerate(damage.levels, 1):
                damage.write(recording.wave, amount, clip)
                found.append(trial_of(clip, recording, fault, level))
    return found


def report(trials: list[SoundTrial]) -> list[Bar]:
    """Write the page; the bars."""
    rows = {fault: correlations(trials, fault, lambda one: one.score) for fault in SOUND_FAULTS}
    counted = [fault for fault, damage in SOUND_FAULTS.items() if damage.counted]
    bars = []
    for number, (kind, least) in enumerate((("within a source", WITHIN_BAR), ("across sources", ACROSS_BAR))):
        mean = float(np.mean([rows[fault][number] for fault in counted]))
        worst = min(counted, key=lambda fault: rows[fault][number])
        bars.append(Bar(f"rank correlation {kind}, mean of {len(counted)} kinds of damage", round(mean, 3), least))
        bars.append(Bar(f"rank correlation {kind}, worst: {worst}", round(rows[worst][number], 3), least))
    body = (
        f"{len({trial.source for trial in trials})} sounds of up to 4 s, none of them in `benchmarks.quality`, whose "
        "faults, levels and figures these are. No curve and no weight was set on them; ways to do better on them were "
        "tried once, and failed on the others (docs/design/0012-quality.md).\n\n"
        + table(("damage", "within", "across"), [(fault, *row) for fault, row in rows.items()])
    )
    data: dict[str, Any] = {"rows": rows, "sounds": sorted({trial.source for trial in trials})}
    page = write(NAME, title="Sound quality on further sounds", command=COMMAND, bars=bars, data=data, body=body)
    sys.stdout.write(f"{page}\n")
    return bars


def main() -> int:
    """The command; the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.quality_further",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--check", action="store_true", help="print the bars; exit 1 when one is missed")
    parser.add_argument("--workers", type=int, default=WORKERS, help="processes")
    options = parser.parse_args()
    errors = pull_all(chosen([*MUSIC, MORE_MUSIC, SHORT_SOURCE], sources()), corpus_root())
    if errors:
        sys.stderr.write("".join(f"{error}\n" for error in errors))
        return 2
    try:
        sounds = further()
    except CorpusError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    with get_context("spawn").Pool(options.workers) as pool:
        trials = [one for some in track(pool.imap(judged, sounds), "sounds", total=len(sounds)) for one in some]
    bars = report(trials)
    return check(bars) if options.check else 0


if __name__ == "__main__":
    sys.exit(main())
