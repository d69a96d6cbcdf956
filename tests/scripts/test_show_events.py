"""Events in the terminal: a tree of what implies what."""

from __future__ import annotations

from io import StringIO

from rich.console import Console

from scripts.document_view import events_tree


def drawn(events: list[dict[str, object]]) -> list[str]:
    console = Console(file=StringIO(), width=80, color_system=None)
    console.print(events_tree(events))
    return [line.rstrip() for line in console.file.getvalue().splitlines()]  # type: ignore[attr-defined]


def test_events_stand_under_what_they_imply() -> None:
    lines = drawn(
        [
            {"event": "Owl", "score": 0.8, "ranges": [[1.0, 2.5]], "above": ["Bird", "Animal"], "implied": False},
            {"event": "Wind", "score": 0.5, "ranges": [[0.0, 9.0]], "above": [], "implied": False},
            {"event": "Bird", "score": 0.8, "ranges": [[1.0, 2.5]], "above": ["Animal"], "implied": True},
            {"event": "Animal", "score": 0.8, "ranges": [[1.0, 2.5]], "above": [], "implied": True},
        ]
    )
    assert [line.strip("│└├─ ") for line in lines] == [
        "Animal 0.80 1.0-2.5 s",
        "Bird 0.80 1.0-2.5 s",
        "Owl 0.80 1.0-2.5 s",
        "Wind 0.50 0.0-9.0 s",
    ]


def test_documents_of_before_and_strange_names_are_drawn_too() -> None:
    many = [[float(start), start + 0.5] for start in range(9)]
    assert drawn([{"event": "[bold]", "score": 0.5, "ranges": many}]) == [
        "[bold] 0.50 0.0-0.5, 1.0-1.5, 2.0-2.5, 3.0-3.5, ... s"
    ]
