"""The `tagfarm` command."""

from __future__ import annotations

import os
import sys

# Before NumPy is loaded: its BLAS makes a pool of threads that many uploads' threads would fight over (seen to spin
# for ever). The parallelism is between uploads.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import typer

from scripts.commands import (
    data,
    drift,
    evaluate,
    explain,
    farm,
    feed,
    labels,
    models,
    quarantine,
    retag,
    schema,
    shadow,
    sounds,
    tokens,
    train,
    uploads,
    weights,
)
from scripts.console import err, plain

ROOMS = {"media", "models", "store", "tasks", "workers", "web", "scripts"}

app = typer.Typer(
    name="tagfarm",
    help="A content-tagging worker farm for short video: what is seen, what is heard, and how good both are.",
    epilog="Begin with: tagfarm doctor, then tagfarm tag FILE, then tagfarm up.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_show_locals=False,
)
app.command("up")(farm.up)
app.command("worker", context_settings={"allow_extra_args": True, "ignore_unknown_options": True})(farm.worker)
app.command("doctor")(farm.doctor)
app.command("queues")(farm.queues)
app.command("web")(farm.web)
app.command("tag")(uploads.tag)
app.command("enqueue")(uploads.enqueue)
app.command("retag")(retag.retag)
app.command("show")(feed.show)
app.command("explain")(explain.explain)
app.command("feed")(feed.feed)
app.command("report")(feed.report)
app.command("schema")(schema.schema)
app.add_typer(weights.app, name="weights")
app.add_typer(sounds.app, name="sounds")
app.command("train")(train.train)
app.command("evaluate")(evaluate.evaluate)
models.app.command("drift")(drift.drift)
app.add_typer(models.app, name="models")
app.add_typer(shadow.app, name="shadow")
app.add_typer(labels.app, name="labels")
app.add_typer(data.app, name="data")
app.add_typer(quarantine.app, name="quarantine")
app.add_typer(tokens.app, name="tokens")


def main() -> None:
    """Entry point of the console script."""
    from pydantic import ValidationError

    try:
        app()
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] in ROOMS:
            raise
        err.print(
            f"[bold red]tagfarm:[/] this command needs {error.name}, which the light install has not;", highlight=False
        )
        err.print("run: pip install 'tagfarm\\[embedded]'", highlight=False)
        sys.exit(1)
    except ValidationError as error:
        if error.title != "Settings":
            raise
        for item in error.errors():
            name = "TAGFARM_" + "__".join(str(part).upper() for part in item["loc"])
            err.print(f"[bold red]tagfarm:[/] {name if item['loc'] else 'settings'}: {item['msg']}", highlight=False)
        sys.exit(2)
    except ValueError as error:
        if type(error).__name__ != "UnsafeSettings":
            raise
        err.print(f"[bold red]tagfarm:[/] {plain(error)}", highlight=False)
        sys.exit(2)
    except Exception as error:
        # By name: the light install has no store, and so no such class.
        if "StoreError" not in {kind.__name__ for kind in type(error).__mro__}:
            raise
        err.print(f"[bold red]tagfarm:[/] {plain(error)}", highlight=False)
        sys.exit(1)


if __name__ == "__main__":
    main()
