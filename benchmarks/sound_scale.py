"""Sound identity against the catalogue's size: the same questions with 247, 10,000 and 100,000 tracks known.

`python -m benchmarks.sound_scale --check` makes the catalogues (half an hour, 30 GB of disk while segments merge; kept
and used again with `--folder`), asks, and writes `results/sound_scale.md`. First:
`python -m benchmarks.corpus pull music speech`. Needs rubberband-cli and espeak-ng.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from rich.progress import track as progress

from models.soundid.bass import BASS_RATE, WORD
from models.soundid.bass_search import CountedBits, search
from models.soundid.fingerprint import Fingerprint
from models.soundid.index import DiskIndex
from models.soundid.matcher import Matcher

from . import report
from .distortions import conditions, resampled
from .recordings import CATALOGUE, TRACK_S, floats, tracks
from .report import Bar, table
from .sound_distractors import distractors
from .sound_queries import queries, to_matcher

SIZES = (10_000, 100_000)
ROWS = ("clean", "pink noise 0 dB", "babble 0 dB", "speed x 1.10", "tempo x 0.90", "pitch +1 semitones", "whole chain")
SECONDS = 5.0
VARIANTS = (0.6, 1.6)
"""Speeds that real tracks are played at to be distractors: outside of what a matcher tries against any question."""
BATCH = 4000
"""Tracks added at a time."""
BAR_CPU = 2.0
NAME = "sound_scale"


def build(folder: Path, music: Mapping[str, Any], size: int) -> DiskIndex:
    """The catalogue of so many tracks: the real ones and distractors."""
    index = DiskIndex(folder)
    if len(index) < size:
        index = DiskIndex.recreate(folder)
        real = {name: Fingerprint.of(to_matcher(floats(wave))) for name, wave in music.items()}
        index.add((n, name, "song", name, made) for n, (name, made) in enumerate(real.items(), 1))
        rest = distractors(list(real.values()), size - len(index), 5)
        parts = iter(lambda: list(islice(rest, BATCH)), [])
        for part in progress(parts, total=(size - len(index)) // BATCH, description=f"{size} tracks"):
            first = len(index) + 1
            index.add((first + n, f"distractor-{first + n}", "song", None, made) for n, made in enumerate(part))
        index.compact()
    return index


def variants(music: dict[str, Any], missing: DiskIndex) -> Iterator[tuple[int, str, str, None, Fingerprint]]:
    """Real tracks, played at other speeds, that an index has not."""
    named = [(f"{name} x {speed}", name, speed) for name in music for speed in VARIANTS]
    new = [one for one in named if one[0] not in missing]
    for number, (title, name, speed) in enumerate(progress(new, description="variants"), missing.last_seq + 1):
        yield number, title, "song", None, Fingerprint.of(to_matcher(resampled(floats(music[name]), speed)))


def questions(folder: Path, music: Mapping[str, Any], row: str, number: int) -> list[tuple[str, Fingerprint]]:
    """What is asked in a row: the track, and the excerpt's fingerprint. Kept beside the catalogues."""
    kept = folder / f"{list(conditions()).index(row)}.questions.npz"
    if not kept.is_file() or len(np.load(kept)["names"]) < number:
        asked = list(queries(music, conditions()[row], list(conditions()).index(row), SECONDS, number))
        bodies = [Fingerprint.of(to_matcher(query.wave)).to_bytes() for query in asked]
        arrays = {f"{at}": np.frombuffer(body, np.uint8) for at, body in enumerate(bodies)}
        np.savez(kept, names=np.asarray([query.recording for query in asked]), **arrays)
    with np.load(kept) as held:
        return [(str(held["names"][at]), Fingerprint.from_bytes(held[f"{at}"].tobytes())) for at in range(number)]


def measure(folder: Path, sizes: Sequence[int], asked: int, with_variants: bool) -> dict[str, Any]:
    """All figures."""
    music = tracks(CATALOGUE)
    indexes = {size: build(folder / str(size), music, size) for size in (len(music), *sizes)}
    if with_variants:
        made = list(variants(music, indexes[max(indexes)]))
        for size in sizes:
            last = indexes[size].last_seq
            indexes[size].add((last + n, *rest) for n, (_, *rest) in enumerate(made, 1))
    matchers = {size: Matcher(index) for size, index in indexes.items()}
    next(iter(matchers.values())).warm()
    rows: dict[str, dict[str, dict[str, float]]] = {}
    for row in progress(ROWS, description="questions"):
        found = dict.fromkeys(matchers, 0)
        wrong = dict.fromkeys(matchers, 0)
        spent: dict[int, list[float]] = {size: [] for size in matchers}
        for recording, fingerprint in questions(folder, music, row, asked):
            # The sizes in turn with each question: whatever else the machine does meets all of them.
            for size, matcher in matchers.items():
                began = time.process_time()
                uses = matcher.match(fingerprint)
                spent[size].append(time.process_time() - began)
                found[size] += any(use.sound_id == recording for use in uses)
                wrong[size] += sum(use.sound_id != recording for use in uses)
        rows[row] = {
            str(size): {
                "found": round(found[size] / asked, 4),
                "wrong_names": wrong[size],
                "cpu_ms": round(1000 * float(np.mean(spent[size])), 1),
                "cpu_ms_median": round(1000 * float(np.median(spent[size])), 1),
            }
            for size in matchers
        }
    compared = {}
    for size, index in indexes.items():
        made = questions(folder, music, ROWS[0], asked)
        compared[str(size)] = _bass(index, [fingerprint for _, fingerprint in made])
    return {
        "asked": asked,
        "bass": compared,
        "variants": len(VARIANTS) * len(music) if with_variants else 0,
        "sizes": {str(size): index.stats() for size, index in indexes.items()},
        "rows": rows,
    }


