"""`tagfarm train`: a new head from labelled uploads."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer
from rich.table import Table

from scripts.console import counter, emit, err, fail, out, plain

if TYPE_CHECKING:
    from models.serving.head import HeadKind
    from models.training.train import Trained

Tagger = Annotated[str, typer.Argument(help="topics, events or quality.")]
Data = Annotated[Path, typer.Option("--data", help="A data set: what `tagfarm data export` wrote.")]


def train(
    tagger: Tagger,
    data: Data,
    head: Annotated[str, typer.Option(help="linear, mlp, or attention (for what shows only now and then).")] = "linear",
    only: Annotated[list[str] | None, typer.Option(help="Train this label alone; repeat. Default: all.")] = None,
    taxonomy: Annotated[
        Path | None, typer.Option(help="TOML with [[topic]] entries: names and words of topics that are new.")
    ] = None,
    seed: Annotated[int, typer.Option(help="The same seed and data give the same head.")] = 0,
    epochs: Annotated[int, typer.Option(min=1, help="At most; it ends earlier when nothing gets better.")] = 200,
    background: Annotated[
        bool, typer.Option(help="A label with hardly a judged absence takes uploads not judged for it as absent.")
    ] = True,
    resume: Annotated[bool, typer.Option("--resume", help="Go on where a killed run of the same data was.")] = False,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    registry: Annotated[Path | None, typer.Option("--out", help="Default: TAGFARM_MODELS__REGISTRY.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The version as one JSON object.")] = False,
) -> None:
    """Train a head on kept embeddings, in minutes on a CPU, and write it as a signed version.

    A new topic needs 20 labelled uploads and one command: `tagfarm train topics --data FOLDER --only hobbies/kites`.
    What the head is not trained on is said as before. `tagfarm models promote` lets the version speak.
    """
    from models.registry.taggers import BUILDERS, build_tagger
    from models.registry.versions import Registry, VersionError
    from models.serving.device import choose_device
    from models.serving.head import KINDS
    from models.training.dataset import DataSetError, read
    from models.training.fit import Plan
    from models.training.targets import TrainingError
    from models.training.train import train as train_head
    from workers.settings import settings
    from workers.versions import open_registry

    if tagger not in BUILDERS:
        fail(f"{tagger} cannot be trained; what can: {', '.join(BUILDERS)}", code=2)
    if head not in KINDS:
        fail(f"--head {head} is none of {', '.join(KINDS)}", code=2)
    try:
        found = read(data)
        if found.tagger != tagger:
            fail(f"{data} is a data set of {found.tagger}, not of {tagger}", code=2)
        extra = _extra_topics(only or found.labels, taxonomy) if tagger == "topics" else None
        target: Registry = open_registry(settings(), create_key=True)
        if registry is not None:
            target = target.at(registry)
        with counter() as bars:
            row = bars.add_task("epochs", total=epochs)

            def progress(epoch: int, epochs: int, train_loss: float, validation_loss: float, best: bool) -> None:
                told = f"epoch {epoch}: loss {train_loss:.4f}, on the validation split {validation_loss:.4f}"
                bars.update(row, completed=epoch, description=told)

            trained = train_head(
                found,
                Plan(cast("HeadKind", head), seed, epochs),
                target,
                choose_device(device),
                only=only or (),
                background=background,
                extra_topics=extra,
                resume=resume,
                progress=progress,
            )
        build_tagger(trained.version)
    except (DataSetError, TrainingError, VersionError) as error:
        fail(f"{type(error).__name__}: {error}")
    if as_json:
        emit({"version": trained.version.name, "folder": str(trained.version.folder), **trained.version.manifest})
        return
    _tell(trained)


def _extra_topics(labels: Any, path: Path | None) -> dict[str, Any] | None:
    from models.topics.extension import extension_for
    from models.topics.taxonomy import TaxonomyError, load_taxonomy

    given: list[dict[str, Any]] = []
    if path is not None:
        try:
            given = tomllib.loads(path.read_text(encoding="utf-8")).get("topic", [])
        except (OSError, tomllib.TOMLDecodeError) as error:
            fail(f"{path} cannot be read: {error}", code=2)
    try:
        return extension_for(load_taxonomy(), labels, given)
    except TaxonomyError as error:
        fail(f"the new topic does not fit the taxonomy: {error}", code=2)


def _tell(trained: Trained) -> None:
    manifest = trained.version.manifest
    for label in trained.background:
        err.print(
            f"{plain(label)}: hardly a judged absence, so uploads not judged for it are its background",
            highlight=False,
        )
    for label, why in trained.left_out.items():
        err.print(f"{plain(label)}: not trained, {why}", highlight=False)
    table = Table("label", "uploads", "AP", "F1", "ECE", "threshold", "measured on", header_style="bold", box=None)
    for label, row in manifest["metrics"]["labels"].items():
        figures = [row[key] for key in ("average_precision", "f1", "ece", "threshold")]
        told = ["-" if value is None else f"{value:.3f}" for value in figures]
        table.add_row(plain(label), f"{row['positives']} of {row['positives'] + row['negatives']}", *told, row["split"])
    out.print(table)
    fitted = trained.fitted
    out.print(f"[bold]{trained.version.name}[/], best of {fitted.epochs} epochs: {fitted.best_epoch}", highlight=False)
    name = trained.version.name
    out.print(
        f"next: tagfarm evaluate {name} --against champion --data ... ; tagfarm models promote {name} --why ...",
        highlight=False,
    )
