from __future__ import annotations

import pytest

from models.sounds.audioset import class_names
from models.sounds.ontology import above, breadths, closed, parents


def test_every_class_has_its_line_in_the_order_of_the_scores() -> None:
    assert tuple(parents()) == class_names()
    assert {one for right_above in parents().values() for one in right_above} <= set(class_names())


@pytest.mark.parametrize(
    ("name", "implied"),
    [
        ("Dog", ("Domestic animals, pets", "Animal")),
        ("Bark", ("Dog", "Domestic animals, pets", "Animal")),
        ("Owl", ("Bird", "Wild animals", "Animal")),
        ("Cello", ("Bowed string instrument", "Musical instrument", "Music")),
        ("Growling", ("Animal",)),  # of a dog, a cat or a lion
        ("Hiss", ()),  # of a cat, a snake or steam
        ("Animal", ()),
    ],
)
def test_a_class_implies_what_is_above_it(name: str, implied: tuple[str, ...]) -> None:
    assert above(name) == implied


def test_nothing_implies_itself_and_breadth_counts_what_implies_a_class() -> None:
    assert not any(name in above(name) for name in class_names())
    breadth = dict(zip(class_names(), breadths(), strict=True))
    assert breadth["Animal"] > breadth["Bird"] > breadth["Owl"] == 1  # its hoot
    assert sum(breadths()) == sum(len(above(name)) for name in class_names())


def test_closed() -> None:
    assert closed(["Owl"]) == {"Owl", "Bird", "Wild animals", "Animal"}
    assert closed([]) == frozenset()
