"""`tagfarm evaluate`: a version against the champion, with a verdict by rule."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer
from rich.table import Table

from scripts.console import counter, emit, err, fail, out, plain

if TYPE_CHECKING:
    from models.registry.versions import Version
    from models.training.dataset import Split
    from models.training.evaluate import Evaluation


def evaluate(
    version: Annotated[str, typer.Argument(help="TAGGER/NUMBER, e.g. topics/3.")],
    data: Annotated[Path, typer.Option("--data", help="A data set: what `tagfarm data export` wrote.")],
    against: Annotated[
        str | None, typer.Option(help="champion, challenger, shadow, packaged, or TAGGER/NUMBER.")
    ] = None,
    split: Annotated[str, typer.Option(help="test, unless for a look at train or validation.")] = "test",
    max_loss: Annotated[
        float, typer.Option(min=0.0, help="Of F1 and average precision, that a label may lose.")
    ] = 0.01,
    output: Annotated[Path | None, typer.Option("--out", "-o", help="Default: evaluation-TAGGER-NUMBER.html.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="All figures as one JSON object.")] = False,
) -> None:
    """Judge a version on uploads that it was not trained on: one page, and a verdict.

    Exits 1 where it should not be promoted: a label with enough uploads loses more than --max-loss, or the mean F1
    falls.
    """
    from models.protocol import WeightsMissing
    from models.registry.versions import VersionError, parse_name
    from models.training.dataset import SPLITS, DataSetError, read
    from models.training.evaluate import evaluate as judge
    from models.training.judges import judge_of
    from web.evaluation import render
    from workers.settings import settings
    from workers.versions import open_registry

    if split not in SPLITS:
        fail(f"--split {split} is none of {', '.join(SPLITS)}", code=2)
    registry, weights = open_registry(settings()), settings().models.weights
    try:
        tagger, number = parse_name(version)
        found = registry.version(tagger, number) if number is not None else None
        data_set = read(data)
        if data_set.tagger != tagger:
            fail(f"{data} is a data set of {data_set.tagger}, not of {tagger}", code=2)
        if found is not None and found.manifest["encoder"] != data_set.encoder:
            fail(f"{version} is for {found.manifest['encoder']}, the data set's embeddings are of {data_set.encoder}")
        mine = judge_of(tagger, found, weights)
        if mine is None:
            fail(f"{version} cannot be judged on a data set", code=2)
        theirs = judge_of(tagger, _against(against, tagger), weights) if against is not None else None
        with counter(transient=True) as bars:
            row = bars.add_task("uploads", total=len(data_set.of(cast("Split", split))))
            result = judge(
                data_set,
                mine,
                theirs,
                split=cast("Split", split),
                background=found.manifest["data"]["background"] if found is not None else (),
                most_loss=max_loss,
                told=lambda done: bars.update(row, completed=done),
            )
    except (VersionError, DataSetError, WeightsMissing, ValueError) as error:
        fail(f"{type(error).__name__}: {error}")
    page = output or Path(f"evaluation-{version.replace('/', '-')}.html")
    page.write_text(render(result, data), encoding="utf-8")
    if as_json:
        emit({**result.to_json(), "page": str(page)})
    else:
        _tell(result, page)
    raise typer.Exit(0 if result.passes else 1)


def _against(name: str, tagger: str) -> Version | None:
    """The version that is meant; None: what tagfarm ships."""
    from models.registry.versions import PACKAGED, parse_name
    from scripts.local import open_store
    from store.aliases import ALIASES
    from workers.settings import settings
    from workers.versions import open_registry

    if name == PACKAGED:
        return None
    if name in ALIASES:
        meant = [state for state in open_store(create=True).aliases() if (state.tagger, state.alias) == (tagger, name)]
        number = meant[0].number if meant else None
        if number is None and name != "champion":
            fail(f"there is no {name} of {tagger}; set one with: tagfarm models promote {tagger}/N --as {name}")
    else:
        other, number = parse_name(name)
        if other != tagger:
            fail(f"{name} is no version of {tagger}", code=2)
    return open_registry(settings()).version(tagger, number) if number is not None else None


def _tell(result: Evaluation, page: Path) -> None:
    table = Table("label", "uploads", "AP", "F1", "95 %", "ECE", header_style="bold", box=None)
    if result.champion is not None:
        for column in ("champion F1", "change"):
            table.add_column(column)
    for row in result.labels:
        mine = row.version
        told = ["-" if value is None else f"{value:.3f}" for value in (mine.average_precision, mine.f1)]
        sure = "" if mine.f1_interval is None else f"{mine.f1_interval[0]:.2f}-{mine.f1_interval[1]:.2f}"
        ece = "-" if mine.ece is None else f"{mine.ece:.3f}"
        cells = [plain(row.label), f"{mine.positives} of {mine.positives + mine.negatives}", *told, sure, ece]
        if row.champion is not None:
            cells += ["-" if row.champion.f1 is None else f"{row.champion.f1:.3f}"]
            cells += ["-" if row.f1_change is None else f"{row.f1_change:+.3f}"]
        table.add_row(*cells)
    out.print(table)
    err.print(f"page: {page}", highlight=False)
    if result.passes:
        out.print(f"[green]{plain(result.version)} may be promoted[/]", highlight=False)
    for objection in result.objections:
        out.print(f"[red]should not be promoted:[/] {plain(objection)}", highlight=False)
