from pathlib import Path

import numpy as np
import pytest

from benchmarks.plots import reliability_plot, topics_plot
from benchmarks.topics import (
    Answer,
    acceptable,
    by_topic,
    confusions,
    expected_calibration_error,
    figures,
    fit,
    mean_f1,
    write_calibration,
)
from benchmarks.truths import Item
from models.protocol import Encoding, Evidence
from models.topics.calibration import load_calibration
from models.topics.taxonomy import load_taxonomy

ENCODER = "efficientnet-lite2@1"


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


def test_the_fit_brings_an_overconfident_network_to_the_truth(tmp_path):
    """Says 0.95 of the class and is right in three of five: the fitted score must come near to 0.6."""
    taxonomy = load_taxonomy()
    examples = []
    for number in range(50):
        accept = "animals/cat" if number % 5 < 3 else "food/fruit"
        scores = np.zeros((2, 1000), np.float32)
        scores[:, 281], scores[:, 916] = 0.95, 0.05
        encoding = Encoding(ENCODER, np.array([0.0, 0.5]), 0.5, np.zeros((2, 0), np.float32), scores)
        blank = np.zeros((0, 0, 0, 3), np.uint8)
        evidence = Evidence(1.0, blank, encoding.times_s, [], np.zeros(0, np.float32), encodings={"picture": encoding})
        examples.append((item(f"{number}", accept), evidence))
    found = fit(examples, taxonomy, ENCODER)
    pooled = found.cool(examples[0][1].encodings["picture"].scores) @ taxonomy.matrix
    score = found.scores(pooled, taxonomy.parents >= 0)[0, taxonomy.index["animals/cat"]]
    assert score == pytest.approx(0.6, abs=0.07)
    write_calibration(found, tmp_path / "calibration.toml", 50)
    read = load_calibration(tmp_path / "calibration.toml")
    assert read.temperature == pytest.approx(found.temperature, abs=1e-4) and read.threshold == found.threshold


def test_plots_are_well_formed_and_the_same_every_time():
    from xml.etree import ElementTree

    one = reliability_plot([(0.5, 0.6, 3), (0.9, 1.0, 5)])
    assert one == reliability_plot([(0.5, 0.6, 3), (0.9, 1.0, 5)])
    assert one.count("<circle") == 2
    other = topics_plot([{"topic": "a<b", "said": 1, "precision": 1.0, "clips": 2, "recall": None}])
    for text in (one, other):
        ElementTree.fromstring(text)
