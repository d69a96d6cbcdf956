"""How commands speak: one console, one way to fail, one way to print JSON."""

from __future__ import annotations

import json
import re
import sys
from typing import Any, NoReturn

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

out = Console()
err = Console(stderr=True)


_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")


def plain(text: object) -> str:
    """Text from outside, safe to print: no terminal escapes, no markup of ours."""
    return escape(_CONTROLS.sub("", str(text)))


def fail(message: str, code: int = 1) -> NoReturn:
    """Say what is wrong and what to do, and stop."""
    err.print(f"[bold red]tagfarm:[/] {plain(message)}", highlight=False)
    raise typer.Exit(code)


def emit(value: Any) -> None:
    """One JSON value on a line of its own, for machines."""
    sys.stdout.write(json.dumps(value, separators=(",", ":")) + "\n")
    sys.stdout.flush()


def counter(transient: bool = False) -> Progress:
    """A progress bar that counts things."""
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=err,
        transient=transient,
    )
