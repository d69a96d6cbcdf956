"""`tagfarm data`: labelled data sets for training, and what is kept of uploads."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from scripts.console import counter, emit, err, fail, out, plain
from scripts.local import open_artifacts, open_store

app = typer.Typer(help="Labelled data sets for training, and garbage collection of what is kept.", no_args_is_help=True)

Json = Annotated[bool, typer.Option("--json", help="For machines.")]
FEW = 20
"""Uploads with a label from which a head can be trained on it."""


@app.command()
def export(
    tagger: Annotated[str, typer.Argument(help="topics, events or quality.")],
    output: Annotated[Path, typer.Option("--out", "-o", help="Folder of the data set; made if need be.")],
    with_machine_labels: Annotated[
        bool,
        typer.Option(
            "--with-machine-labels",
            help="Where people decided nothing of a tag, take the machine's word. It then learns its own mistakes.",
        ),
    ] = False,
    keyframes: Annotated[bool, typer.Option(help="A picture of each upload, for reports.")] = True,
    encoder: Annotated[str | None, typer.Option(help="name@N of the encoder. Default: this farm's.")] = None,
    as_json: Json = False,
) -> None:
    """Write people's decisions with the embeddings of their uploads: what `tagfarm train` reads.

    The same store gives the same bytes. Splits are dealt by near-duplicate group, and stay as they are when uploads and
    labels are added. What people did not decide on is in no label.

    tagfarm data export topics --out data/topics
    """
    from models.sounds.yamnet import SoundEncoder
    from models.topics.efficientnet import PictureEncoder
    from tasks.export import ENCODERS
    from tasks.export import export as write

    versions = {"picture": PictureEncoder.version, "yamnet": SoundEncoder.version}
    if tagger not in ENCODERS:
        fail(f"there is no data set of {tagger!r}; say {' or '.join(ENCODERS)}", code=2)
    if tagger == "quality" and with_machine_labels:
        fail("quality has no machine labels: only what people gave is learnt from", code=2)
    with counter(transient=True) as bars:
        row = bars.add_task("uploads", total=None)
        done = write(
            open_store(),
            open_artifacts(),
            tagger,
            output,
            encoder or versions[ENCODERS[tagger]],
            with_machine_labels,
            keyframes,
            lambda count: bars.update(row, completed=count),
        )
    if as_json:
        emit({"folder": str(output), **asdict(done)})
    else:
        shares = ", ".join(f"{count} {split}" for split, count in done.splits.items())
        out.print(
            f"[bold]{plain(output)}[/]  {done.uploads} uploads in {done.groups} groups: {shares}", highlight=False
        )
        for label, (positive, negative) in done.labels.items():
            rated = tagger == "quality"
            few = "" if positive + rated * negative >= FEW else f"  [yellow]fewer than {FEW}[/]"
            said = f"{positive + negative:>6} rated" if rated else f"{positive:>6} yes {negative:>6} no"
            out.print(f"  {plain(label):<32} {said}{few}", highlight=False)
        if done.machine_labels:
            out.print(f"  {done.machine_labels} labels are the machine's own word", highlight=False)
        for why, count in sorted(done.left_out.items()):
            err.print(f"  left out: {count}, {plain(why)}", highlight=False)
        out.print(f"  hash {done.hash}", highlight=False)
    if not done.uploads:
        fail("no upload with a decision could be taken; decide on some: tagfarm labels add, or labels import")


@app.command()
def gc(
    older_than: Annotated[
        float, typer.Option(min=1.0, help="Hours that something without a document must be old to be deleted.")
    ] = 24.0,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Count; delete nothing.")] = False,
    as_json: Json = False,
) -> None:
    """Delete embeddings and key frames that no current document names. Safe while the farm runs; for a nightly cron."""
    from tasks.collect import collect

    with counter(transient=True) as bars:
        row = bars.add_task("artifacts", total=None)
        done = collect(
            open_store(),
            open_artifacts(),
            older_than * 3600.0,
            dry_run,
            lambda count: bars.update(row, completed=count),
        )
    if as_json:
        emit(asdict(done))
        return
    what = "would be deleted" if dry_run else "deleted"
    err.print(
        f"{done.artifacts} artifacts, {done.bytes / 1e6:.1f} MB: {done.deleted} {what} ({done.deleted_bytes / 1e6:.1f} "
        f"MB), {done.young} too young",
        highlight=False,
    )
