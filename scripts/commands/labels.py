"""`tagfarm labels`: what people decided of tags. Human beats machine: a rejected tag does not come back."""

from __future__ import annotations

import getpass
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from scripts.console import counter, emit, err, fail, out, plain
from scripts.local import open_store

if TYPE_CHECKING:
    from tasks.labels import Format

app = typer.Typer(
    help="People's decisions on tags: confirm, reject, add. Human beats machine, for ever.", no_args_is_help=True
)

Tagger = Annotated[str, typer.Option(help="Whose tag: topics, events, or quality (rated).")]
By = Annotated[str | None, typer.Option(help="Who decided. Default: the user of this machine.")]
NewTags = Annotated[bool, typer.Option("--new-tags", help="Take tags that the taxonomy does not have (yet).")]
Form = Annotated[str | None, typer.Option("--format", help="jsonl or csv. Default: what the file's name says.")]
Json = Annotated[bool, typer.Option("--json", help="For machines.")]
SHOWN_ERRORS = 20


@app.command()
def add(
    upload_id: Annotated[str, typer.Argument(help="The upload.")],
    tag: Annotated[
        str,
        typer.Argument(help="e.g. animals/cat; an AudioSet name with --tagger events; picture or score of quality."),
    ],
    decision: Annotated[
        str, typer.Argument(help="confirm, reject, add, or withdraw an earlier decision; rate.")
    ] = "add",
    tagger: Tagger = "topics",
    by: By = None,
    value: Annotated[str | None, typer.Option(help="With rate: 0 to 1, or stars as 4/5.")] = None,
    note: Annotated[str | None, typer.Option(help="Why, for those who read it later.")] = None,
    new_tags: NewTags = False,
    as_json: Json = False,
) -> None:
    """Decide on one tag of one upload. Its document follows at once, and the feed says so.

    tagfarm labels add u123 animals/cat reject --note "a fox"

    tagfarm labels add u123 picture rate --tagger quality --value 4/5
    """
    from store.store import UnknownUpload
    from tasks.labels import LabelFault, Vocabulary, parse

    record = {"upload_id": upload_id, "tagger": tagger, "tag": tag, "decision": decision, "note": note}
    record |= {"value": value}
    try:
        label = parse(record, Vocabulary(new_tags), by or getpass.getuser())
    except LabelFault as fault:
        fail(str(fault), code=2)
    done = open_store().label(upload_id, [label])
    if isinstance(done, UnknownUpload):
        fail(f"upload {upload_id!r} is not known here; see: tagfarm feed")
    if as_json:
        emit({"upload_id": upload_id, "written": done.written[0], "changed": done.changed})
    else:
        what = "decided" if done.written[0] else "that was decided before"
        err.print(f"{what}; the document {'has changed' if done.changed else 'stays as it is'}", highlight=False)


@app.command("list")
def list_(
    upload: Annotated[str | None, typer.Option(help="Only of this upload.")] = None,
    tagger: Annotated[str | None, typer.Option(help="Only topics, events, or quality.")] = None,
    tag: Annotated[str | None, typer.Option(help="Only of this tag.")] = None,
    decision: Annotated[str | None, typer.Option(help="Only these decisions.")] = None,
    by: Annotated[str | None, typer.Option(help="Only of this person.")] = None,
    history: Annotated[bool, typer.Option(help="Also those that a later one took the place of.")] = False,
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 1000,
    as_json: Json = False,
) -> None:
    """Decisions, by upload and tag."""
    from itertools import islice

    from tasks.labels import record_of

    rows = islice(open_store().labels(upload, tagger, tag, decision, by, history), limit)
    if as_json:
        for row in rows:
            emit(record_of(row) | {"holds": row.holds})
        return
    table = Table(box=None, header_style="dim")
    for name in ("upload", "tagger", "tag", "decision", "value", "by", "when", "note"):
        table.add_column(name)
    for row in rows:
        when = f"{row.at:%Y-%m-%d %H:%M}"
        said = row.decision if row.holds else f"({row.decision})"
        value = "" if row.value is None else f"{row.value:.2f}"
        table.add_row(*map(plain, (row.upload_id, row.tagger, row.tag, said, value, row.by, when, row.note or "")))
    out.print(table)


@app.command("import")
def import_(
    file: Annotated[Path, typer.Argument(help="JSON Lines or CSV, as `labels export` writes it.", dir_okay=False)],
    form: Form = None,
    by: By = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check and count; write nothing.")] = False,
    skip_errors: Annotated[
        bool, typer.Option("--skip-errors", help="Take the good lines in spite of bad ones.")
    ] = False,
    new_tags: NewTags = False,
    as_json: Json = False,
) -> None:
    """Take decisions from a file. Every line is checked first: one bad line, and nothing is written.

    Importing the same file twice changes nothing. Fields: upload_id, tag, decision; tagger, value, by, at,
    taxonomy, note.
    """
    from tasks.labels import Vocabulary, load, read

    chosen = _form(form, file.name)
    try:
        stream = file.open(encoding="utf-8-sig", newline="")
    except OSError as error:
        fail(f"{file} cannot be read: {error.strerror}", code=2)
    store = open_store()
    with stream, counter(transient=True) as bars:
        row = bars.add_task("labels", total=None)

        def told(done: int, total: int) -> None:
            bars.update(row, completed=done, total=total)

        try:
            result = load(store, read(stream, chosen), Vocabulary(new_tags), by, dry_run, skip_errors, told)
        except UnicodeDecodeError:
            fail(f"{file} is not UTF-8", code=2)
    if as_json:
        emit(asdict(result))
    else:
        for bad in result.errors[:SHOWN_ERRORS]:
            err.print(f"line {bad.line}: [red]{bad.fault}[/] {plain(bad.message)}", highlight=False)
        if len(result.errors) > SHOWN_ERRORS:
            err.print(f"... and {len(result.errors) - SHOWN_ERRORS} more errors", highlight=False)
        done = "written" if result.applied else "nothing is written; would be new"
        if result.errors and not skip_errors:
            err.print(f"{len(result.errors)} bad lines of {result.lines}: nothing is written (--skip-errors)")
        else:
            err.print(
                f"{result.lines} lines: {result.written} {done}, {result.known} known before, "
                f"{result.changed} documents change, {len(result.errors)} bad"
            )
    raise typer.Exit(1 if result.errors else 0)


@app.command()
def export(
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Default: standard output.")] = None,
    form: Form = None,
    tagger: Annotated[str | None, typer.Option(help="Only topics, events, or quality.")] = None,
    latest: Annotated[bool, typer.Option("--latest", help="Only the decisions that hold, not their history.")] = False,
) -> None:
    """Write decisions to a file that `labels import` reads, in the order of upload, tag and time."""
    from tasks.labels import write

    chosen = _form(form, output.name if output else "-.jsonl")
    rows = open_store().labels(tagger=tagger, history=not latest)
    if output is None:
        write(rows, sys.stdout, chosen)
        return
    with output.open("w", encoding="utf-8", newline="") as stream:
        count = write(rows, stream, chosen)
    err.print(f"wrote {count} decisions to {output}", highlight=False)


def _form(form: str | None, name: str) -> Format:
    from tasks.labels import FORMATS, form_of

    said = form or form_of(name)
    chosen = next((known for known in FORMATS if known == said), None)
    if chosen is None:
        fail(f"{name}: say --format jsonl or --format csv", code=2)
    return chosen
