from pathlib import Path

import pytest

from benchmarks.plots import confusion_plot, reliability_plot, topics_plot
from benchmarks.topics import (
    Answer,
    acceptable,
    bars,
    by_topic,
    confusion_matrix,
    confusions,
    expected_calibration_error,
    figures,
    mean_f1,
)
from benchmarks.truths import Item
from models.topics.taxonomy import load_taxonomy


def item(name: str, *accept: str) -> Item:
    return Item("s", "folder", name, Path(name), accept, "dev")


GIVEN = [
    Answer(item("a", "animals/cat"), ("animals/cat",), (0.9,)),
    Answer(item("b", "animals/cat"), ("animals",), (0.7,)),
    Answer(item("c", "animals/cat"), ("animals/dog", "animals/cat"), (0.8, 0.5)),
    Answer(item("d", "animals/dog"), (), ()),
    Answer(item("e"), ("home/kitchen",), (0.6,)),
]


def test_a_parent_is_right_and_not_exact():
    assert acceptable(GIVEN[0].item) == {"animals/cat", "animals"}
    assert [(answer.right, answer.exact) for answer in GIVEN] == [
        (True, True),
        (True, False),
        (False, False),
        (False, False),
        (False, False),
    ]


def test_figures():
    seen = figures(GIVEN)
    assert seen["clips"] == 5 and seen["coverage"] == 0.8
    assert seen["precision_first"] == 0.5 and seen["precision_first_exact"] == 0.25
    assert seen["precision_all"] == 0.6
    nothing = figures([GIVEN[3]])
    assert nothing["precision_first"] is None and nothing["coverage"] == 0.0


def test_confusions_name_the_truth_and_what_was_said():
    assert confusions(GIVEN) == [("(none)", "home/kitchen", 1), ("animals/cat", "animals/dog", 1)]


def test_by_topic_and_f1():
    taxonomy = load_taxonomy()
    rows = {row["topic"]: row for row in by_topic(GIVEN, taxonomy)}
    assert rows["animals/cat"]["recall"] == pytest.approx(0.3333) and rows["animals/cat"]["precision"] == 1.0
    assert rows["animals/dog"]["precision"] == 0.0 and rows["animals/dog"]["recall"] == 0.0
    assert mean_f1(GIVEN, taxonomy) == (pytest.approx(2 * 2 / (2 * 2 + 0 + 1)), 1)


def test_calibration_error_is_the_distance_from_the_truth():
    assert expected_calibration_error([(0.75, True)] * 3 + [(0.75, False)]) == pytest.approx(0.0)
    assert expected_calibration_error([(0.95, False)] * 10) == pytest.approx(0.95)
    assert expected_calibration_error([]) is None


def test_bars_and_the_confusion_matrix():
    assert confusion_matrix(GIVEN) == {
        ("animals", "animals"): 3,
        ("animals", "-"): 1,
        ("-", "home"): 1,
    }
    seen = {"precision_first": 0.95, "coverage": 0.8, "mean_f1": None, "topics_tested": 0, "ece_first": 0.02}
    rows = bars({"test": {"topics": seen}, "both": {"topics": seen}})
    assert [row.met for row in rows] == [True, False, False, True] * 2


def test_plots_are_well_formed_and_the_same_every_time():
    from xml.etree import ElementTree

    one = reliability_plot([(0.5, 0.6, 3), (0.9, 1.0, 5)])
    assert one == reliability_plot([(0.5, 0.6, 3), (0.9, 1.0, 5)])
    assert one.count("<circle") == 2
    other = topics_plot([{"topic": "a<b", "said": 1, "precision": 1.0, "clips": 2, "recall": None}])
    matrix = confusion_plot({("a<b", "a<b"): 3, ("a<b", "-"): 1})
    assert matrix == confusion_plot({("a<b", "-"): 1, ("a<b", "a<b"): 3})
    for text in (one, other, matrix):
        ElementTree.fromstring(text)
