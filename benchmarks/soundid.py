"""How well sounds are recognised: real music as a catalogue, excerpts as platforms treat them, and strangers.

`python -m benchmarks.soundid [--check] [--peer NAME=PATH]...` measures and writes `results/soundid.md` (about half an
hour on two cores; other systems, see `sound_peers`, take a quarter more each). First:
`python -m benchmarks.corpus pull music music-strangers music-twins speech effects`. Needs espeak-ng and rubberband-cli.
All questions come from one seed. One operating point: the one that the matcher is shipped with.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, Literal

from rich.progress import track as progress

from models.soundid.fingerprint import Fingerprint
from models.soundid.index import DiskIndex

from . import report
from .distortions import conditions
from .recordings import CATALOGUE, RATE, effects, floats, tracks
from .sound_asked import (
    Alarmed,
    alarms,
    cost,
    effect_row,
    effects_over_music,
    in_turn,
    near_duplicates,
    open_index,
    row,
)
from .sound_beside import side_by_side
from .sound_effects import effect_conditions
from .sound_page import bars, body
from .sound_peers import open_peers
from .sound_queries import MATCHER_RATE, to_matcher

Kind = Literal["song", "effect"]
NAME = "soundid"
EFFECT_ROUNDS = 4
"""Questions about each effect in each row."""
SPEED_TRACKS = 6
"""Every how many tracks are indexed again to tell how fast that is."""
COST_ROUNDS = 20
"""Questions of a row whose cost is measured, one at a time: two threads of one core slow each other down."""


def measure(rounds: int, strangers: int) -> dict[str, Any]:
    """All figures of tagfarm."""
    music = tracks(CATALOGUE)
    hours = sum(map(len, music.values())) / RATE / 3600
    with tempfile.TemporaryDirectory() as folder:
        sounds = effects()
        sizes = _indexed(folder, music, sounds)
        asked = _ask(folder, rounds, strangers)
    return {
        "tracks": len(music),
        "effects": len(sounds),
        "hours": round(hours, 3),
        "index_speed": _index_speed(music),
        "mb_per_hour": {name: round(size / 1e6 / hours, 3) for name, size in sizes.items()},
        **asked,
    }


def costs_again(data: Mapping[str, Any]) -> dict[str, Any]:
    """All figures as they were, but for what it costs."""
    music = tracks(CATALOGUE)
    with tempfile.TemporaryDirectory() as folder:
        _indexed(folder, music, effects())
        return {**data, "costs": _costs(folder), "index_speed": _index_speed(music)}


def _indexed(folder: str, music: Mapping[str, Any], sounds: Mapping[str, Any]) -> dict[str, int]:
    """Index all of it; the bytes that the music takes, by what they are for."""
    index = DiskIndex(folder)
    index.add(_made(music, "song", 1))
    sizes = _sizes(index)
    index.add(_made(sounds, "effect", len(music) + 1))
    return sizes


def _made(waves: Mapping[str, Any], kind: Kind, first: int) -> Iterator[tuple[int, str, Kind, str, Fingerprint]]:
    for number, (name, wave) in enumerate(waves.items(), first):
        yield number, name, kind, name, Fingerprint.of(to_matcher(floats(wave)))


def _index_speed(music: Mapping[str, Any]) -> float:
    """Seconds of sound that a second of CPU fingerprints and adds to an index, by some tracks, with nothing else at
    work."""
    waves = {name: to_matcher(floats(wave)) for name, wave in list(music.items())[::SPEED_TRACKS]}
    with tempfile.TemporaryDirectory() as folder:
        index = DiskIndex(folder)
        began = time.process_time()
        made = [(n, name, "song", name, Fingerprint.of(wave)) for n, (name, wave) in enumerate(waves.items(), 1)]
        index.add(made)
        spent = time.process_time() - began
    return round(sum(map(len, waves.values())) / MATCHER_RATE / spent, 1)


def _ask(folder: str, rounds: int, strangers: int) -> dict[str, Any]:
    """All questions, two at a time."""
    jobs = [(n, name, seconds, rounds) for seconds in (5.0, 10.0) for n, name in enumerate(conditions())]
    parts = [(5.0, strangers, part, 16) for part in range(16)]
    short = [(n, name, EFFECT_ROUNDS) for n, name in enumerate(effect_conditions())]
    with ProcessPoolExecutor(2, initializer=open_index, initargs=(folder,)) as pool:
        rows = list(progress(pool.map(row, jobs), total=len(jobs), description="rows"))
        alarmed = list(progress(pool.map(alarms, parts), total=len(parts), description="strangers"))
        shorts = list(progress(pool.map(effect_row, short), total=len(short), description="effects"))
        turns, twin, over = (
            pool.submit(in_turn, 50),
            pool.submit(near_duplicates, 50),
            pool.submit(effects_over_music, 1),
        )
        made = {
            "rows": {
                str(int(seconds)): {job[1]: made for job, made in zip(jobs, rows, strict=True) if job[2] == seconds}
                for seconds in (5.0, 10.0)
            },
            "strangers": _by_kind(alarmed),
            "effect_rows": {name: made for (_, name, _), made in zip(short, shorts, strict=True)},
            "in_turn": turns.result(),
            "twins": twin.result(),
            "over_music": over.result(),
        }
    return {**made, "costs": _costs(folder)}


def _costs(folder: str) -> dict[str, float]:
    """CPU a question of 5 s, ms, by row, with nothing else at work, of a process that has answered others before."""
    jobs = [(n, name, 5.0, COST_ROUNDS) for n, name in enumerate(conditions())]
    others = (len(jobs), jobs[0][1], 5.0, COST_ROUNDS)
    with ProcessPoolExecutor(1, initializer=open_index, initargs=(folder,)) as pool:
        pool.submit(cost, others).result()
        made = dict(progress(pool.map(cost, jobs), total=len(jobs) + 1, description="costs"))
        strangers = pool.submit(alarms, (5.0, 6 * COST_ROUNDS, 0, 1)).result()
    return {**made, "strangers": max(1000 * one.cpu_s / one.asked for one in strangers.values())}


def _by_kind(parts: Sequence[dict[str, Alarmed]]) -> dict[str, dict[str, Any]]:
    """Alarms, questions, CPU and scores by kind of stranger."""
    made = {}
    for kind in sorted({kind for part in parts for kind in part}):
        some = [part[kind] for part in parts if kind in part]
        asked = sum(one.asked for one in some)
        made[kind] = {
            "alarms": sum(one.alarms for one in some),
            "asked": asked,
            "cpu_ms": round(1000 * sum(one.cpu_s for one in some) / asked, 1),
            "scores": [score for one in some for score in one.scores],
        }
    return made


def _sizes(index: DiskIndex) -> dict[str, int]:
    """Bytes of the index by what they are for."""
    hashes = peaks = signs = bass = 0
    for segment in index.view().segments:
        hashes += segment.directory.nbytes + segment.low.nbytes + segment.postings.nbytes
        peaks += segment.peak_times.nbytes + segment.peak_bins.nbytes
        signs += sum(segment.signs(number).nbytes for number in range(len(segment)))
        bass += segment.bass.nbytes
    return {"hashes": hashes, "peaks": peaks, "signs": signs, "bass": bass}


def main() -> int:
    """Measure and write the report."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soundid", description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--rounds", type=int, default=50, help="excerpts a row")
    parser.add_argument("--negatives", type=int, default=3000, help="excerpts of strangers")
    parser.add_argument("--peer", action="append", default=[], metavar="NAME=PATH", help="a system to ask as well")
    parser.add_argument("--peer-rounds", type=int, default=20, help="excerpts a row that others are asked")
    parser.add_argument("--peers-only", action="store_true", help="keep tagfarm's own figures of the last run")
    parser.add_argument("--costs-only", action="store_true", help="measure CPU times again, and nothing else")
    parser.add_argument("--check", action="store_true", help="print the bars; exit 1 when one is missed")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        try:
            peers = open_peers(chosen.peer, Path(scratch))
        except ValueError as error:
            parser.error(str(error))
        if chosen.costs_only:
            data = costs_again(report.read(NAME)["data"])
        else:
            before = report.read(NAME)["data"]
            data = before if chosen.peers_only else measure(chosen.rounds, chosen.negatives)
            # The table of others says when it was made, and stands until it is made again.
            data.update({"peers": before["peers"]} if "peers" in before else {})
        command = "python -m benchmarks.soundid --check"
        made = _written(data, command)
        if peers:
            asked = command + "".join(f" --peer {peer.name}=..." for peer in peers)
            said = f"{report.today()}, `{asked}{' --peers-only' * chosen.peers_only}`"
            data["peers"] = {"said": said, "systems": side_by_side(peers, chosen.peer_rounds, Path(scratch))}
            _written(data, command)
    return report.check(made) if chosen.check else 0


def _written(data: dict[str, Any], command: str) -> list[report.Bar]:
    made = bars(data)
    page = report.write(NAME, title="Sound identity", command=command, bars=made, data=data, body=body(data))
    sys.stdout.write(f"{page}\n")
    return made


if __name__ == "__main__":
    sys.exit(main())
