"""`tagfarm train`: a new head from labelled uploads."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer
from rich.table import Table

from scripts.console import counter, emit, err, fail, out, plain

if TYPE_CHECKING:
    import torch
    from rich.progress import Progress, TaskID

    from models.registry.versions import Registry
    from models.serving.head import HeadKind
    from models.training.dataset import DataSet
    from models.training.fit import Plan
    from models.training.train import Trained
    from models.training.tune import TuningPlan

TUNED = ("topics", "quality")
"""Taggers that read the picture encoder."""

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
    fine_tune: Annotated[
        int | None,
        typer.Option(
            "--fine-tune",
            min=1,
            max=8,
            metavar="BLOCKS",
            help="Also train so many of the picture encoder's last blocks. Decodes the data set's uploads again.",
        ),
    ] = None,
    tune_epochs: Annotated[int, typer.Option(min=1, help="With --fine-tune: epochs of the blocks at most.")] = 15,
    resume: Annotated[bool, typer.Option("--resume", help="Go on where a killed run of the same data was.")] = False,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    registry: Annotated[Path | None, typer.Option("--out", help="Default: TAGFARM_MODELS__REGISTRY.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The version as one JSON object.")] = False,
) -> None:
    """Train a head on kept embeddings, in minutes on a CPU, and write it as a signed version.

    A new topic needs 20 labelled uploads and one command: `tagfarm train topics --data FOLDER --only hobbies/kites`.
    What the head is not trained on is said as before. `tagfarm models promote` lets the version speak.

    With --fine-tune 2 the version has an encoder of its own, which runs beside the packaged one. Its embeddings are not
    kept of old uploads: once it is promoted, `tagfarm retag --stale topics` decodes them again.
    """
    from models.protocol import WeightsMissing
    from models.registry.taggers import BUILDERS
    from models.registry.versions import VersionError
    from models.serving.device import choose_device
    from models.serving.head import KINDS
    from models.training.dataset import DataSetError, read
    from models.training.fit import Plan
    from models.training.targets import TrainingError
    from models.training.train import train as train_head
    from models.training.tune import TuningPlan
    from workers.settings import settings
    from workers.versions import check_version, open_registry

    if tagger not in BUILDERS:
        fail(f"{tagger} cannot be trained; what can: {', '.join(BUILDERS)}", code=2)
    if fine_tune is not None and tagger not in TUNED:
        fail(f"--fine-tune is for {', '.join(TUNED)}: they read the picture encoder, {tagger} does not", code=2)
    if head not in KINDS:
        fail(f"--head {head} is none of {', '.join(KINDS)}", code=2)
    try:
        found = read(data)
        if found.tagger != tagger:
            fail(f"{data} is a data set of {found.tagger}, not of {tagger}", code=2)
        extra = _extra_topics(only or found.labels, taxonomy) if tagger == "topics" else None
        target = open_registry(settings(), create_key=True)
        if registry is not None:
            target = target.at(registry)
        with counter() as bars:
            row = bars.add_task("epochs", total=epochs)

            def progress(epoch: int, epochs: int, train_loss: float, validation_loss: float, best: bool) -> None:
                told = f"epoch {epoch}: loss {train_loss:.4f}, on the validation split {validation_loss:.4f}"
                bars.update(row, completed=epoch, total=epochs, description=told)

            plan = Plan(cast("HeadKind", head), seed, epochs)
            options: dict[str, Any] = {"only": only or (), "background": background, "extra_topics": extra}
            options |= {"resume": resume, "progress": progress}
            if fine_tune is None:
                trained = train_head(found, plan, target, choose_device(device), **options)
            else:
                bars.update(row, visible=False)
                tuning = TuningPlan(fine_tune, tune_epochs, seed)
                trained = _fine_tune(found, plan, tuning, target, choose_device(device), options, bars, row)
        check_version(settings(), trained.version)
    except (DataSetError, TrainingError, VersionError, WeightsMissing) as error:
        fail(f"{type(error).__name__}: {error}")
    if as_json:
        emit({"version": trained.version.name, "folder": str(trained.version.folder), **trained.version.manifest})
        return
    _tell(trained)


def _fine_tune(
    data: DataSet,
    plan: Plan,
    tuning: TuningPlan,
    registry: Registry,
    device: torch.device,
    options: dict[str, Any],
    bars: Progress,
    row: TaskID,
) -> Trained:
    from models.topics.tuned import Tail
    from models.training.fine_tune import fine_tune
    from models.training.targets import TrainingError
    from scripts.fine_tuning import fill_features, packaged_encoder

    with packaged_encoder(device) as encoder:
        if encoder.version != data.encoder:
            raise TrainingError(f"the data set is of {data.encoder}, this program fine-tunes {encoder.version}")
        bars.stop()
        cache = fill_features(data, data.items, encoder, tuning.blocks)
        bars.update(row, visible=True)
        bars.start()
        trained, tuned = fine_tune(
            data, cache, Tail(encoder.network.float(), tuning.blocks), plan, tuning, registry, device, **options
        )
    err.print(
        f"the last {tuning.blocks} blocks, best of {tuned.epochs} epochs: {tuned.best_epoch}; loss on the validation "
        f"split {tuned.base_loss:.4f} with the packaged encoder, {tuned.validation_loss:.4f} with this one",
        highlight=False,
    )
    return trained


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
    out.print(_graded(manifest["metrics"]) if manifest["metrics"].get("graded") else _judged(manifest["metrics"]))
    if "fine_tuning" in manifest:
        before, now = manifest["fine_tuning"]["packaged_encoder"], manifest["metrics"]
        for name in ("mean_average_precision", "mean_f1", "mean_rank_correlation", "mean_absolute_error"):
            if now.get(name) is not None and before.get(name) is not None:
                said = name.replace("_", " ")
                out.print(f"{said}: {before[name]:.3f} with the packaged encoder, {now[name]:.3f}", highlight=False)
    fitted = trained.fitted
    out.print(f"[bold]{trained.version.name}[/], best of {fitted.epochs} epochs: {fitted.best_epoch}", highlight=False)
    name = trained.version.name
    out.print(
        f"next: tagfarm evaluate {name} --against champion --data ... ; tagfarm models promote {name} --why ...",
        highlight=False,
    )


def _graded(metrics: Any) -> Table:
    names = ("label", "uploads", "rank correlation", "mean error", "error of the mean", "bias", "measured on")
    table = Table(*names, header_style="bold", box=None)
    for label, row in metrics["labels"].items():
        keys = ("rank_correlation", "mean_absolute_error", "error_of_the_mean", "bias")
        told = ["-" if row[key] is None else f"{row[key]:.3f}" for key in keys]
        table.add_row(plain(label), str(row["uploads"]), *told, row["split"])
    return table


def _judged(metrics: Any) -> Table:
    table = Table("label", "uploads", "AP", "F1", "ECE", "threshold", "measured on", header_style="bold", box=None)
    for label, row in metrics["labels"].items():
        figures = [row[key] for key in ("average_precision", "f1", "ece", "threshold")]
        told = ["-" if value is None else f"{value:.3f}" for value in figures]
        table.add_row(plain(label), f"{row['positives']} of {row['positives'] + row['negatives']}", *told, row["split"])
    return table
