"""The demo: a real farm tags real clips, and every answer is checked against what is known to be true.

Run by `scripts/demo`. Exits 1 if any answer is wrong.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from celery import Celery
from rich.live import Live
from rich.table import Table

from scripts import demo_media
from scripts.console import err, out
from scripts.document_view import summary
from store.artifacts import ArtifactStore
from store.store import Store
from web.report import render
from workers.embedded import EmbeddedFarm

PATIENCE_S = 300.0
Document = dict[str, Any]


@dataclass(frozen=True)
class Upload:
    """One upload of the story."""

    name: str
    what: str
    caption: str = ""
    hashtags: tuple[str, ...] = ()
    parent: str | None = None


STORY = (
    Upload("bunny-original", "an original clip with its own sound", "Morning in the meadow", ("bunny", "animation")),
    Upload("bikes-with-bunny-sound", "another clip that uses the first one's sound, cut, quieter, re-encoded"),
    Upload("bunny-bikes-duet", "a duet of the two", "duet!", (), "bunny-original"),
    Upload("bikes-silent", "a clip without any sound", "", ("cycling",)),
    Upload("broken-upload", "a file that broke off on its way"),
    Upload("photo-slideshow", "photos, one after another"),
    Upload("cat", "a slow move over a photo of a cat"),
    Upload("duck-call", "a sound without a picture"),
)


@dataclass(frozen=True)
class Check:
    """One thing that must be so."""

    what: str
    holds: Callable[[dict[str, Document]], bool]


def _topics(document: Document) -> list[str]:
    return [topic["topic"] for topic in document["topics"]]


def _events(document: Document) -> list[str]:
    return [event["event"] for event in document["events"]]


def _offset(use: dict[str, Any]) -> float:
    """Where in the sound the upload begins, s."""
    return float(use["offset_s"] - use["range"][0])


def _sound(document: Document) -> str | None:
    return document["diversity"]["sound"]


CHECKS = (
    Check("every upload has one document", lambda d: set(d) == {upload.name for upload in STORY}),
    Check("the original's sound is registered", lambda d: d["bunny-original"]["sounds"][0]["kind"] == "original"),
    Check(
        "the second upload uses the same sound",
        lambda d: _sound(d["bikes-with-bunny-sound"]) == _sound(d["bunny-original"]) is not None,
    ),
    Check(
        f"... from {demo_media.CUT_START_S:.0f} s on",
        lambda d: abs(_offset(d["bikes-with-bunny-sound"]["sounds"][0]) - demo_media.CUT_START_S) < 0.2,
    ),
    Check("so does the duet", lambda d: _sound(d["bunny-bikes-duet"]) == _sound(d["bunny-original"])),
    Check("the duet is seen as one", lambda d: d["bunny-bikes-duet"]["layout"]["kind"] == "duet_left_right"),
    Check("an ordinary clip is not", lambda d: d["bunny-original"]["layout"]["kind"] == "single"),
    Check(
        "the silent clip has no sound and no event",
        lambda d: not d["bikes-silent"]["sounds"] + d["bikes-silent"]["events"],
    ),
    Check("the broken upload is corrupt", lambda d: d["broken-upload"]["outcome"] == "corrupt"),
    Check("the slideshow is one", lambda d: d["photo-slideshow"]["layout"]["kind"] == "slideshow"),
    Check("a cat is in the slideshow", lambda d: any("cat" in topic for topic in _topics(d["photo-slideshow"]))),
    Check("the cat is a cat", lambda d: bool(_topics(d["cat"])) and "cat" in _topics(d["cat"])[0]),
    Check("a rabbit is seen in the original", lambda d: _topics(d["bunny-original"])[0] == "animals/rabbit_rodent"),
    Check("music is heard in it", lambda d: "Music" in _events(d["bunny-original"])),
    Check("a duck is heard where there is nothing to see", lambda d: {"Duck", "Quack"} <= set(_events(d["duck-call"]))),
    Check(
        "all others are ok",
        lambda d: all(document["outcome"] == "ok" for name, document in d.items() if name != "broken-upload"),
    ),
)


def main() -> int:
    """Run the story; 0 if every check holds."""
    parser = argparse.ArgumentParser(prog="scripts/demo", description=__doc__)
    parser.add_argument("--output", type=Path, default=Path("demo-out"), help="where the report pages go")
    parser.add_argument("--keep", action="store_true", help="keep the farm's store and logs there too")
    options = parser.parse_args()
    started = time.monotonic()
    with err.status("media") as status:
        clips = demo_media.make(demo_media.CACHE, status.update)
    with tempfile.TemporaryDirectory(prefix="tagfarm-demo-") as temporary:
        home = options.output.absolute() / "farm" if options.keep else Path(temporary)
        home.mkdir(parents=True, exist_ok=True)
        roots = [next(iter(clips.values())).parent]
        with (home / "node.log").open("wb") as log, EmbeddedFarm(home, roots, log=log) as farm:
            store = Store.open(f"sqlite:///{home / 'tagfarm.db'}")
            out.rule("a farm of one node, a real Valkey, and eight uploads")
            documents = _tag(farm, store, clips)
            if len(documents) < len(STORY):
                err.print((home / "node.log").read_text(errors="replace")[-3000:])
            pages = _report(store, ArtifactStore((home / "artifacts").as_uri()), documents, options.output)
            store.close()
    for upload in STORY:
        if upload.name in documents:
            _show(upload, documents[upload.name])
    wrong = _check(documents)
    wrong += _feed(documents)
    out.rule()
    out.print(f"Pages to look at: {', '.join(str(page) for page in pages)}", highlight=False)
    out.print(f"{time.monotonic() - started:.0f} s; {'everything is as it must be' if not wrong else f'{wrong} WRONG'}")
    return 1 if wrong else 0


def _tag(farm: EmbeddedFarm, store: Store, clips: dict[str, Path]) -> dict[str, Document]:
    """Enqueue as an upload service does - plain Celery and a JSON dict - and wait, showing how far it is."""
    celery = Celery(broker=farm.broker_url)
    documents: dict[str, Document] = {}
    with Live(console=err, refresh_per_second=8, transient=True) as live:
        # The first upload's sound must be known before others can be recognised as using it.
        for batch in (STORY[:1], STORY[1:]):
            for upload in batch:
                message = {
                    "upload_id": upload.name,
                    "media": clips[upload.name].as_uri(),
                    "caption": upload.caption,
                    "hashtags": list(upload.hashtags),
                    "parent_upload_id": upload.parent,
                }
                celery.send_task("tagfarm.tag_upload", kwargs={"upload": message}, queue="uploads")
            _wait(store, {upload.name for upload in batch}, documents, live)
    celery.close()
    return documents


def _wait(store: Store, names: set[str], documents: dict[str, Document], live: Live) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while names - set(documents) and time.monotonic() < deadline:
        table = Table("upload", "state", "", box=None, header_style="dim")
        for upload in STORY:
            status = store.status(upload.name)
            state = status.state if status else "-"
            if state == "done" and upload.name not in documents:
                document = store.document(upload.name)
                if document is not None:
                    documents[upload.name] = document
            colour = {"done": "green", "running": "cyan"}.get(state, "dim")
            table.add_row(upload.name, f"[{colour}]{state}[/]", upload.what)
        live.update(table)
        time.sleep(0.1)


def _show(upload: Upload, document: Document) -> None:
    colour = {"ok": "green", "degraded": "yellow"}.get(document["outcome"], "red")
    out.print(f"\n[bold]{upload.name}[/]  [{colour}]{document['outcome']}[/]  [dim]{upload.what}[/]", highlight=False)
    if document["reason"]:
        out.print(f"  {document['reason']}", highlight=False)
    for name, value in summary(document):
        out.print(f"  [dim]{name:<8}[/] {value}", highlight=False)
    duration = document["media"]["duration_s"]
    if duration:
        for topic in document["topics"][:3]:
            out.print(f"  [dim]{'':<8}[/] {_lane(topic['ranges'], duration)} {topic['topic']}", highlight=False)
        for event in document["events"][:3]:
            out.print(f"  [dim]{'':<8}[/] {_lane(event['ranges'], duration)} {event['event']}", highlight=False)


def _lane(ranges: list[list[float]], duration: float, width: int = 40) -> str:
    """Where a tag holds, drawn along the upload."""
    cells = ["·"] * width
    for start, end in ranges:
        for cell in range(
            int(start / duration * width), max(int(start / duration * width) + 1, round(end / duration * width))
        ):
            if cell < width:
                cells[cell] = "━"
    return "".join(cells)


def _check(documents: dict[str, Document]) -> int:
    out.rule("what must be so")
    wrong = 0
    for check in CHECKS:
        try:
            holds = check.holds(documents)
        except (KeyError, IndexError, TypeError):
            holds = False
        wrong += not holds
        out.print(f"  {'[green]yes[/]' if holds else '[bold red]NO [/]'}  {check.what}", highlight=False)
    return wrong


def _feed(documents: dict[str, Document]) -> int:
    """Order what can be fed so that neither topic nor sound comes twice in a row."""
    out.rule("a small feed that never repeats a topic or a sound in a row")
    left = [document for document in documents.values() if document["outcome"] in ("ok", "degraded")]
    order = _arrange([], left)
    if order is None:
        out.print("[bold red]NO[/]  no such order was found")
        return 1
    for place, document in enumerate(order, 1):
        diversity = document["diversity"]
        out.print(
            f"  {place}  {document['upload_id']:<24} {diversity['topic'] or 'topic unknown':<24} "
            f"{diversity['sound'] or 'no known sound'}",
            highlight=False,
        )
    return 0


def _arrange(placed: list[Document], left: list[Document]) -> list[Document] | None:
    if not left:
        return placed
    for document in left:
        if not placed or not _repeats(placed[-1], document):
            rest = [other for other in left if other is not document]
            if (order := _arrange([*placed, document], rest)) is not None:
                return order
    return None


def _repeats(before: Document, after: Document) -> bool:
    """Whether the second must not follow the first. What is unknown repeats nothing."""
    pairs = ((before["diversity"][key], after["diversity"][key]) for key in ("topic", "sound"))
    return any(first is not None and first == second for first, second in pairs)


def _report(store: Store, artifacts: ArtifactStore, documents: dict[str, Document], folder: Path) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    pages = []
    for name in documents:
        kept = store.kept(name)
        if kept is not None:
            page = folder / f"{name}.html"
            arrays = artifacts.get(kept.artifact) if kept.artifact else None
            page.write_text(render(kept.document, arrays, kept.request), encoding="utf-8")
            pages.append(page)
    return pages


if __name__ == "__main__":
    sys.exit(main())