def _bass(index: DiskIndex, asked: Sequence[Fingerprint]) -> dict[str, float]:
    """How many hours' bass an upload's is compared with, and what that takes."""
    compare = CountedBits()
    line = index.view().bass(compare.most_words)
    spent = []
    for fingerprint in asked:
        began = time.process_time()
        search(line, fingerprint.bass, 0, fingerprint.frames, compare)
        spent.append(time.process_time() - began)
    hours = len(line.words) * WORD / BASS_RATE / 3600
    return {"hours": round(hours, 2), "cpu_ms": round(1000 * float(np.median(spent)), 1)}


def bars(data: dict[str, Any]) -> list[Bar]:
    """CPU at each size against the small one's."""
    small, *_, large = data["sizes"]
    rows = data["rows"]
    slowest = {size: max(by_size[size]["cpu_ms_median"] for by_size in rows.values()) for size in (small, large)}
    clean = rows["clean"]
    return [
        Bar(
            f"CPU a query, unmodified, {large} tracks against {small}",
            clean[large]["cpu_ms_median"] / clean[small]["cpu_ms_median"],
            BAR_CPU,
            "<=",
            "x",
        ),
        Bar(
            f"CPU a query, slowest row, {large} tracks against {small}",
            slowest[large] / slowest[small],
            BAR_CPU,
            "<=",
            "x",
        ),
    ]


def body(data: dict[str, Any]) -> str:
    """The page below the bars."""
    sizes = list(data["sizes"])
    header = ["5-s excerpts"] + [
        f"{what}, {size} tracks" for what in ("found %", "CPU ms", "wrong names") for size in sizes
    ]
    rows = [
        [row]
        + [100 * by_size[size]["found"] for size in sizes]
        + [by_size[size]["cpu_ms_median"] for size in sizes]
        + [by_size[size]["wrong_names"] for size in sizes]
        for row, by_size in data["rows"].items()
    ]
    stats = [
        (
            *(size, s["segments"], s["postings"], s["dropped"], round(s["bytes"] / 1e9, 2)),
            *(data["bass"][size]["hours"], data["bass"][size]["cpu_ms"]),
        )
        for size, s in data["sizes"].items()
    ]
    return (
        f"{data['asked']} questions a row, the same for each size, asked in turn. CPU: median of a question's process "
        f"time, its fingerprint made before. {sizes[0]} tracks are the corpus's, the first {TRACK_S:.0f} s of each. "
        f"Beside them and distractors the larger sizes hold {data['variants']} real tracks at other speeds. "
        "Distractors are real peak streams cut into pieces of 2 to 100 s, played at tempi from 0.72 to 1.38, moved by "
        "3.5 to 8 semitones the other way, so that no way of playing that is tried fits: at 100,000 tracks about 400 "
        "transposed kin of each track that is asked for. Their whitened signs and their bass are random but as long as "
        "real ones, so that verification costs what it costs. Bass is compared everywhere in what came last: "
        "not the real ones. A question that was moved by a semitone is within reach of kin that were moved by 3.5 to "
        "4: the wrong names of that row are such.\n\n"
        + table(header, rows)
        + "\n## Index\n\n"
        + table(("tracks", "segments", "postings", "dropped", "GB", "bass compared, h", "in CPU ms"), stats)
    )


def main() -> int:
    """Measure and write the report."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sound_scale", description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--folder", type=Path, help="where the catalogues are kept; default: made and thrown away")
    parser.add_argument("--asked", type=int, default=25, help="questions a row")
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, help="tracks")
    parser.add_argument("--variants", action="store_true", help="also the real tracks at other speeds")
    parser.add_argument("--check", action="store_true", help="print the bars; exit 1 when one is missed")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        data = measure(chosen.folder or Path(scratch), chosen.sizes, chosen.asked, chosen.variants)
    made = bars(data)
    page = report.write(
        NAME,
        title="Sound identity against the catalogue's size",
        command=f"python -m benchmarks.sound_scale --check --asked {chosen.asked}" + " --variants" * chosen.variants,
        bars=made,
        data=data,
        body=body(data),
    )
    sys.stdout.write(f"{page}\n")
    return report.check(made) if chosen.check else 0


if __name__ == "__main__":
    sys.exit(main())
