"""`tagfarm show`, `feed` and `report`: what the farm knows."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from scripts.console import emit, err, fail, out, plain
from scripts.document_view import show_document
from scripts.local import open_artifacts, open_store

POLL_S = 0.5
PAGE = 200


def show(
    upload_id: Annotated[str, typer.Argument(help="The upload's id.")],
    as_json: Annotated[bool, typer.Option("--json", help="The document as the feed carries it.")] = False,
) -> None:
    """One upload's document."""
    store = open_store()
    document = store.document(upload_id)
    if document is None:
        status = store.status(upload_id)
        if status is None:
            fail(
                f"upload {upload_id!r} is not known here; enqueue it with: tagfarm enqueue FILE --upload-id {upload_id}"
            )
        fail(f"upload {upload_id!r} has no document yet: it is {status.state}, attempt {status.attempts}")
    emit(document) if as_json else show_document(document, upload_id)


def feed(
    after: Annotated[
        int, typer.Option(min=0, max=2**63 - 1, help="Cursor of the last event that was read; 0: from the start.")
    ] = 0,
    follow: Annotated[bool, typer.Option(help="Wait for more, until Ctrl-C.")] = False,
    limit: Annotated[int | None, typer.Option(help="At most so many events.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One event a line, with its document.")] = False,
) -> None:
    """The ordered feed of changes: what the recommender reads. At least once; keep the cursor of what was handled."""
    store = open_store()
    left = limit if limit is not None else float("inf")
    try:
        while left > 0:
            events = store.feed(after, int(min(left, PAGE)))
            for event in events:
                after = event.cursor
                left -= 1
                if as_json:
                    emit(
                        {
                            "cursor": event.cursor,
                            "event": event.event,
                            "upload_id": event.upload_id,
                            "at": event.at.isoformat(),
                            "document": event.document,
                        }
                    )
                else:
                    diversity = event.document["diversity"]
                    out.print(
                        f"{event.cursor:>6}  {event.at:%H:%M:%S}  {event.event:<8} {event.upload_id:<28} "
                        f"{event.document['outcome']:<11} {diversity['topic'] or '-':<22} {diversity['sound'] or '-'}",
                        highlight=False,
                        soft_wrap=True,
                    )
            if not events:
                if not follow:
                    break
                time.sleep(POLL_S)
    except KeyboardInterrupt:
        err.print(f"stopped; go on with: tagfarm feed --after {after} --follow")


def report(
    upload_id: Annotated[str, typer.Argument(help="The upload's id.")],
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Default: UPLOAD_ID.html here.")] = None,
) -> None:
    """Write one self-contained HTML page of an upload: key frames, lanes of tags, curves."""
    from store.artifacts import ArtifactCorrupt
    from web.report import render

    store = open_store()
    kept = store.kept(upload_id)
    if kept is None:
        fail(f"upload {upload_id!r} has no document here; see: tagfarm show {upload_id}")
    try:
        artifacts = open_artifacts().get(kept.artifact) if kept.artifact else None
    except ArtifactCorrupt as error:
        err.print(f"{plain(error)}; the page has no pictures and curves")
        artifacts = None
    target = output or Path(f"{upload_id.replace(':', '-')}.html")
    target.write_text(render(kept.document, artifacts, kept.request), encoding="utf-8")
    err.print(f"wrote {target}")
