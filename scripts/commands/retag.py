"""`tagfarm retag`: tag again, one upload or an archive, from what is kept or from the files."""

from __future__ import annotations

import os
import signal
import threading
import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import (
    Progress as Bars,
)
from rich.table import Table

from scripts.console import emit, err, fail, out, plain
from scripts.local import open_artifacts, open_store

if TYPE_CHECKING:
    from store.store import Counts, Run, Store
    from tasks.retag import Heads, Progress, Retagger

NICE = 10
"""Uploads come first, also on a machine that a node runs on."""
TOLD_S = 2.0
"""Between two lines of `--json`, s."""


def retag(
    upload_ids: Annotated[
        list[str] | None, typer.Argument(help="These uploads, through the farm; how a quarantined one is let out.")
    ] = None,
    stale: Annotated[
        list[str] | None, typer.Option(help="TAGGER: uploads of which another version spoke. Repeat for several.")
    ] = None,
    missing: Annotated[
        list[str] | None, typer.Option(help="TAGGER: uploads that it should have spoken of, and has not. Repeat.")
    ] = None,
    failed: Annotated[
        bool, typer.Option("--failed", help="Uploads that ended corrupt, timed out, quarantined ...")
    ] = False,
    where: Annotated[
        str | None,
        typer.Option(help="Only these, e.g. \"country = 'IT' and created > '2026-11-01' and topic != 'food'\"."),
    ] = None,
    from_embeddings: Annotated[
        bool, typer.Option("--from-embeddings", help="Only from what is kept; refuses if that is not enough.")
    ] = False,
    full: Annotated[bool, typer.Option("--full", help="Decode every file again, on the farm's nodes.")] = False,
    skip_stale: Annotated[
        bool, typer.Option("--skip-stale", help="With --from-embeddings: leave out what it would refuse for.")
    ] = False,
    rate: Annotated[str | None, typer.Option(help="At most N/s uploads a second, e.g. 50/s.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Count, and stop.")] = False,
    urgent: Annotated[bool, typer.Option("--urgent", help="With upload ids: with the fresh ones, not after.")] = False,
    runs: Annotated[bool, typer.Option("--runs", help="List the latest runs.")] = False,
    pause: Annotated[int | None, typer.Option(help="RUN: pause it, wherever it runs.")] = None,
    resume: Annotated[int | None, typer.Option(help="RUN: let it go on.")] = None,
    cancel: Annotated[int | None, typer.Option(help="RUN: end it; what is done stays done.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One object a line: plan, progress, end.")] = False,
) -> None:
    """Tag uploads anew. Counts come first; a run that is killed goes on where it was with the same words.

    Without --from-embeddings and --full each upload goes the cheapest way: heads read its kept embeddings here, in this
    process; what has none that fit goes to the farm's queue `backfill`.

    tagfarm retag --stale topics --dry-run

    tagfarm retag --stale topics --where "country = 'IT'" --from-embeddings --rate 100/s

    tagfarm retag --missing events        tagfarm retag --failed        tagfarm retag u123 u124
    """
    switched = [(pause, "paused"), (resume, "running"), (cancel, "cancelled")]
    chosen = bool(stale or missing or failed or where)
    if runs:
        _list(open_store(), as_json)
    elif any(run_id is not None for run_id, _ in switched):
        for run_id, state in switched:
            if run_id is not None and not open_store().set_retag_state(run_id, state):  # type: ignore[arg-type]
                fail(f"run {run_id} is unknown, or has ended; see: tagfarm retag --runs")
    elif upload_ids and not chosen:
        _send(open_store(), upload_ids, urgent)
    elif upload_ids or not chosen:
        fail("say which uploads: their ids, or --stale, --missing, --failed or --where", code=2)
    elif from_embeddings and (full or failed):
        fail("--from-embeddings goes with neither --full nor --failed: those need the files", code=2)
    else:
        selection = {"stale": stale, "missing": missing, "failed": failed, "where": where}
        _run(selection, from_embeddings, full or failed, skip_stale, _rate(rate), dry_run, as_json)


def _send(store: Store, upload_ids: list[str], urgent: bool) -> None:
    refused = [one for one in upload_ids if not store.requeue(one, "uploads" if urgent else "backfill")]
    err.print(f"{len(upload_ids) - len(refused)} will be tagged anew; a node's sweeper sends them within seconds")
    if refused:
        fail(f"unknown, or in work already: {', '.join(refused)}")


def _run(
    asked: dict[str, Any],
    from_embeddings: bool,
    full: bool,
    skip_stale: bool,
    rate: float | None,
    dry_run: bool,
    as_json: bool,
) -> None:
    from store.store import Selection
    from tasks.retag import Retagger, UnknownTagger, refusal

    store = open_store()
    heads = load_heads()
    names = [*(asked["stale"] or ()), *(asked["missing"] or ())] or heads.from_kept()
    try:
        targets = [heads.target(name) for name in dict.fromkeys(names)]
    except UnknownTagger as error:
        fail(f"{error}; this farm's taggers are: {', '.join([*heads.from_kept(), 'layout', 'soundid'])}", code=2)
    selection = Selection(tuple(asked["stale"] or ()), tuple(asked["missing"] or ()), asked["failed"], asked["where"])
    counts = store.retag_counts(selection, targets)
    _tell(counts, {target.tagger: target.version for target in targets}, full, as_json)
    if from_embeddings and not skip_stale and (refused := refusal(counts, targets)):
        fail(refused)
    if dry_run:
        return
    ways = ["embeddings"] if from_embeddings else ["full"] if full else ["embeddings", "full"]
    run, known = store.open_retag(selection, targets, ways, full)  # type: ignore[arg-type]
    if known and not as_json:
        err.print(f"run {run.run_id} goes on: {run.left} of {run.total} are left", highlight=False)
    os.nice(NICE)
    retagger = Retagger(store, open_artifacts(), heads, run, full_instead=not from_embeddings, rate=rate)
    _work(retagger, as_json)


