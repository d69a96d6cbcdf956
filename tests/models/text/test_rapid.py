import importlib.util

import cv2
import numpy as np
import pytest

from models.protocol import Encoder, Evidence, Tagger
from models.text import rapid
from models.text.rapid import TextEncoder, TextReaderMissing
from models.text.tagger import TextTagger
from tasks.contract import ReadText

if not rapid.installed():
    pytest.skip("the extra tagfarm[text] is not installed", allow_module_level=True)


@pytest.fixture(scope="module")
def encoder():
    made = TextEncoder()
    yield made
    made.close()


def frame(text: str, y: int = 100) -> np.ndarray:
    random = np.random.default_rng(1)
    picture = cv2.GaussianBlur(random.integers(60, 120, (528, 297, 3)).astype(np.uint8), (0, 0), 5)
    if text:
        cv2.putText(picture, text, (20, y), cv2.FONT_HERSHEY_DUPLEX, 0.8, (255, 255, 255), 2, cv2.LINE_AA)
    return picture


def evidence(frames: list[np.ndarray], step_s: float = 3.0) -> Evidence:
    stack = np.stack(frames) if frames else np.zeros((0, 1, 1, 3), np.uint8)
    total = step_s * len(frames)
    return Evidence(total, stack, np.arange(len(frames)) * step_s, [(0.0, total)], np.zeros(0, np.float32))


def test_lines_are_read_and_have_their_ranges(encoder):
    assert isinstance(encoder, Encoder)
    seen = evidence([frame("wait for it"), frame("wait for it"), frame(""), frame("part 2", 400)])
    encoding = encoder.encode(seen)
    seen = Evidence(**{**vars(seen), "encodings": {"text": encoding}})
    assert isinstance(TextTagger(), Tagger)
    section = TextTagger().tag(seen)
    assert [(one["text"], one["ranges"]) for one in section] == [
        ("wait for it", [[0.0, 4.5]]),
        ("part 2", [[7.5, 12.0]]),
    ]
    left, top, right, bottom = section[0]["box"]
    assert left < 0.15 and right > 0.4 and 0.1 < top < bottom < 0.25
    assert all(ReadText.model_validate(one).score > 0.8 for one in section)
    assert (encoding.scores[:, 0] > 0).tolist() == [True, True, False, True]
    assert seen.texts == encoding.lines


@pytest.mark.parametrize("shape", [(528, 297), (8, 300), (16, 16), (1, 1)])
def test_nothing_to_read(encoder, shape):
    assert encoder.encode(evidence([np.full((*shape, 3), 90, np.uint8)])).lines == ()


def test_no_frames(encoder):
    encoding = encoder.encode(evidence([]))
    assert encoding.lines == () and encoding.scores.shape == (0, 1)


def test_without_the_extra_it_says_what_to_install(monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name == "rapidocr" else find(name, *rest)
    )
    with pytest.raises(TextReaderMissing, match=r"pip install 'tagfarm\[text\]'"):
        TextEncoder()
