"""What the taggers cost that came after the first release: the whole pipeline then and now, on the same clip.

    python -m benchmarks.growth            # measure, write benchmarks/results/growth.{json,md}
    python -m benchmarks.growth --check    # the same, and exit 1 if the bar is missed

The clip and the way of counting are those of `benchmarks.pipeline`; the first release's own copy of it counts there.
Then and now go in turn, each in a process of its own, so that a change of the machine's pace meets both. Reading text
and finding objects are counted apart, by leaving out their encoders; spoken language is asked only where somebody
speaks, and its cost is on the page of `benchmarks.hearing`. Needs a checkout with its history.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.progress import track

from benchmarks.report import Bar, check, table, write
from scripts import demo_media

ROOT = Path(__file__).parents[1]
FIRST = "e4aace1"
"""The commit with which the farm first ran as a whole."""
MAX_GROWTH = 1.5
TURNS, ROUNDS = 3, 5
"""Processes of each kind, and rounds in one."""
APART = ("text", "objects")
KINDS: dict[str, tuple[str, ...]] = {
    "now, without text and objects": APART,
    "now, without text": ("text",),
    "now, without objects": ("objects",),
    "now, all of it": (),
}
"""Encoders that each kind leaves out."""
DRIVER = """
import json, sys
from pathlib import Path
from benchmarks.pipeline import measure
rounds, _ = measure(Path(sys.argv[1]), int(sys.argv[2]), *json.loads(sys.argv[3]))
print(json.dumps([[one.node - one.forward, one.decoder, one.forward] for one in rounds]))
"""

Spent = list[list[float]]
"""CPU seconds of each round: the node beside its networks, the decoder, the networks' forward passes."""


def first_release(folder: Path) -> Path:
    """The first release's tree, unpacked."""
    archive = subprocess.run(["git", "archive", FIRST], cwd=ROOT, capture_output=True, check=True)
    subprocess.run(["tar", "-x", "-C", str(folder)], input=archive.stdout, check=True)
    return folder


def spent(tree: Path, clip: Path, *without: tuple[str, ...]) -> Spent:
    """What uploads of a clip cost a tree's pipeline; in a process of its own."""
    command = [sys.executable, "-c", DRIVER, str(clip), str(ROUNDS), json.dumps(without)]
    env = {**os.environ, "PYTHONPATH": str(tree)}
    done = subprocess.run(command, cwd=tree, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{tree}: {done.stderr[-2000:]}")
    made: Spent = json.loads(done.stdout.splitlines()[-1])
    return made


def main() -> int:
    """Measure, write the page, and with `--check` judge."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="exit 1 if the bar is missed")
    options = parser.parse_args()
    clip = demo_media.make(demo_media.CACHE, lambda _: None)["bunny-original"]
    rounds: dict[str, Spent] = {"first release": [], **{kind: [] for kind in KINDS}}
    with tempfile.TemporaryDirectory(prefix="tagfarm-first-") as folder:
        first = first_release(Path(folder))
        for _ in track(range(TURNS), "measuring"):
            rounds["first release"] += spent(first, clip)
            for kind, without in KINDS.items():
                rounds[kind] += spent(ROOT, clip, without)
    totals = {kind: statistics.median(map(sum, made)) for kind, made in rounds.items()}
    base, lean, whole = totals["first release"], totals["now, without text and objects"], totals["now, all of it"]
    bars = [
        Bar(
            "CPU time of an upload without text and objects, in that of the first release",
            round(lean / base, 3),
            MAX_GROWTH,
            "<=",
            "x",
        )
    ]
    rows = [
        (kind, *(statistics.median(column) for column in zip(*made, strict=True)), totals[kind], totals[kind] / base)
        for kind, made in rounds.items()
    ]
    body = (
        table(("pipeline", "node", "decoder", "forward passes", "CPU s, all", "of the first release's"), rows)
        + f"\nThe first release is `{FIRST}`. By itself, text costs {totals['now, without objects'] - lean:.3f} s of "
        f"CPU and objects {totals['now, without text'] - lean:.3f} s ({whole / base:.2f} x with both). Medians of "
        f"{TURNS * ROUNDS} rounds each, in {TURNS} processes in turn.\n"
    )
    page = write(
        "growth",
        title="What the taggers cost that came after the first release",
        command="python -m benchmarks.growth",
        bars=bars,
        data={"first": FIRST, "rounds": rounds},
        body=body,
    )
    sys.stderr.write(f"wrote {page.name}\n")
    return check(bars) if options.check else 0


if __name__ == "__main__":
    sys.exit(main())