def load_heads() -> Heads:
    """The taggers that are in force now, with their encoders' last layers, on the CPU."""
    from tasks.lineup import brought
    from tasks.retag import Heads
    from workers.build import build_models
    from workers.settings import settings
    from workers.versions import in_force

    here = settings().model_copy(deep=True)
    here.models.device = "cpu"  # heads and last layers only: the device is the nodes'
    with err.status("loading the heads"):
        models = build_models(here)
    now = in_force(settings(), open_store(), models.encoders, models.taggers, models.absent)
    return Heads({**models.encoders, **brought(now[0])}, *now)


def _tell(counts: Counts, versions: dict[str, str], full: bool, as_json: bool) -> None:
    if as_json:
        emit({"event": "plan", **asdict(counts), "targets": versions, "full": full})
        return
    said = ", ".join(f"{tagger} {version}" for tagger, version in versions.items())
    out.print(f"[bold]{counts.selected}[/] uploads   {plain(said)}", highlight=False, soft_wrap=True)
    out.print(f"  {counts.kept:>8} have all that is needed: heads read what is kept", highlight=False)
    for encoder, count in counts.encoders.items():
        out.print(f"  {count:>8} have embeddings of another encoder ({plain(encoder)})", highlight=False)
    out.print(f"  {counts.without:>8} have none that would do, or it takes the file itself", highlight=False)


def _work(retagger: Retagger, as_json: bool) -> None:
    def stop(*_: object) -> None:
        retagger.stopped.set()

    if threading.current_thread() is threading.main_thread():
        for stopping in (signal.SIGINT, signal.SIGTERM):
            signal.signal(stopping, stop)
    progress = _with_lines(retagger) if as_json else _with_bar(retagger)
    items = {state: count for state, count in progress.items.items() if count}
    if as_json:
        emit({"event": "end", "run": progress.run_id, "items": items, "left": progress.left})
    else:
        said = ", ".join(f"{count} {state}" for state, count in sorted(items.items()))
        err.print(f"run {progress.run_id}: {said or 'nothing to do'}", highlight=False)
        if progress.left:
            err.print("stopped; the same command goes on where it was", highlight=False)
    raise typer.Exit(1 if progress.items.get("failed") else 0)


def _with_lines(retagger: Retagger) -> Progress:
    last = 0.0

    def told(progress: Progress) -> None:
        nonlocal last
        if time.monotonic() - last >= TOLD_S:
            last = time.monotonic()
            emit(
                {
                    "event": "progress",
                    "run": progress.run_id,
                    "items": progress.items,
                    "left": progress.left,
                    "paused": progress.paused,
                }
            )

    retagger.told = told
    return retagger.work()


def _with_bar(retagger: Retagger) -> Progress:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[speed]}"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Bars(*columns, console=err) as bars:
        row = bars.add_task("re-tagging", total=retagger.run.total, speed="")

        def told(progress: Progress) -> None:
            said = [
                f"{progress.items[state]} {state}"
                for state in ("changed", "sent", "failed")
                if progress.items.get(state)
            ]
            task = bars.tasks[row]
            speed = f"{task.speed:.0f}/s" if task.speed else ""
            description = "paused" if progress.paused else "re-tagging"
            bars.update(
                row,
                total=progress.total,
                completed=progress.total - progress.left,
                description=f"{description} {', '.join(said)}",
                speed=speed,
            )

        retagger.told = told
        return retagger.work()


def _list(store: Store, as_json: bool) -> None:
    found = store.retag_runs()
    if as_json:
        for run in found:
            emit(asdict(run) | {"left": run.left})
        return
    table = Table(box=None, header_style="dim")
    for name in ("run", "state", "left", "of", "what", "targets"):
        table.add_column(name)
    for run in found:
        values = (run.run_id, run.state, run.left, run.total, _words(run), ", ".join(run.targets.values()))
        table.add_row(*map(plain, values))
    out.print(table)


def _words(run: Run) -> str:
    asked = run.selection
    words = [f"stale {', '.join(asked['stale'])}" if asked["stale"] else "", "failed" if asked["failed"] else ""]
    words += [f"missing {', '.join(asked['missing'])}" if asked["missing"] else "", asked["where"] or ""]
    return "; ".join(word for word in words if word)


def _rate(text: str | None) -> float | None:
    if text is None:
        return None
    try:
        rate = float(text.removesuffix("/s"))
    except ValueError:
        rate = 0.0
    if not 0 < rate < 1e6:
        fail(f"--rate {text!r}: write e.g. 50/s", code=2)
    return rate
