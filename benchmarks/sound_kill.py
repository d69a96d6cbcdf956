"""Whether a sound index survives `kill -9` at any moment: a child writes, is killed, and the index is opened and read.

`python -m benchmarks.sound_kill --folder /dev/shm` runs 100,000 cycles (by hand, half an hour) and writes
`results/sound_kill.md`; with `--most-s` and `--more`, in several goes. A folder in memory is quicker, and what a killed
process leaves is the same there. In each cycle a forked child adds, replaces, removes and compacts until it is killed
after a random time; then this process opens the folder anew, compares checksums, and compares every sound in it with
what the steps that were done must have left.
"""

from __future__ import annotations

import argparse
import mmap
import os
import random
import signal
import struct
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from rich.progress import track as progress

from models.soundid.bass import BASS_RATE, WORD
from models.soundid.bass_search import MOST_WORDS
from models.soundid.features import Peaks
from models.soundid.fingerprint import Fingerprint
from models.soundid.index import DiskIndex
from models.soundid.whitening import SIGN_RATE

from . import report
from .report import Bar, table

CYCLES = 100_000
SOUNDS = 12
"""Ids that the steps are about: the index stays small."""
LONGEST_S = 0.015
"""A child lives at most so long, s: several steps."""
FAULTS = ("broken", "neither old nor new")
NAME = "sound_kill"
STEPS = ("add", "remove", "compact")

State = dict[str, int]
"""By sound_id, the sequence number that it was added with last."""


@dataclass
class Tally:
    """What came of the cycles."""

    cycles: int = 0
    steps: int = 0
    interrupted: dict[str, int] = field(default_factory=lambda: dict.fromkeys((*STEPS, "nothing"), 0))
    """By what the child was doing when it was killed."""
    kept: int = 0
    """Interrupted steps that were done all the same: killed after the switch."""
    faults: list[str] = field(default_factory=list)
    seconds: float = 0.0


