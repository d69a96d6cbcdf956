"""`tagfarm quarantine list` and `release`: uploads that ended their decoders or nodes too often."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.table import Table

from scripts.console import emit, err, fail, out, plain

app = typer.Typer(help="Uploads that ended their decoders or nodes too often: look at them, let them out.")
Limit = Annotated[int, typer.Option(min=1, help="At most so many.")]
AsJson = Annotated[bool, typer.Option("--json", help="One object a line.")]


@app.command("list")
def list_quarantined(limit: Limit = 1000, as_json: AsJson = False) -> None:
    """What is in quarantine, the latest first, and why."""
    from scripts.local import open_store

    found = open_store().in_state("quarantined", limit)
    if as_json:
        for one in found:
            emit(
                {
                    "upload_id": one.upload_id,
                    "attempts": one.attempts,
                    "reason": one.reason,
                    "queue": one.queue,
                    "since": one.updated_at.isoformat(),
                }
            )
        return
    table = Table(box=None, header_style="dim")
    for name in ("upload", "since", "reason"):
        table.add_column(name)
    for one in found:
        table.add_row(plain(one.upload_id), one.updated_at.strftime("%Y-%m-%d %H:%M"), plain(one.reason or ""))
    out.print(table)
    err.print(f"{len(found)} in quarantine; let one out: tagfarm quarantine release UPLOAD", highlight=False)


@app.command("release")
def release(
    upload_ids: Annotated[list[str] | None, typer.Argument(help="Uploads to let out.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="All of them: after a decoder was mended.")] = False,
    as_json: AsJson = False,
) -> None:
    """Have uploads tried again from their first attempt. They come back here if they do it again."""
    from scripts.local import open_store

    if bool(upload_ids) == everything:
        fail("name uploads, or say --all", code=2)
    store = open_store()
    quarantined = {one.upload_id for one in store.in_state("quarantined", 1_000_000)}
    wanted = sorted(quarantined) if everything else list(upload_ids or [])
    released = [one for one in wanted if one in quarantined and store.requeue(one)]
    if as_json:
        for one in released:
            emit({"upload_id": one, "released": True})
    else:
        err.print(f"{len(released)} let out; a node's sweeper sends them within seconds")
    if left := [one for one in wanted if one not in released]:
        fail(f"not in quarantine: {', '.join(left)}; see: tagfarm quarantine list")
