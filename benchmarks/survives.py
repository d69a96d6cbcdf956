"""Nothing lost, nothing doubled, nothing let in: each bar by breaking the real part.

    python -m benchmarks.survives                 # small sizes, some minutes; writes results/survives.{json,md}
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
from pathlib import Path
from typing import Any

from benchmarks.report import Bar, check, table, write
from benchmarks.survival import FULL, PARTS, SEED, SMALL


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
    bars: list[Bar] = []
    data: dict[str, Any] = {}
    for name in chosen:
        for broker in brokers if name in ("kills", "cut") else brokers[:1]:
            options.broker = broker
            sys.stderr.write(f"{name}: {str(PARTS[name].__doc__).lower()}\n")
            started = time.monotonic()
            part_bars, found = PARTS[name](sizes, options)
            bars += part_bars
            key = f"{name} on {broker}" if name in ("kills", "cut") else name
            data[key] = {**found, "took_s": round(time.monotonic() - started, 1)}
    flags = [
        flag for flag, on in (("--full", options.full), (f"--only {options.only}", len(chosen) < len(PARTS))) if on
    ]
    flags += [f"--old {options.old}"] * (options.old is not None)
    flags += ["--broker both"] if len(brokers) > 1 else [f"--broker {brokers[0]}"]
    rows = [(key, found["took_s"], _shown(found)) for key, found in data.items()]
    page = write(
        options.name,
        title="What the farm survives",
        command=" ".join(["python -m benchmarks.survives", *flags]),
        bars=bars,
        data=data,
        body=table(("part", "s", "what was found"), rows),
    )
    sys.stderr.write(f"wrote {page.name}\n")
    return check(bars) if options.check else 0


def _shown(found: dict[str, Any]) -> str:
    short = {key: value for key, value in found.items() if key not in ("took_s", "outcomes", "deaths", "kinds")}
    return ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in short.items())


if __name__ == "__main__":
    sys.exit(main())
