"""Who speaks of an upload: by alias, by a stable share, and never two at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from models.protocol import Encoding, Evidence
from tasks.lineup import Lineup, bucket, shadow_rows


@dataclass(frozen=True)
class Says:
    """A tagger that says its own version."""

    version: str
    name: str = "topics"
    section: str = "topics"
    encoders: tuple[str, ...] = ("picture",)
    fails: bool = False

    def tag(self, evidence: Evidence) -> Any:
        if self.fails:
            raise RuntimeError("no")
        return [self.version]


PACKAGED, CHAMPION, CHALLENGER, EVENTS = Says("packaged"), Says("one"), Says("two"), Says("e", "events", "events")
IDS = [f"upload-{number}" for number in range(4000)]


def test_without_versions_the_packaged_taggers_speak() -> None:
    speakers = Lineup().speakers("u1", [PACKAGED, EVENTS], {"music": "no weights"})
    assert speakers.taggers == (PACKAGED, EVENTS)
    assert speakers.absent == {"music": "no weights"}


def test_a_champion_takes_the_packaged_taggers_place() -> None:
    lineup = Lineup({"topics": CHAMPION})
    assert lineup.speakers("u1", [PACKAGED, EVENTS], {}).taggers == (CHAMPION, EVENTS)


def test_a_challenger_speaks_of_its_share_and_always_of_the_same_uploads() -> None:
    def speaks(share: float) -> set[str]:
        lineup = Lineup({"topics": CHAMPION}, {"topics": (CHALLENGER, share)})
        return {one for one in IDS if lineup.speakers(one, [PACKAGED], {}).taggers == (CHALLENGER,)}

    tenth, fifth = speaks(0.1), speaks(0.2)
    assert abs(len(tenth) / len(IDS) - 0.1) < 0.02
    assert tenth == speaks(0.1)
    assert tenth < fifth, "a greater share keeps who was in the smaller one"
    assert speaks(1.0) == set(IDS)


def test_a_share_is_the_same_on_every_machine_and_for_ever() -> None:
    assert round(bucket("canary topics", "u1"), 6) == 0.479392
    assert bucket("canary topics", "u1") != bucket("shadow topics", "u1")


def test_a_shadow_watches_and_does_not_speak() -> None:
    lineup = Lineup(shadows={"topics": (CHALLENGER, 0.5)})
    watched = [one for one in IDS if lineup.speakers(one, [PACKAGED], {}).shadows]
    assert abs(len(watched) / len(IDS) - 0.5) < 0.04
    assert all(lineup.speakers(one, [PACKAGED], {}).taggers == (PACKAGED,) for one in watched)


def test_a_champion_that_cannot_be_loaded_is_absent_and_not_replaced() -> None:
    speakers = Lineup(broken={"topics": "damaged"}).speakers("u1", [PACKAGED, EVENTS], {})
    assert speakers.taggers == (EVENTS,)
    assert speakers.absent == {"topics": "damaged"}


def test_a_shadow_that_fails_costs_nothing() -> None:
    rows = np.zeros((1, 2), np.float32)
    evidence = Evidence(
        1.0, rows, np.zeros(1), [], rows, encodings={"picture": Encoding("net@1", np.zeros(1), 1.0, rows, rows)}
    )  # type: ignore[arg-type]
    speakers = Lineup(shadows={"topics": (CHALLENGER, 1.0)}).speakers("u1", [PACKAGED], {})
    (row,) = shadow_rows(speakers, evidence, {"topics": ["packaged"]}, {"topics": "packaged"})
    assert (row.version, row.published_version, row.section, row.published) == (
        "two",
        "packaged",
        ["two"],
        ["packaged"],
    )
    failing = Lineup(shadows={"topics": (Says("bad", fails=True), 1.0)}).speakers("u1", [PACKAGED], {})
    assert shadow_rows(failing, evidence, {"topics": []}, {"topics": "packaged"}) == []
    assert shadow_rows(speakers, evidence, {}, {}) == [], "what did not speak has no shadow"


@dataclass(frozen=True)
class Encodes:
    """An encoder by name."""

    name: str


def test_an_encoder_comes_and_goes_with_the_version_that_brings_it() -> None:
    @dataclass(frozen=True)
    class Brings(Says):
        own_encoders: Any = None

    own, other = Encodes("picture-topics-3"), Encodes("picture-topics-4")
    champion = Brings("three", encoders=("picture", own.name), own_encoders={own.name: own})
    shadow = Brings("four", encoders=("picture", other.name), own_encoders={other.name: other})
    shared: Any = {"picture": Encodes("picture")}
    speakers = Lineup({"topics": champion}, shadows={"topics": (shadow, 1.0)}).speakers("u1", [PACKAGED], {})
    assert set(speakers.encoders(shared)) == {"picture", own.name, other.name}
    assert set(Lineup().speakers("u1", [PACKAGED], {}).encoders(shared)) == {"picture"}
