"""Nothing lost, nothing doubled, nothing let in: each bar by breaking the real part.

    python -m benchmarks.survives                 # small sizes, some minutes; each part is kept in results/survives.md
    python -m benchmarks.survives --check         # the same, and exit 1 if a bar is missed
    python -m benchmarks.survives --full          # the issue's own sizes: hours
    python -m benchmarks.survives --only kills,cut --broker rabbitmq

Parts, and what each does: `kills` (kill -9 of nodes, decoders, broker, store and beat at random moments), `cut` (the
lines from the nodes to broker and store drop everything), `mine` (a file that ends its decoder, among good ones),
`fuzz` (mutated files, see benchmarks.fuzz), `long` (a long video against a short one), `soak` (many uploads through
one node), `guards` (the tests of the fetch guard and the sandbox), `upgrade` (an old and a new node on one queue; needs
`--old COMMIT` and a checkout with its history).
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.report import Bar, check, read, table, today, write
from benchmarks.survival import FULL, PARTS, SMALL
from benchmarks.survival_media import SEED


def main() -> int:
    """Run the parts, write the page, and with `--check` judge."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="exit 1 if a bar is missed")
    parser.add_argument("--full", action="store_true", help="the long sizes")
    parser.add_argument("--only", default=",".join(PARTS), help="parts, by comma")
    parser.add_argument("--broker", choices=["valkey", "rabbitmq", "both"], default="valkey")
    parser.add_argument("--seed", type=int, default=SEED, help="of the kills")
    parser.add_argument("--old", help="the commit that the old node of `upgrade` runs")
    parser.add_argument("--keep", type=Path, help="where fuzzed files go that ended a decoder")
    parser.add_argument("--name", default="survives", help="of the page")
    options = parser.parse_args()
    chosen = options.only.split(",")
    if unknown := sorted(set(chosen) - set(PARTS)):
        parser.error(f"no such part: {', '.join(unknown)}; there are {', '.join(PARTS)}")
    sizes = FULL if options.full else SMALL
    brokers = ["valkey", "rabbitmq"] if options.broker == "both" else [options.broker]
    now: list[Bar] = []
    for name in chosen:
        for broker in brokers if name in ("kills", "cut") else brokers[:1]:
            options.broker = broker
            sys.stderr.write(f"{name}: {str(PARTS[name].__doc__).lower()}\n")
            started = time.monotonic()
            bars, found = PARTS[name](sizes, options)
            now += bars
            key = f"{name} on {broker}" if name in ("kills", "cut") else name
            _keep(
                options.name,
                f"{key}, full size" if options.full else key,
                _command(name, options),
                started,
                bars,
                found,
            )
    return check(now) if options.check else 0


def _command(name: str, options: argparse.Namespace) -> str:
    words = ["python -m benchmarks.survives", "--full" * options.full, f"--only {name}"]
    words.append(f"--broker {options.broker}" if name in ("kills", "cut") else "")
    words.append(f"--old {options.old}" if name == "upgrade" and options.old else "")
    return " ".join(word for word in words if word)


def _keep(page: str, part: str, command: str, started: float, bars: Sequence[Bar], found: Mapping[str, Any]) -> None:
    """Write what one part found beside what the others found before: the long ones take hours, each by itself."""
    try:
        data: dict[str, Any] = {part: one for part, one in read(page)["data"].items() if "command" in one}
    except FileNotFoundError:
        data = {}
    kept = [{"name": b.name, "value": b.value, "bar": b.bar, "sense": b.sense} for b in bars]
    took = round(time.monotonic() - started, 1)
    data[part] = {"date": today(), "command": command, "took_s": took, "bars": kept, "found": dict(found)}
    data = dict(sorted(data.items()))
    rows = [(key, one["date"], f"`{one['command']}`", one["took_s"], _shown(one["found"])) for key, one in data.items()]
    write(
        page,
        title="What the farm survives",
        command="python -m benchmarks.survives",
        bars=[Bar(**bar) for one in data.values() for bar in one["bars"]],
        data=data,
        body="The date above is of the last part that was run; each has its own.\n\n"
        + table(("part", "date", "command", "s", "what was found"), rows),
    )


def _shown(found: Mapping[str, Any]) -> str:
    short = {key: value for key, value in found.items() if key not in ("outcomes", "deaths", "kinds")}
    return ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in short.items())


if __name__ == "__main__":
    sys.exit(main())
