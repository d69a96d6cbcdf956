from __future__ import annotations

from typing import Any

import pytest

from store.decisions import machine_body, overlay, section_tags


def body(*topics: str, events: tuple[str, ...] = ()) -> dict[str, Any]:
    said = [{"topic": topic, "score": 0.6, "ranges": [[0.0, 1.0]], "from": ["picture"]} for topic in topics]
    heard = [{"event": event, "score": 0.5, "ranges": []} for event in events]
    diversity = {"topic": topics[0] if topics else None, "sound": "s_1"}
    return {"outcome": "ok", "models": {"topics": "net@1"}, "topics": said, "events": heard, "diversity": diversity}


def topics(*decisions: tuple[str, str]) -> dict[tuple[str, str], str]:
    return {("topics", tag): decision for tag, decision in decisions}


def said(document: dict[str, Any]) -> list[str]:
    return [topic["topic"] for topic in document["topics"]]


@pytest.mark.parametrize(
    ("machine", "decisions", "expected"),
    [
        (("animals/cat", "food"), [("animals/cat", "reject")], ["food"]),
        (("animals/cat", "food"), [("food", "confirm")], ["food", "animals/cat"]),
        (("food",), [("animals/cat", "add")], ["animals/cat", "food"]),
        (("animals/cat", "animals/dog"), [("animals", "reject")], []),
        (("animals/cat", "animals/dog"), [("animals", "reject"), ("animals/cat", "confirm")], ["animals/cat"]),
        (("animals",), [("animals/cat", "add")], ["animals/cat"]),
        (("animals",), [("animals/cat", "add"), ("animals", "confirm")], ["animals", "animals/cat"]),
        (("animals",), [("animals/cat", "reject")], ["animals"]),
        (("animals_x/cat",), [("animals", "reject")], ["animals_x/cat"]),
        (("food",), [("food", "withdraw")], ["food"]),
        ((), [("food", "reject")], []),
    ],
)
def test_human_beats_machine(machine, decisions, expected) -> None:
    document, _ = overlay(body(*machine), topics(*decisions))
    assert said(document) == expected
    assert document["diversity"] == {"topic": expected[0] if expected else None, "sound": "s_1"}


def test_a_confirmed_tag_is_certain_and_keeps_the_machines_ranges() -> None:
    document, machine = overlay(body("food"), topics(("food", "confirm"), ("travel", "add")))
    assert document["topics"] == [
        {"topic": "food", "score": 1.0, "ranges": [[0.0, 1.0]], "from": ["picture", "human"]},
        {"topic": "travel", "score": 1.0, "ranges": [], "from": ["human"]},
    ]
    assert machine == {"topics": body("food")["topics"]}
    assert [(row["tag"], row["version"]) for row in section_tags(document, body("food"))] == [
        ("food", "net@1"),
        ("travel", "human"),
    ]


def test_events_are_decided_on_by_themselves() -> None:
    document, _ = overlay(body("food", events=("Dog", "Bark")), {("events", "Dog"): "reject", ("events", "Cat"): "add"})
    assert [event["event"] for event in document["events"]] == ["Cat", "Bark"]
    assert document["events"][0] == {"event": "Cat", "score": 1.0, "ranges": []}
    assert said(document) == ["food"]


def test_the_machines_words_come_back_whole() -> None:
    machine_said = body("animals/cat", "food", events=("Dog",))
    document, machine = overlay(machine_said, topics(("animals/cat", "reject"), ("travel", "add")))
    assert machine_body(document, machine) == machine_said
    assert overlay(machine_said, {}) == (machine_said, None)
