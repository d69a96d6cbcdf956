"""Accuracy against bytes: what is found when an index keeps less. `python -m benchmarks.sound_bytes`.

The catalogue and the questions of `benchmarks.soundid` (the first of each row), asked of indexes that keep one to all
of the pairs that each peak begins, and judged by the votes alone as well: then neither peaks nor signs are kept, and
what is believed is what has more votes than any of the strangers. About ten minutes on two cores; writes
`results/sound_bytes.md` and a plot. Needs what `benchmarks.soundid` needs.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import fields
from functools import cached_property
from typing import Any

import numpy as np
from rich.progress import track as progress

from models.soundid.fingerprint import Fingerprint
from models.soundid.index import DiskIndex
from models.soundid.matcher import BANK_POSTINGS, BANK_RANK, POSTINGS, Matcher
from models.soundid.pairs import FAN_OUT, Pairs
from models.soundid.proposals import AS_IT_IS, bank, propose
from models.soundid.view import IndexView

from . import report
from .distortions import conditions
from .plots import curves_plot
from .recordings import CATALOGUE, RATE, STRANGERS, floats, tracks
from .sound_queries import negatives, queries, to_matcher

NAME = "sound_bytes"
SECONDS = 5.0
ROWS = ("clean", "pink noise 0 dB", "babble 0 dB", "music 6 dB under speech", "phone speaker", "speed x 1.25")
ROWS += ("tempo x 0.90", "pitch +2 semitones", "whole chain")


class Thinner(Fingerprint):
    """A fingerprint of which a catalogue keeps only the first pairs that each peak begins."""

    pairs_a_peak = FAN_OUT

    @cached_property
    def _catalogue_pairs(self) -> Pairs:
        every = super()._catalogue_pairs
        begun = np.arange(len(every.anchors)) - np.searchsorted(every.anchors, every.anchors)
        kept = begun < self.pairs_a_peak
        return Pairs(every.hashes[kept], every.anchors[kept])


def thinned(sound: Fingerprint, pairs_a_peak: int) -> Fingerprint:
    """The same with so many pairs a peak."""
    made = Thinner(**{field.name: getattr(sound, field.name) for field in fields(Fingerprint)})
    object.__setattr__(made, "pairs_a_peak", pairs_a_peak)
    return made


def votes(view: IndexView, sound: Fingerprint) -> tuple[float, int]:
    """What the best alignment's votes are worth, nats, as it is or under any other playing, and of which sound."""
    strongest = sound.peaks.where(sound.peaks.ranks < BANK_RANK)
    best = propose(view, sound.peaks, AS_IT_IS, POSTINGS)[:1]
    for playing in bank():
        best += propose(view, strongest, playing, BANK_POSTINGS)[:1]
    return max(((one.gain, one.sound) for one in best), default=(0.0, -1))


_OPEN: list[Matcher] = []


def _open(folder: str) -> None:
    _OPEN.append(Matcher(DiskIndex(folder)))
    _OPEN[0].warm()


def _asked(job: tuple[int, str, int]) -> list[tuple[bool, float, bool]]:
    """Of each question of a row: found; what the best votes are worth, and whether they are the right sound's."""
    number, name, rounds = job
    view = _OPEN[0]._index.view()
    made = []
    for query in queries(tracks(CATALOGUE), conditions()[name], number, SECONDS, rounds):
        sound = Fingerprint.of(to_matcher(query.wave))
        gain, voted = votes(view, sound)
        right = voted >= 0 and view.entry(voted).sound_id == query.recording
        made.append((any(use.sound_id == query.recording for use in _OPEN[0].match(sound)), gain, right))
    return made


def _strangers(job: tuple[int, int, int]) -> tuple[int, float]:
    """Alarms, and the most that a stranger's votes are worth; every `of`-th, beginning at `part`."""
    number, part, of = job
    alarms, most = 0, 0.0
    for turn, (_, wave) in enumerate(negatives(tracks(STRANGERS, None), SECONDS, number)):
        if turn % of == part:
            sound = Fingerprint.of(to_matcher(wave))
            alarms += bool(_OPEN[0].match(sound))
            most = max(most, votes(_OPEN[0]._index.view(), sound)[0])
    return alarms, most


