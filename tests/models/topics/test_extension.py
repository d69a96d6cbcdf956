from __future__ import annotations

import pytest

from models.topics.extension import extend, extension_for
from models.topics.taxonomy import TaxonomyError, load_taxonomy
from models.topics.words import claims


def test_a_new_topic_joins_at_the_end_and_nothing_else_moves() -> None:
    base = load_taxonomy()
    document = extension_for(base, ["animals/cat", "hobbies_new/kite_flying"])
    assert document is not None
    assert [topic["id"] for topic in document["topics"]] == ["hobbies_new", "hobbies_new/kite_flying"]
    wider = extend(base, document)
    assert wider.topics[: len(base.topics)] == base.topics
    assert wider.version == base.version
    assert (wider.matrix[:, : len(base.topics)] == base.matrix).all()
    assert wider.matrix[:, len(base.topics) :].sum() == 0
    assert wider.topics[-1].names == {"en": "Kite flying", "it": "Kite flying"}
    assert "hobbies_new/kite_flying" in claims(wider, "", ["kiteflying"])


def test_what_the_taxonomy_has_needs_no_extension() -> None:
    assert extension_for(load_taxonomy(), ["animals/cat"]) is None


def test_a_persons_own_names_are_taken() -> None:
    entry = {"id": "animals/tardigrade", "names": {"en": "Tardigrades", "it": "Tardigradi"}, "words": ["tardigrade"]}
    document = extension_for(load_taxonomy(), ["animals/tardigrade"], [entry])
    assert document is not None
    assert document["topics"] == [entry]


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"id": "animals/cat"}, "there already"),
        ({"id": "Animals/Tardigrade"}, "form"),
        ({"id": "nowhere/tardigrade"}, "parent"),
        ({"names": {"en": "Tardigrades"}}, "no name in 'it'"),
        ({"words": ["cat"]}, "already supports"),
    ],
)
def test_one_that_contradicts_the_taxonomy_is_refused(change: dict, fault: str) -> None:
    entry = {"id": "animals/tardigrade", "names": {"en": "Tardigrades", "it": "Tardigradi"}, **change}
    document = {"format": 1, "extends": "taxonomy@1", "topics": [entry]}
    with pytest.raises(TaxonomyError, match=fault):
        extend(load_taxonomy(), document)


@pytest.mark.parametrize("change", [{"format": 2}, {"extends": "taxonomy@2"}])
def test_another_format_or_taxonomy_is_refused(change: dict) -> None:
    with pytest.raises(TaxonomyError, match="2"):
        extend(load_taxonomy(), {"format": 1, "extends": "taxonomy@1", "topics": [], **change})
