"""How far the bass alone says where a sound is: among all places of a catalogue, and what strangers reach.

`python -m benchmarks.sound_bass --check` asks the questions of `benchmarks.soundid` that are played as they are, and
its strangers, by their bass alone (some five minutes on two cores), and writes `results/sound_bass.md` and a plot.
Needs what `benchmarks.soundid` needs.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import numpy as np
from rich.progress import track as progress

from models.soundid.acceptance import BASS_CHANCE, BASS_MOST, BASS_NATS
from models.soundid.bass import bass
from models.soundid.bass_search import STANDS_OUT, CountedBits, search
from models.soundid.features import HOP
from models.soundid.fingerprint import Fingerprint
from models.soundid.index import DiskIndex

from . import report
from .distortions import conditions
from .plots import curves_plot
from .recordings import CATALOGUE, RATE, STRANGERS, floats, tracks
from .report import Bar, table
from .sound_queries import negatives, queries, to_matcher

NAME = "sound_bass"
SECONDS = 5.0
ROWS = tuple(name for name, one in conditions().items() if one.speed == 1 and one.semitones == 0)
POWERS = tuple(np.arange(STANDS_OUT, 12.01, 0.5).tolist())
"""Powers of the plot."""
WHOLE = BASS_CHANCE + BASS_MOST / BASS_NATS
"""Power that is all the evidence that bass can be."""
PARTS = 16

_OPEN: list[DiskIndex] = []
_TRACKS: dict[str, Any] = {}


def _open(folder: str) -> None:
    _OPEN.append(DiskIndex(folder))
    _TRACKS.update(tracks(CATALOGUE))


def _first(wave: Any) -> tuple[str | None, float, float]:
    """The sound that stands out most and its power (None, 0: none), and CPU of the comparison, ms."""
    view, compare = _OPEN[0].view(), CountedBits()
    samples = to_matcher(wave)
    made = bass(samples)
    began = time.process_time()
    heard = search(view.bass(compare.most_words), made, 0, len(samples) / HOP, compare)
    spent = 1000 * (time.process_time() - began)
    return (view.entry(heard[0].sound).sound_id, heard[0].power, spent) if heard else (None, 0.0, spent)


def _asked(job: tuple[int, str, int]) -> list[tuple[bool, float, float]]:
    """Whether the first is right, its power, and CPU, by question."""
    number, name, rounds = job
    made = []
    for query in queries(_TRACKS, conditions()[name], number, SECONDS, rounds):
        sound, power, spent = _first(query.wave)
        made.append((sound == query.recording, power, spent))
    return made


def _strangers(job: tuple[int, int]) -> list[tuple[str, float]]:
    """Kind and greatest power of every `PARTS`-th stranger."""
    number, part = job
    asked = enumerate(negatives(tracks(STRANGERS, None), SECONDS, number))
    return [(kind, _first(wave)[1]) for turn, (kind, wave) in asked if turn % PARTS == part]


def measure(rounds: int, strangers: int) -> dict[str, Any]:
    """By row whether the first place is right and its power; the strangers' powers by kind."""
    music = tracks(CATALOGUE)
    with tempfile.TemporaryDirectory() as folder:
        index = DiskIndex(folder)
        made = ((name, Fingerprint.of(to_matcher(floats(wave)))) for name, wave in music.items())
        index.add((n, name, "song", name, one) for n, (name, one) in enumerate(progress(made, total=len(music)), 1))
        hours = sum(map(len, music.values())) / RATE / 3600
        with ProcessPoolExecutor(2, initializer=_open, initargs=(folder,)) as pool:
            jobs = [(number, name, rounds) for number, name in enumerate(conditions()) if name in ROWS]
            rows = list(progress(pool.map(_asked, jobs), "rows", len(jobs)))
            parts = list(progress(pool.map(_strangers, [(strangers, n) for n in range(PARTS)]), "strangers", PARTS))
    by_kind: dict[str, list[float]] = {}
    for kind, power in (one for part in parts for one in part):
        by_kind.setdefault(kind, []).append(round(power, 3))
    return {
        "tracks": len(music),
        "hours": round(hours, 2),
        "rounds": rounds,
        "rows": {
            job[1]: [(right, round(power, 3)) for right, power, _ in row] for job, row in zip(jobs, rows, strict=True)
        },
        "strangers": dict(sorted(by_kind.items())),
        "cpu_ms": round(float(np.median([spent for row in rows for *_, spent in row])), 1),
    }


def _lines(data: Mapping[str, Any]) -> dict[str, Sequence[tuple[float, float]]]:
    """Share that reaches each power, of the questions whose first place is right and of strangers."""
    right = [power for row in data["rows"].values() for one, power in row if one]
    asked = sum(map(len, data["rows"].values()))
    strangers = [power for kind in data["strangers"].values() for power in kind]
    return {
        "right": [(at, 100 * sum(power >= at for power in right) / asked) for at in POWERS],
        "strangers": [(at, 100 * float(np.mean(np.asarray(strangers) >= at))) for at in POWERS],
    }


def _page(data: Mapping[str, Any]) -> str:
    rows = []
    for name, row in data["rows"].items():
        found = [power for right, power in row if right]
        sure = sum(power >= WHOLE for power in found)
        wrong = sum(not right and power > 0 for right, power in row)
        size = len(row)
        rows.append((name, 100 * len(found) / size, 100 * sure / size, 100 * wrong / size))
    strangers = [
        (
            kind,
            len(powers),
            100 * float(np.mean(np.asarray(powers) > 0)),
            100 * float(np.mean(np.asarray(powers) >= BASS_CHANCE)),
            max(powers),
        )
        for kind, powers in data["strangers"].items()
    ]
    return (
        f"{data['tracks']} tracks ({data['hours']} h), {data['rounds']} questions of 5 s a row, compared by their bass "
        f"with every place: {data['cpu_ms']} ms of CPU a question. Power is in units of what one place in a thousand "
        f"words has by chance; a place stands out from {STANDS_OUT} on, and is evidence from {BASS_CHANCE} on, in full "
        f"from {WHOLE:.1f} on. Nothing is judged here: by phase it is told which of these are right.\n\n"
        + table(("condition", "first is right %", "and is evidence in full %", "first is wrong %"), rows)
        + "\n## Strangers\n\n"
        + table(("5-s excerpts", "asked", "stand out %", "are evidence %", "greatest power"), strangers)
        + f"\n![share that reaches a power]({NAME}.svg)\n"
    )


def main() -> int:
    """Measure and write the report."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sound_bass", description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--rounds", type=int, default=50, help="excerpts a row")
    parser.add_argument("--negatives", type=int, default=3000, help="excerpts of strangers")
    parser.add_argument("--check", action="store_true", help="print the bars; exit 1 when one is missed")
    chosen = parser.parse_args()
    data = measure(chosen.rounds, chosen.negatives)
    strangers = np.concatenate([np.asarray(powers) for powers in data["strangers"].values()])
    share = float(np.mean(strangers >= WHOLE))
    bars = [Bar(f"strangers whose bass is evidence in full (power {WHOLE:.1f})", round(share, 5), 0.001, "<=")]
    (report.RESULTS / f"{NAME}.svg").write_text(curves_plot(_lines(data), "power", "of all, %"))
    page = report.write(
        NAME,
        title="The bass alone",
        command="python -m benchmarks.sound_bass --check",
        bars=bars,
        data=data,
        body=_page(data),
    )
    sys.stdout.write(f"{page}\n")
    return report.check(bars) if chosen.check else 0


if __name__ == "__main__":
    sys.exit(main())
