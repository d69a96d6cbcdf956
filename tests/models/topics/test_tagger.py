import json
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch

from models.protocol import Encoding, Evidence, Tagger
from models.topics.calibration import Calibration, load_calibration
from models.topics.efficientnet import PictureEncoder
from models.topics.head import load_head
from models.topics.tagger import MAX_TOPICS, Finding, TopicsTagger
from models.topics.taxonomy import load_taxonomy
from models.topics.words import HASHTAG_WEIGHT

ENCODER = "efficientnet-lite2@1"
TABBY, PUG, RED_FOX, ESPRESSO, WEB_SITE = 281, 254, 277, 967, 916


@pytest.fixture(scope="module")
def tagger() -> TopicsTagger:
    """With a plain curve: what is tested here must not move with a new fit."""
    plain = Calibration(ENCODER, "taxonomy@1", 1.0, (1.0, 1.0), (0.0, 0.0), (0.5, 0.5))
    return TopicsTagger(load_taxonomy(), plain)


def rows(*frames: dict[int, float]) -> np.ndarray:
    """[n, 1000] probabilities; the rest is left to a class that means no topic."""
    table = np.zeros((len(frames), 1000), np.float32)
    for row, frame in zip(table, frames, strict=True):
        row[WEB_SITE] = 1 - sum(frame.values())
        for number, probability in frame.items():
            row[number] += probability
    return table


def evidence(scores: np.ndarray | None, *, shots=None, caption="", hashtags=(), encoder=ENCODER, duration_s=None):
    count = 0 if scores is None else len(scores)
    duration_s = count * 0.5 if duration_s is None else duration_s
    times = np.arange(count) * 0.5
    encodings = {}
    if scores is not None:
        encodings["picture"] = Encoding(encoder, times, 0.5, np.zeros((count, 0), np.float32), scores)
    return Evidence(
        duration_s=duration_s,
        frames=np.zeros((count, 4, 4, 3), np.uint8),
        frame_times_s=times,
        shots=shots or ([(0.0, duration_s)] if count else []),
        waveform=np.zeros(0, np.float32),
        caption=caption,
        hashtags=hashtags,
        encodings=encodings,
    )


def test_it_keeps_the_protocol(tagger):
    assert isinstance(tagger, Tagger)
    assert tagger.section == "topics" and tagger.encoders == ("picture",)


def test_a_sure_class_is_its_topic_over_the_whole_clip(tagger):
    said = tagger.tag(evidence(rows(*[{TABBY: 0.9}] * 6)))
    assert [topic["topic"] for topic in said] == ["animals/cat"]
    assert said[0]["ranges"] == [[0.0, 3.0]]
    assert said[0]["from"] == ["picture"]
    assert 0.85 < said[0]["score"] <= 1.0


def test_breeds_add_up(tagger):
    said = tagger.tag(evidence(rows(*[dict.fromkeys(range(160, 169), 0.09)] * 4)))
    assert said[0]["topic"] == "animals/dog"


def test_where_children_are_split_their_sure_sum_is_said(tagger):
    said = tagger.tag(evidence(rows(*[{TABBY: 0.3, PUG: 0.3, RED_FOX: 0.3}] * 4)))
    assert [topic["topic"] for topic in said] == ["animals"]


def test_unknown_is_an_empty_list(tagger):
    assert tagger.tag(evidence(rows(*[{}] * 4))) == []
    assert tagger.tag(evidence(np.full((4, 1000), 0.001, np.float32))) == []
    assert tagger.tag(evidence(rows())) == []
    assert tagger.tag(evidence(None)) == []


def test_ranges_follow_the_cut_and_the_longer_topic_comes_first(tagger):
    scores = rows(*[{TABBY: 0.95}] * 3, *[{ESPRESSO: 0.9}] * 7)
    said = tagger.tag(evidence(scores, shots=[(0.0, 1.4), (1.4, 5.0)]))
    assert [(topic["topic"], topic["ranges"]) for topic in said] == [
        ("food/coffee_tea", [[1.4, 5.0]]),
        ("animals/cat", [[0.0, 1.4]]),
    ]


