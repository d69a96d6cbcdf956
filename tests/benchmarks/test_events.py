from pathlib import Path

import numpy as np

from benchmarks.events import figures, listen, missed_table
from benchmarks.truths import Item
from models.protocol import Encoding, Evidence
from models.sounds.audioset import class_names
from models.sounds.events import EventsTagger
from models.sounds.yamnet import HOP_S, SoundEncoder


def example(name: str, accept: tuple[str, ...], **scores: float) -> tuple[Item, Evidence]:
    names = list(class_names())
    row = np.zeros((2, len(names)), np.float32)
    for label, score in scores.items():
        row[:, names.index(label)] = score
    encoding = Encoding(SoundEncoder.version, np.array([0.0, HOP_S]), HOP_S, np.zeros((2, 0), np.float32), row)
    blank = np.zeros((0, 0, 0, 3), np.uint8)
    evidence = Evidence(
        1.44, blank, np.zeros(0), [], np.zeros(0, np.float32), has_audio=True, encodings={"yamnet": encoding}
    )
    return Item("s", "f", name, Path(name), accept, "dev"), evidence


def test_right_among_the_first_five() -> None:
    heard = listen(
        EventsTagger(),
        [
            example("dog", ("Dog", "Bark"), Animal=0.9, Bark=0.8),
            example("cat", ("Cat",), Animal=0.9, Music=0.8),
            example("owl", ("Owl",), Owl=0.01),
        ],
    )
    assert [one.right for one in heard] == [True, False, False]
    assert heard[2].tagged == () and heard[2].right_scored
    seen = figures(heard)
    assert seen["effects"] == 3 and seen["spoken"] == 2
    assert seen["right_in_first_5"] == 0.3333 and seen["right_in_first_5_where_any"] == 0.5
    assert [one.coarse for one in heard] == [True, False, False], (
        "Animal is two classes above Cat: it would fit anything"
    )
    assert "f/cat" in missed_table(heard) and "f/dog" not in missed_table(heard)
