"""`tagfarm shadow`: what a version that only watches would have said."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.table import Table

from scripts.console import emit, err, out, plain

app = typer.Typer(
    help="Versions that watch: start one with `tagfarm models promote topics/3 --as shadow --share 0.1 --why ...`, "
    "end it with `tagfarm models promote topics/packaged --as shadow --why ...`.",
    no_args_is_help=True,
)
MOST_LABELS = 20


@app.command()
def report(
    tagger: Annotated[str, typer.Argument(help="topics, events or quality.")],
    version: Annotated[str | None, typer.Option(help="As documents name it. Default: each that watched.")] = None,
    examples: Annotated[int, typer.Option(min=0, help="Uploads to show.")] = 10,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a version.")] = False,
) -> None:
    """Where a shadow disagrees with what was published: by label, with examples, the surest first."""
    from scripts.local import open_store
    from tasks.shadow import report as compare

    found = compare(open_store(), tagger, version, examples)
    for one in found:
        if as_json:
            emit(one.to_json())
            continue
        shares = [part / one.uploads for part in (one.agreed, one.unknown, one.published_unknown)]
        out.print(
            f"[bold]{plain(one.version)}[/] on {one.uploads} uploads: the same labels on {shares[0]:.1%}; "
            f"unknown {shares[1]:.1%}, published {shares[2]:.1%}",
            highlight=False,
        )
        table = Table("label", "both", "only the shadow", "only published", header_style="bold", box=None)
        names = sorted({*one.added, *one.lost}, key=lambda n: (-one.added.get(n, 0) - one.lost.get(n, 0), n))
        for name in names[:MOST_LABELS]:
            counts = (one.both.get(name, 0), one.added.get(name, 0), one.lost.get(name, 0))
            table.add_row(plain(name), *map(str, counts))
        out.print(table)
        for example in one.examples:
            more = ", ".join(f"+{label} {score:.2f}" for label, score in example.added.items())
            less = ", ".join(f"-{label} {score:.2f}" for label, score in example.lost.items())
            out.print(plain(f"  {example.upload_id}  {more}  {less}".rstrip()), highlight=False)
    if not found and not as_json:
        err.print(f"no version has shadowed {plain(tagger)} yet", highlight=False)