def test_one_odd_frame_in_a_shot_is_smoothed_away(tagger):
    scores = rows(*[{TABBY: 0.9}] * 4, {ESPRESSO: 0.9}, *[{TABBY: 0.9}] * 4)
    said = tagger.tag(evidence(scores))
    assert [topic["topic"] for topic in said] == ["animals/cat"]


def test_a_hashtag_lifts_what_the_picture_half_shows(tagger):
    half = rows(*[{TABBY: 0.35}] * 4)
    assert tagger.tag(evidence(half)) == []
    said = tagger.tag(evidence(half, hashtags=["catsoftiktok"]))
    assert said[0]["topic"] == "animals/cat"
    assert said[0]["from"] == ["picture", "hashtag"] and said[0]["ranges"] == [[0.0, 2.0]]
    assert 0.35 < said[0]["score"] < 0.9


def test_a_hashtag_alone_is_modest_has_no_range_and_comes_after_what_is_seen(tagger):
    said = tagger.tag(evidence(rows(*[{PUG: 0.9}] * 4), hashtags=["cat"]))
    assert [topic["topic"] for topic in said] == ["animals/dog", "animals/cat"]
    assert said[1] == {"topic": "animals/cat", "score": HASHTAG_WEIGHT, "ranges": [], "from": ["hashtag"]}


def test_a_topic_that_cannot_be_seen_is_carried_by_its_hashtag(tagger):
    assert tagger.tag(evidence(None, hashtags=["dancechallenge"]))[0]["topic"] == "people/dance"


def test_a_caption_word_alone_and_a_wall_of_hashtags_carry_nothing(tagger):
    assert tagger.tag(evidence(rows(*[{}] * 4), caption="my cat and dog")) == []
    wall = ["cat", "dog", "pizza", "guitar", "beach", "soccer", "nba", "golf", "wedding", "mountain", "car", "train"]
    assert tagger.tag(evidence(rows(*[{}] * 4), hashtags=wall)) == []


def test_a_childs_hashtag_does_not_take_the_parents_picture_away(tagger):
    said = tagger.tag(evidence(rows(*[{PUG: 0.3, RED_FOX: 0.3, 386: 0.3}] * 4), hashtags=["shark"]))
    assert [topic["topic"] for topic in said] == ["animals", "animals/shark"]


def test_at_most_five(tagger):
    parts = [{TABBY: 0.9}, {ESPRESSO: 0.9}, {970: 0.9}, {817: 0.9}, {402: 0.9}, {620: 0.9}, {985: 0.9}]
    shots = [(number * 1.0, number + 1.0) for number in range(7)]
    said = tagger.tag(evidence(rows(*[part for part in parts for _ in range(2)]), shots=shots))
    assert len(said) == MAX_TOPICS


def test_a_still_picture(tagger):
    said = tagger.tag(evidence(rows({TABBY: 0.9}), duration_s=0.0, shots=[]))
    assert said[0]["topic"] == "animals/cat" and said[0]["ranges"] == [[0.0, 0.0]]


def test_another_encoders_rows_are_refused(tagger):
    with pytest.raises(ValueError, match="calibrated for"):
        tagger.tag(evidence(rows({TABBY: 0.9}), encoder="efficientnet-lite2@2"))


def test_plain_json_and_the_same_every_time(tagger):
    generator = np.random.default_rng(7)
    scores = generator.dirichlet(np.full(1000, 0.002), 40).astype(np.float32)
    first = tagger.tag(evidence(scores, shots=[(0.0, 9.0), (9.0, 20.0)], hashtags=["cat", "pizza"]))
    again = TopicsTagger(tagger.taxonomy, tagger.calibration).tag(
        evidence(scores, shots=[(0.0, 9.0), (9.0, 20.0)], hashtags=["cat", "pizza"])
    )
    assert json.dumps(first) == json.dumps(again)
    for topic in first:
        assert 0 <= topic["score"] <= 1
        assert all(0 <= start <= end <= 20 for start, end in topic["ranges"])