def fingerprint(seed: int, peaks: int = 60) -> Fingerprint:
    """Random peaks: cheap, and with hashes of its own."""
    rng = np.random.default_rng(seed)
    times = np.cumsum(rng.integers(3, 9, peaks)).astype(np.uint32)
    bins = rng.integers(8, 1470, peaks).astype(np.uint16)
    frames = int(times[-1]) + 1
    signs = rng.integers(0, 256, int(frames / 100 * SIGN_RATE) // 8).astype(np.uint8)
    bass = rng.integers(0, 2**64, round(frames / 100 * BASS_RATE) // WORD, dtype=np.uint64)
    return Fingerprint(Peaks(times, bins, np.zeros(peaks, np.uint8)), signs, frames, *[frames / 100] * 3, bass)


def step(number: int) -> tuple[str, list[int]]:
    """What the nth step does, and to which of the sounds."""
    rng = random.Random(number)
    kind = rng.choices(STEPS, (6, 3, 2))[0]
    return kind, rng.sample(range(SOUNDS), rng.randint(1, 3)) if kind != "compact" else []


def after(state: State, number: int) -> State:
    """What the nth step makes of this."""
    kind, sounds = step(number)
    names = [f"s_{sound}" for sound in sounds]
    if kind == "add":
        return {**state, **dict.fromkeys(names, number)}
    return {name: seq for name, seq in state.items() if name not in names}


def do(index: DiskIndex, number: int) -> None:
    """The nth step."""
    kind, sounds = step(number)
    names = [f"s_{sound}" for sound in sounds]
    if kind == "add":
        index.add((number, name, "song", name, fingerprint(number)) for name in names)
    elif kind == "remove":
        index.update((), [(number, name) for name in names])
    else:
        index.compact()


def held(index: DiskIndex) -> Iterator[tuple[str, int, bool]]:
    """Each living sound's id and sequence number, and whether peaks, signs, bass and postings are that number's own."""
    view = index.view()
    line = view.bass(MOST_WORDS)
    bass = {int(sound): line.words[a:b] for sound, (a, b) in zip(line.sounds, pairwise(line.starts), strict=True)}
    first = 0
    for segment, gone in zip(view.segments, view.gone, strict=True):
        for number in range(len(segment)):
            if number in gone:
                continue
            entry, (times, bins) = view.entry(first + number), view.peaks(first + number)
            own = fingerprint(entry.seq)
            hits = view.lookup(own.hashes)
            mine = (hits.sounds == first + number) & (hits.times == own.times[hits.rows])
            yield (
                entry.sound_id,
                entry.seq,
                np.array_equal(times, own.reference.times)
                and np.array_equal(bins, own.reference.bins)
                and np.array_equal(view.signs(first + number), own.signs)
                and np.array_equal(bass.get(first + number), own.bass)
                and len(np.unique(hits.rows[mine])) == len(own.hashes),
            )
        first += len(segment)


def cycles(folder: Path, number: int, seed: int = 1) -> Iterator[Tally]:
    """Run so many cycles; yields the same tally after each. Stops at the first fault."""
    shared = mmap.mmap(-1, 16)  # the steps begun and done, which a child leaves behind
    rng = random.Random(seed)
    tally = Tally()
    state: State = {}
    done = 0
    with tempfile.TemporaryDirectory() as scratch:
        # Imported and compiled before the first child, not in each.
        warm = DiskIndex(scratch)
        warm.add([(1, "s_0", "song", None, fingerprint(1))])
        list(held(warm))
    began = time.monotonic()
    DiskIndex(folder)
    for _ in range(number):
        shared[:16] = struct.pack("qq", done, done)
        child = os.fork()
        if child == 0:
            _write(folder, done, shared)
        time.sleep(rng.uniform(0, LONGEST_S))
        os.kill(child, signal.SIGKILL)
        status = os.waitpid(child, 0)[1]
        begun, finished = struct.unpack("qq", shared[:16])
        for at in range(done + 1, finished + 1):
            state = after(state, at)
        tally.cycles += 1
        tally.steps += finished - done
        tally.interrupted[step(begun)[0] if begun > finished else "nothing"] += 1
        fault = "" if os.WIFSIGNALED(status) else f"the child ended by itself: {status}"
        try:
            index = DiskIndex(folder)
            index.verify()
            found = {name: seq for name, seq, whole in held(index) if whole}
            living = len(index)
        except Exception as error:
            fault = fault or f"{FAULTS[0]}: {type(error).__name__}: {error}"
            found, living = {}, -1
        possible = [state, after(state, begun)] if begun > finished else [state]
        if not fault and (found not in possible or living != len(found)):
            fault = f"{FAULTS[1]}: {found}, not one of {possible}"
        if not fault and begun > finished:
            tally.kept += found == possible[1] != possible[0]
            # Whether an interrupted step was done shows only in what it left: go on from there, whichever it was.
            state = found
        done = begun
        tally.seconds = time.monotonic() - began
        if fault:
            tally.faults.append(f"cycle {tally.cycles}: {fault}")
        yield tally
        if fault:
            return


def _write(folder: Path, done: int, shared: mmap.mmap) -> None:
    """The child: one step after another until it is killed."""
    try:
        index = DiskIndex(folder)
        while True:
            done += 1
            shared[:8] = struct.pack("q", done)
            do(index, done)
            shared[8:16] = struct.pack("q", done)
    except BaseException as error:
        sys.stderr.write(f"step {done}: {type(error).__name__}: {error}\n")
    finally:
        os._exit(1)


def bars(data: dict[str, Any]) -> list[Bar]:
    """What must hold."""
    return [
        Bar("cycles of kill -9 and reopening", data["cycles"], CYCLES),
        Bar("broken, or neither old nor new", len(data["faults"]), 0, "<="),
    ]


def body(data: dict[str, Any]) -> str:
    """The page below the bars."""
    rows = [(name, count) for name, count in data["interrupted"].items()]
    faults = "".join(f"- {fault}\n" for fault in data["faults"])
    return (
        f"{data['cycles']} children were killed after 0 to {1000 * LONGEST_S:.0f} ms; before that they did "
        f"{data['steps']} steps on an index of up to {SOUNDS} sounds. After each kill the folder was opened anew, all "
        "checksums compared, and id, sequence number, peaks, signs, bass and postings of every sound held against what "
        f"the steps must have left. {data['kept']} of the interrupted steps had already switched the manifest. "
        f"{data['per_s']} cycles a second.\n\n"
        + table(("killed in", "times"), rows)
        + (f"\n{faults}" if faults else "")
    )


def main() -> int:
    """Run, and write the report."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sound_kill", description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--cycles", type=int, default=CYCLES)
    parser.add_argument("--most-s", type=float, default=float("inf"), help="stop after so long, s")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--more", action="store_true", help="add to the cycles of the last report, with another seed")
    parser.add_argument("--folder", type=Path, help="where the index is made; default: the system's temporary folder")
    parser.add_argument("--dry", action="store_true", help="write no report; exit 1 on a fault")
    chosen = parser.parse_args()
    before = report.read(NAME)["data"] if chosen.more else None
    number = chosen.cycles - before["cycles"] if before else chosen.cycles
    tally = Tally()
    with tempfile.TemporaryDirectory(dir=chosen.folder) as folder:
        runs = cycles(Path(folder), number, chosen.seed + (before["cycles"] if before else 0))
        for tally in progress(runs, total=number, description="kills", disable=chosen.dry):
            if tally.seconds > chosen.most_s:
                break
    data = {
        "cycles": tally.cycles,
        "steps": tally.steps,
        "interrupted": tally.interrupted,
        "kept": tally.kept,
        "faults": tally.faults,
        "per_s": round(tally.cycles / max(tally.seconds, 1e-9), 1),
    }
    if before:
        data |= {key: before[key] + data[key] for key in ("cycles", "steps", "kept", "faults")}
        data["interrupted"] = {key: before["interrupted"][key] + many for key, many in tally.interrupted.items()}
    made = bars(data)
    if not chosen.dry:
        command = (
            "python -m benchmarks.sound_kill"
            + " --more" * chosen.more
            + (f" --folder {chosen.folder}" if chosen.folder else "")
        )
        page = report.write(
            NAME, title="kill -9 and the sound index", command=command, bars=made, data=data, body=body(data)
        )
        sys.stdout.write(f"{page}\n")
    sys.stdout.write(f"{data}\n")
    return 1 if tally.faults else 0


if __name__ == "__main__":
    sys.exit(main())