def measure(rounds: int, strangers: int) -> dict[str, Any]:
    """A point for each number of pairs."""
    music = tracks(CATALOGUE)
    hours = sum(map(len, music.values())) / RATE / 3600
    sounds = {name: Fingerprint.of(to_matcher(floats(wave))) for name, wave in progress(music.items(), "fingerprints")}
    numbers = list(conditions())
    points = []
    for pairs in range(1, FAN_OUT + 1):
        with tempfile.TemporaryDirectory() as folder:
            index = DiskIndex(folder)
            index.add((n, name, "song", name, thinned(one, pairs)) for n, (name, one) in enumerate(sounds.items(), 1))
            (segment,) = index.view().segments
            sizes = {
                "hashes": segment.directory.nbytes + segment.low.nbytes + segment.postings.nbytes,
                "peaks": segment.peak_times.nbytes + segment.peak_bins.nbytes,
                "signs": sum(segment.signs(number).nbytes for number in range(len(segment))),
                "bass": segment.bass.nbytes,
            }
            with ProcessPoolExecutor(2, initializer=_open, initargs=(folder,)) as pool:
                jobs = [(numbers.index(name), name, rounds) for name in ROWS]
                asked = list(progress(pool.map(_asked, jobs), f"{pairs} a peak", len(jobs)))
                others = list(pool.map(_strangers, [(strangers, part, 8) for part in range(8)]))
        highest = max(most for _, most in others)
        points.append(
            {
                "pairs": pairs,
                "mb_per_hour": {key: round(size / 1e6 / hours, 3) for key, size in sizes.items()},
                "found": {name: _share(one[0] for one in row) for name, row in zip(ROWS, asked, strict=True)},
                "by_votes": {
                    name: _share(right and gain > highest for _, gain, right in row)
                    for name, row in zip(ROWS, asked, strict=True)
                },
                "alarms": sum(alarms for alarms, _ in others),
                "most_votes": round(highest, 1),
            }
        )
    return {"rounds": rounds, "strangers": strangers, "tracks": len(music), "hours": round(hours, 2), "points": points}


def _share(values: Any) -> float:
    return float(np.mean(list(values)))


def _mean(point: dict[str, Any], key: str) -> float:
    return 100 * _share(point[key].values())


def _page(data: dict[str, Any]) -> str:
    points: Sequence[dict[str, Any]] = data["points"]
    header = ("", *(f"{point['pairs']} a peak" for point in points), *(f"{p['pairs']}, votes alone" for p in points))
    size = [point["mb_per_hour"] for point in points]
    rows: list[tuple[Any, ...]] = [
        ("hashes, MB an hour", *(one["hashes"] for one in size), *(one["hashes"] for one in size)),
        (
            "peaks, signs and bass, MB an hour",
            *(one["peaks"] + one["signs"] + one["bass"] for one in size),
            *(0 for _ in size),
        ),
    ]
    rows += [
        (name, *(100 * point["found"][name] for point in points), *(100 * point["by_votes"][name] for point in points))
        for name in ROWS
    ]
    rows.append(("**mean**", *(_mean(point, "found") for point in points), *(_mean(p, "by_votes") for p in points)))
    rows.append((f"alarms of {data['strangers']} strangers", *(p["alarms"] for p in points), *(0 for _ in points)))
    return (
        f"{data['tracks']} tracks ({data['hours']} h), {data['rounds']} questions of 5 s a row, found in %. *Votes "
        "alone*: nothing is kept but the hashes, and believed is what has more votes than any of the strangers, known "
        "from hindsight; what the matcher finds is judged at the operating point that it is shipped with.\n\n"
        + report.table(header, rows)
        + f"\n![found against bytes]({NAME}.svg)\n"
    )


def main() -> int:
    """Measure and write the report."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sound_bytes", description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--rounds", type=int, default=20, help="excerpts a row")
    parser.add_argument("--negatives", type=int, default=240, help="excerpts of strangers")
    parser.add_argument("--check", action="store_true", help="print the bars; exit 1 when one is missed")
    chosen = parser.parse_args()
    data = measure(chosen.rounds, chosen.negatives)
    whole = data["points"][-1]
    bars = [
        report.Bar("hash index as shipped", whole["mb_per_hour"]["hashes"], 2.5, "<=", unit="MB an hour"),
        report.Bar("mean of the rows as shipped", _mean(whole, "found"), 95, unit="%"),
    ]
    lines = {
        "verified": [(p["mb_per_hour"]["hashes"], _mean(p, "found")) for p in data["points"]],
        "votes alone": [(p["mb_per_hour"]["hashes"], _mean(p, "by_votes")) for p in data["points"]],
    }
    (report.RESULTS / f"{NAME}.svg").write_text(curves_plot(lines, "hashes, MB an hour", "found, %"))
    page = report.write(
        NAME,
        title="Sound identity: accuracy against bytes",
        command="python -m benchmarks.sound_bytes --check",
        bars=bars,
        data=data,
        body=_page(data),
    )
    sys.stdout.write(f"{page}\n")
    return report.check(bars) if chosen.check else 0


if __name__ == "__main__":
    sys.exit(main())
