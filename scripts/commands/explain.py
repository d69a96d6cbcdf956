"""`tagfarm explain`: why an upload has its topics."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from rich.table import Table

from scripts.console import emit, err, fail, out, plain
from scripts.local import open_artifacts, open_store


def explain(
    upload_id: Annotated[str, typer.Argument(help="The upload's id.")],
    top: Annotated[int, typer.Option(min=1, max=50, help="Topics of each evidence in each shot.")] = 3,
    as_json: Annotated[bool, typer.Option("--json", help="One object, for machines.")] = False,
) -> None:
    """Why an upload has its topics: what picture, objects, faces, sound, text and words said of each shot.

    Read from what is kept of the upload, by the taggers that are in force now; no frame is decoded.
    """
    from models.topics.explain import explain as reasons
    from models.topics.tagger import TopicsTagger
    from scripts.commands.retag import load_heads
    from store.artifacts import ArtifactCorrupt
    from tasks.kept import NotKept
    from tasks.retag import UnknownTagger, kept_evidence

    store = open_store()
    kept = store.kept(upload_id)
    if kept is None:
        fail(f"upload {upload_id!r} has no document here; see: tagfarm show {upload_id}")
    heads = load_heads()
    try:
        tagger = heads.tagger("topics")
        if not isinstance(tagger, TopicsTagger):
            fail(f"{tagger.version} does not say why")
        evidence = kept_evidence(kept.artifact, kept.request, open_artifacts(), heads, [tagger]).evidence
    except UnknownTagger as error:
        fail(str(error))
    except (NotKept, ArtifactCorrupt) as error:
        fail(f"upload {upload_id!r} cannot be explained: {error}; tag it again with: tagfarm retag {upload_id} --full")
    said = {"upload_id": upload_id, "spoke": kept.document["models"].get("topics"), **reasons(tagger, evidence, top)}
    emit(said) if as_json else show(said)


def show(said: dict[str, Any]) -> None:
    """As a person reads it in a terminal."""
    topics = ", ".join(f"{one['topic']} {one['score']:.2f} ({', '.join(one['from'])})" for one in said["topics"])
    out.print(f"[bold]{plain(said['upload_id'])}[/]  {plain(topics or 'unknown')}", highlight=False)
    if said["spoke"] not in (None, said["version"]):
        err.print(f"its document is of {plain(said['spoke'])}; this is {plain(said['version'])}", highlight=False)
    table = Table(box=None, padding=(0, 2, 0, 0))
    for column in ("range, s", "evidence", "topics"):
        table.add_column(column)
    for one in said["ranges"]:
        start, end = one["range"]
        where = f"{start:.1f}-{end:.1f}"
        for name, best in one["evidence"].items():
            table.add_row(where, name, plain(", ".join(f"{entry['topic']} {entry['score']:.2f}" for entry in best)))
            where = ""
        marked = ", ".join(
            f"{'[bold green]' if entry['said'] else '[dim]'}{plain(entry['topic'])} {entry['score']:.2f}"
            f" {'≥' if entry['score'] >= entry['threshold'] else '<'} {entry['threshold']:.2f}[/]"
            for entry in one["joined"]
        )
        table.add_row(where, "[bold]joined[/]", marked or "[dim]unknown[/]")
    for topic, claim in said["words"].items():
        table.add_row("", ", ".join(claim["sources"]), f"{plain(topic)} {claim['weight']:.2f}")
    out.print(table)
    if said["silent"]:
        out.print(f"[dim]says nothing: {plain(', '.join(said['silent']))}[/]", highlight=False)
