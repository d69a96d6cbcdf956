"""`tagfarm weights`: the pretrained networks of the packaged tier."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn, TransferSpeedColumn
from rich.table import Table

from scripts.console import emit, err, fail, out

app = typer.Typer(help="Pretrained networks: pull, list, verify.", no_args_is_help=True)
Names = Annotated[list[str] | None, typer.Argument(help="Names as `tagfarm weights list` shows them; none: all.")]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object a line.")]


@app.command()
def pull(names: Names = None, as_json: AsJson = False) -> None:
    """Fetch, check and convert weights. What is installed is not fetched again; an interrupted pull goes on."""
    from models.registry.manifest import UnknownWeights
    from models.registry.weights import WeightsError
    from models.registry.weights import pull as pull_weights
    from workers.settings import settings

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=err) as bars:
        rows: dict[str, TaskID] = {}

        def progress(name: str, done_bytes: int, total_bytes: int) -> None:
            if name not in rows:
                rows[name] = bars.add_task(name, total=total_bytes)
            bars.update(rows[name], completed=done_bytes, total=total_bytes)

        try:
            pulled = pull_weights(settings().models.weights, names, progress)
        except UnknownWeights as error:
            fail(str(error), code=2)
        except WeightsError as error:
            fail(str(error))
    for status in pulled:
        if as_json:
            emit({"name": status.entry.name, "version": status.entry.version, "state": status.state})
    if not as_json:
        err.print(f"{len(pulled)} weights in {settings().models.weights}")


@app.command("list")
def list_(as_json: AsJson = False) -> None:
    """Every set of weights: what it is for, its licence, and whether it is installed."""
    from models.registry.weights import list_weights
    from workers.settings import settings

    table = Table("name", "version", "state", "MB", "licence of the weights", "for", box=None, header_style="bold")
    for status in list_weights(settings().models.weights):
        entry = status.entry
        row = {"name": entry.name, "version": entry.version, "state": status.state, "bytes": status.bytes}
        if as_json:
            emit({**row, "licence": entry.licence_weights, "purpose": entry.purpose})
        else:
            colour = {"installed": "green", "absent": "yellow", "corrupt": "red"}[status.state]
            size = f"{status.bytes / 1e6:.1f}" if status.bytes else ""
            state = f"[{colour}]{status.state}[/]"
            table.add_row(entry.name, entry.version, state, size, entry.licence_weights, entry.purpose)
    if not as_json:
        out.print(table)


@app.command()
def verify(names: Names = None, as_json: AsJson = False) -> None:
    """Read every installed file and compare its sha256. Exits 1 if one is absent or corrupt."""
    from models.registry.manifest import UnknownWeights
    from models.registry.weights import verify as verify_weights
    from workers.settings import settings

    try:
        statuses = verify_weights(settings().models.weights, names)
    except UnknownWeights as error:
        fail(str(error), code=2)
    for status in statuses:
        if as_json:
            emit({"name": status.entry.name, "version": status.entry.version, "state": status.state})
        else:
            out.print(f"{status.entry.name} {status.entry.version}: {status.state}")
    wrong = [status.entry.name for status in statuses if status.state != "installed"]
    if wrong:
        fail(f"mend with: tagfarm weights pull {' '.join(wrong)}")
