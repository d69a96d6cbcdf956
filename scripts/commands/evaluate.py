"""`tagfarm evaluate`: a version against the champion, with a verdict by rule."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer
from rich.table import Table

from scripts.console import counter, emit, err, fail, out, plain

if TYPE_CHECKING:
    from models.registry.versions import Version
    from models.training.dataset import DataSet, Split
    from models.training.evaluate import Evaluation
    from models.training.graded_evaluation import GradedEvaluation
    from models.training.judges import Judge


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
    from models.training.graded_evaluation import GradedEvaluation, evaluate_graded
    from web.evaluation import render, render_graded
    from workers.settings import settings
    from workers.versions import open_registry

    if split not in SPLITS:
        fail(f"--split {split} is none of {', '.join(SPLITS)}", code=2)
    registry = open_registry(settings())
    try:
        tagger, number = parse_name(version)
        found = registry.version(tagger, number) if number is not None else None
        data_set = read(data)
        if data_set.tagger != tagger:
            fail(f"{data} is a data set of {data_set.tagger}, not of {tagger}", code=2)
        if found is not None and found.manifest["encoder"] != data_set.encoder:
            fail(f"{version} is for {found.manifest['encoder']}, the data set's embeddings are of {data_set.encoder}")
        other = _against(against, tagger) if against is not None else None
        data_set, mine, theirs = _judges(data_set, cast("Split", split), tagger, found, other, against is not None)
        with counter(transient=True) as bars:
            row = bars.add_task("uploads", total=len(data_set.of(cast("Split", split))))
            options: dict[str, Any] = {"split": split, "most_loss": max_loss}
            options["told"] = lambda done: bars.update(row, completed=done)
            result: Evaluation | GradedEvaluation
            if data_set.graded:
                result = evaluate_graded(data_set, mine, theirs, **options)
            else:
                options["background"] = found.manifest["data"]["background"] if found is not None else ()
                result = judge(data_set, mine, theirs, **options)
    except (VersionError, DataSetError, WeightsMissing, ValueError) as error:
        fail(f"{type(error).__name__}: {error}")
    page = output or Path(f"evaluation-{version.replace('/', '-')}.html")
    said = render_graded(result, data) if isinstance(result, GradedEvaluation) else render(result, data)
    page.write_text(said, encoding="utf-8")
    if as_json:
        emit({**result.to_json(), "page": str(page)})
    else:
        out.print(_graded(result) if isinstance(result, GradedEvaluation) else _judged(result))
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


def _judges(
    data: DataSet, split: Split, tagger: str, found: Version | None, other: Version | None, against: bool
) -> tuple[DataSet, Judge, Judge | None]:
    """Both judges, and the data set; without the uploads of which an encoder of a version's own cannot have frames."""
    from dataclasses import replace

    from models.serving.device import choose_device
    from models.training.judges import judge_of
    from scripts.fine_tuning import packaged_encoder, rows_of
    from workers.settings import settings

    weights = settings().models.weights
    versions = [found, *([other] if against else [])]
    if not any(one is not None and one.own_encoder for one in versions):
        judges: list[Judge] = [judge_of(tagger, one, weights) for one in versions]
        return data, judges[0], judges[1] if against else None
    judges, there = [], {item.upload_id for item in data.of(split)}
    with packaged_encoder(choose_device(settings().models.device)) as encoder:
        for one in versions:
            rows = rows_of(data, data.of(split), one, encoder) if one is not None and one.own_encoder else None
            judges.append(judge_of(tagger, one, weights, encoder, rows))
            there &= there if rows is None else set(rows)
    return (
        replace(data, items=tuple(item for item in data.items if item.upload_id in there)),
        judges[0],
        judges[1] if against else None,
    )


def _graded(result: GradedEvaluation) -> Table:
    table = Table("label", "uploads", "rank correlation", "95 %", "mean error", "95 %", header_style="bold", box=None)
    if result.champion is not None:
        for column in ("champion's", "its error"):
            table.add_column(column)
    for row in result.labels:
        cells = [plain(row.label), str(row.version.uploads)]
        for value, sure in (
            (row.version.rank_correlation, row.version.rank_correlation_interval),
            (row.version.mean_absolute_error, row.version.mean_absolute_error_interval),
        ):
            cells += ["-" if value is None else f"{value:.3f}", "" if sure is None else f"{sure[0]:.2f}-{sure[1]:.2f}"]
        if row.champion is not None:
            theirs = (row.champion.rank_correlation, row.champion.mean_absolute_error)
            cells += ["-" if value is None else f"{value:.3f}" for value in theirs]
        table.add_row(*cells)
    return table


def _judged(result: Evaluation) -> Table:
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
    return table


def _tell(result: Evaluation | GradedEvaluation, page: Path) -> None:
    err.print(f"page: {page}", highlight=False)
    if result.passes:
        out.print(f"[green]{plain(result.version)} may be promoted[/]", highlight=False)
    for objection in result.objections:
        out.print(f"[red]should not be promoted:[/] {plain(objection)}", highlight=False)