def test_rows_that_are_not_numbers_are_no_topic(tagger):
    """A network that breaks must not turn into a sure answer."""
    scores = rows(*[{TABBY: 0.9}] * 3)
    scores[:] = 0.0
    assert tagger.tag(evidence(scores)) == []


def test_the_fitted_calibration_fits_what_is_shipped():
    fitted, head = load_calibration(), load_head()
    assert fitted.encoder == head.encoder == ENCODER and fitted.taxonomy == load_taxonomy().version
    shown = evidence(rows(*[{TABBY: 0.97}] * 6))
    typical = np.repeat(np.square(head.mean)[None], 6, axis=0)  # an embedding on which the head has no opinion
    picture = replace(shown.encodings["picture"], embeddings=typical)
    assert TopicsTagger().tag(replace(shown, encodings={"picture": picture}))[0]["topic"] == "animals/cat"


def test_a_calibration_of_another_taxonomy_is_refused(tagger):
    other = Calibration(ENCODER, "taxonomy@2", 1.0, (1.0, 1.0), (0.0, 0.0), (0.5, 0.5))
    with pytest.raises(ValueError, match="taxonomy@2"):
        TopicsTagger(tagger.taxonomy, other)


def test_pictures_of_nothing_are_unknown(weights_dir):
    """Through the real network and the fitted calibration: black, white, noise, a gradient, lines of text."""
    generator = np.random.default_rng(0)
    ramp = np.broadcast_to(np.linspace(0, 255, 400).astype(np.uint8)[None, :, None], (297, 400, 3))
    text = np.full((297, 400, 3), 250, np.uint8)
    for line in range(8):
        cv2.putText(text, "the quick brown fox jumps", (8, 30 + 34 * line), 0, 0.8, (20, 20, 20), 2)
    flat = [np.full((297, 400, 3), value, np.uint8) for value in (0, 128, 255)]
    pictures = [*flat, generator.integers(0, 256, (297, 400, 3), dtype=np.uint8), ramp, text]
    encoder = PictureEncoder(weights_dir, device=torch.device("cpu"))
    tagger = TopicsTagger()
    try:
        for picture in pictures:
            shown = Evidence(1.0, picture[None], np.zeros(1), [(0.0, 1.0)], np.zeros(0, np.float32))
            assert tagger.tag(replace(shown, encodings={"picture": encoder.encode(shown)})) == []
    finally:
        encoder.close()


def test_a_child_that_is_not_sure_stands_beside_its_sure_parent_and_nowhere_else():
    plain = Calibration(ENCODER, "taxonomy@1", 1.0, (1.0, 1.0), (0.0, 0.0), (0.7, 0.7), beside=0.3)
    tagger = TopicsTagger(load_taxonomy(), plain)

    def topics(**shares: float) -> list[str]:
        names = {"cat": TABBY, "dog": PUG, "fox": RED_FOX, "coffee": ESPRESSO}
        return [
            topic["topic"]
            for topic in tagger.tag(evidence(rows(*[{names[name]: share for name, share in shares.items()}] * 4)))
        ]

    assert topics(cat=0.5, dog=0.2, fox=0.2) == ["animals", "animals/cat"]
    assert topics(cat=0.5) == []  # its parent is no surer
    assert topics(cat=0.75, dog=0.2) == ["animals/cat"]  # where a child is sure, it speaks for its parent
    assert topics(cat=0.45, dog=0.35, coffee=0.1) == ["animals", "animals/cat", "animals/dog"]


def test_what_is_not_sure_is_never_first():
    guess = Finding("animals/dog", 0.41, 0.9, ((0, 9),), ("picture",), sure=False)
    sure = Finding("animals", 0.76, 0.2, ((3, 5),), ("picture",))
    hashtag = Finding("gaming", HASHTAG_WEIGHT, 0.0, (), ("hashtag",))
    said = TopicsTagger().select([hashtag, guess, sure])
    assert [finding.topic for finding in said] == ["animals", "animals/dog", "gaming"]
