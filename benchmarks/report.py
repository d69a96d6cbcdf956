"""What every benchmark's report has in common: the machine, the date, the bars, and the two files it writes.

`write` leaves `results/NAME.json` (for programs and for the next run's comparison) and `results/NAME.md` (for people).
Both are byte-for-byte the same on the same machine, code and day; `SOURCE_DATE_EPOCH` pins the day, as
https://reproducible-builds.org/docs/source-date-epoch/ has it.
"""

from __future__ import annotations

import json
import math
import os
import platform
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

RESULTS = Path(__file__).parent / "results"
LIBRARIES = ("torch", "torchvision", "av", "numpy", "librosa", "opencv-python-headless")
"""Whose versions can move a figure."""


@dataclass(frozen=True)
class Bar:
    """One figure and what it must reach."""

    name: str
    value: float | None
    """None: could not be measured. Never met."""
    bar: float
    sense: Literal[">=", "<="] = ">="
    unit: str = ""
    note: str = ""

    @property
    def met(self) -> bool:
        """Whether the figure reaches the bar. Not-a-number never does."""
        if self.value is None:
            return False
        return self.value >= self.bar if self.sense == ">=" else self.value <= self.bar

    def row(self) -> tuple[str, str, str, str]:
        """Name, figure, bar, verdict: as text."""
        unit = f" {self.unit}" if self.unit else ""
        value = "not measured" if self.value is None else f"{figure(self.value)}{unit}"
        name = f"{self.name} ({self.note})" if self.note else self.name
        return name, value, f"{self.sense} {figure(self.bar)}{unit}", "met" if self.met else "MISSED"


def figure(value: float) -> str:
    """A number as a person reads it: three significant digits, whole numbers whole."""
    if math.isfinite(value) and value == int(value) and abs(value) < 1e6:
        return str(int(value))
    return f"{value:.3f}" if abs(value) < 10 else f"{value:.1f}"


def machine() -> dict[str, Any]:
    """What the figures were measured on. Holds no host name and no path."""
    return {
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),
        "memory_gib": _memory_gib(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "libraries": {name: found for name in LIBRARIES if (found := _version(name))},
    }


def today() -> str:
    """The report's date, UTC, ISO 8601; `SOURCE_DATE_EPOCH` overrides it."""
    epoch = os.environ.get("SOURCE_DATE_EPOCH")
    moment = datetime.fromtimestamp(int(epoch), UTC) if epoch else datetime.now(UTC)
    return moment.date().isoformat()


def table(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """A Markdown table. Numbers go through `figure`; None is an en dash."""
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    lines += ["| " + " | ".join(_cell(value) for value in row) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def bars_table(bars: Sequence[Bar]) -> str:
    """The bars as a Markdown table."""
    return table(("what", "figure", "bar", "verdict"), [bar.row() for bar in bars])


def write(
    name: str,
    *,
    title: str,
    command: str,
    bars: Sequence[Bar],
    data: Mapping[str, Any],
    body: str,
    folder: Path = RESULTS,
) -> Path:
    """Write `NAME.json` and `NAME.md` and return the latter.

    Args:
        name: file stem, also the benchmark's name.
        title: first line of the page.
        command: what a person types to get the same page.
        bars: shown first.
        data: everything measured, plain JSON values; kept under `data`.
        body: Markdown after the bars.
        folder: where to write; made when missing.
    """
    folder.mkdir(parents=True, exist_ok=True)
    facts, date = machine(), today()
    document = {
        "benchmark": name,
        "command": command,
        "date": date,
        "machine": facts,
        "bars": [
            {"name": b.name, "value": b.value, "bar": b.bar, "sense": b.sense, "unit": b.unit, "met": b.met}
            for b in bars
        ],
        "data": data,
    }
    text = json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False)
    (folder / f"{name}.json").write_text(text + "\n", encoding="utf-8")
    libraries = ", ".join(f"{key} {value}" for key, value in facts["libraries"].items())
    page = folder / f"{name}.md"
    page.write_text(
        f"# {title}\n\n`{command}`, {date}. {facts['cpu']}, {facts['cores']} cores, {facts['memory_gib']} GiB; "
        f"Python {facts['python']}; {libraries}.\n\n{bars_table(bars)}\n{body.strip()}\n",
        encoding="utf-8",
    )
    return page


def bars_of(name: str, folder: Path = RESULTS) -> list[Bar]:
    """The bars of a benchmark's committed results, with their date as the note."""
    page = read(name, folder)
    keys = ("name", "value", "bar", "sense", "unit")
    return [Bar(**{key: bar[key] for key in keys}, note=page["date"]) for bar in page["bars"]]


def read(name: str, folder: Path = RESULTS) -> dict[str, Any]:
    """The committed results of a benchmark."""
    document: dict[str, Any] = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
    return document


def check(bars: Sequence[Bar]) -> int:
    """Print a row per bar; the exit status: 0 when there are bars and all are met, else 1."""
    rows = [bar.row() for bar in bars]
    widths = [max((len(row[column]) for row in rows), default=0) for column in range(4)]
    for row in rows:
        sys.stdout.write("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() + "\n")
    return 0 if bars and all(bar.met for bar in bars) else 1


def _cell(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, float):
        return figure(value)
    return str(value).replace("|", "\\|").replace("\n", " ")


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    return next(
        (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.processor()
    )


def _memory_gib() -> int | None:
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1024**3)
    except (ValueError, OSError):
        return None
