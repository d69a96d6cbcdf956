"""A document as a person reads it in a terminal."""

from __future__ import annotations

from typing import Any

from rich.table import Table
from rich.tree import Tree

from scripts.console import out, plain

TREE_EVENTS = 12
TREE_RANGES = 4
"""Shown of one document: the surest events, and the first ranges of each."""
UNSAFE_SHOWN = 0.2
"""A safety score below this is not worth a line."""


def show_document(document: dict[str, Any], title: str) -> None:
    """One document as a person reads it in a terminal."""
    colour = {"ok": "green", "degraded": "yellow"}.get(document["outcome"], "red")
    duration = document["media"].get("duration_s")
    length = f"  {duration:.1f} s" if duration else ""
    out.print(f"[bold]{plain(title)}[/]  [{colour}]{document['outcome']}[/]{length}", highlight=False)
    if document["reason"]:
        out.print(f"  [{colour}]{plain(document['reason'])}[/]", highlight=False)
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 2))
    for name, value in summary(document):
        table.add_row(f"[dim]{name}[/]", events_tree(document["events"]) if name == "events" else plain(value))
    out.print(table)


def events_tree(events: list[dict[str, Any]]) -> Tree:
    """Events under what they imply, with their scores and the ranges in which they are heard."""
    tree = Tree("", hide_root=True)
    branches: dict[str, Tree] = {}
    by_name = {event["event"]: event for event in events}

    def branch(name: str) -> Tree:
        if name not in branches:
            event = by_name[name]
            over = next((one for one in event.get("above", []) if one in by_name), None)
            ranges = ", ".join(f"{start:.1f}-{end:.1f}" for start, end in event["ranges"][:TREE_RANGES])
            more = ", ..." if len(event["ranges"]) > TREE_RANGES else ""
            told = f"{plain(name)} {event['score']:.2f} [dim]{ranges}{more} s[/]"
            branches[name] = (branch(over) if over else tree).add(told, highlight=False)
        return branches[name]

    for event in events[:TREE_EVENTS]:
        branch(event["event"])
    return tree


def summary(document: dict[str, Any]) -> list[tuple[str, str]]:
    """A document's sections in a line each, only those that say something."""
    lines = [
        ("topics", ", ".join(f"{topic['topic']} {topic['score']:.2f}" for topic in document["topics"])),
        ("events", ", ".join(f"{event['event']} {event['score']:.2f}" for event in document["events"][:6])),
        (
            "sounds",
            ", ".join(
                f"{use['title'] or use['sound_id']} ({use['kind']}, {use['range'][0]:.1f}-{use['range'][1]:.1f} s "
                f"from {use['offset_s']:.1f} s)"
                for use in document["sounds"]
            ),
        ),
    ]
    music, speech, layout, quality = (document[key] for key in ("music", "speech", "layout", "quality"))
    if music and music["present"] >= 0.3:
        tempo = f", {music['tempo_bpm']:.0f} bpm" if music["tempo_bpm"] else ""
        key = f", {music['key']}" if music["key"] else ""
        voice = "" if music["vocals"] is None else ", vocals" if music["vocals"] >= 0.5 else ", instrumental"
        tags = "; " + ", ".join(tag["tag"] for tag in music["tags"]) if music["tags"] else ""
        lines.append(("music", f"{music['present']:.2f}{tempo}{key}{voice}{tags}"))
    if speech and speech["present"] > 0:
        language = f", {speech['language']}" if speech["language"] else ""
        words = f': "{speech["transcript"]}"' if speech["transcript"] else ""
        lines.append(("speech", f"{speech['present']:.0%} of the sound{language}{words}"))
    if layout and layout["kind"]:
        bars = f", {layout['bars']}" if layout.get("bars") else ""
        panes = " | ".join(", ".join(one["topic"] for one in pane.get("topics", ())) for pane in layout["panes"])
        lines.append(("layout", f"{layout['kind']} {layout['score']:.2f}{bars}{f': {panes}' if panes else ''}"))
    lines.append(("text", "; ".join(line["text"] for line in document.get("text", ())[:6])))
    if people := document.get("people"):
        lines.append(("people", f"persons {people['persons_max']}, faces {people['faces_max']}"))
    if (safety := document.get("safety")) and safety["nsfw"] >= UNSAFE_SHOWN:
        lines.append(("not safe", f"{safety['nsfw']:.2f}"))
    if quality:
        parts = [f"{part} {quality[part]['score']:.2f}" for part in ("picture", "sound") if quality[part]]
        why = f": {', '.join(quality['explanation'])}" if quality.get("explanation") else ""
        lines.append(("quality", f"{quality['score']:.2f} ({', '.join(parts)}){why}"))
    return [(name, value) for name, value in lines if value]
