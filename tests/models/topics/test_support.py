"""Objects, faces, sounds and text beside the picture, and the reasons that are given."""

import json
from dataclasses import replace

import numpy as np
import pytest

from models.objects.coco import CLASSES, INDEX
from models.protocol import Encoding, Evidence, TextLine
from models.sounds.audioset import class_names
from models.topics.calibration import Calibration
from models.topics.explain import explain
from models.topics.support import EvidenceMapError, load_map, supports
from models.topics.tagger import TopicsTagger
from models.topics.taxonomy import load_taxonomy

TABBY, WEB_SITE = 281, 916
TIMES = np.arange(8) * 0.5


@pytest.fixture(scope="module")
def tagger() -> TopicsTagger:
    return TopicsTagger(
        load_taxonomy(), Calibration("efficientnet-lite2@1", "taxonomy@1", 1.0, (1.0, 1.0), (0.0, 0.0), (0.6, 0.6))
    )


def encoding(name: str, times, embeddings=None, scores=None, lines=()) -> Encoding:
    count = len(times)
    nothing = np.zeros((count, 0), np.float32)
    return Encoding(name, np.asarray(times), 0.5, nothing if embeddings is None else embeddings, scores, lines)


def picture(tabby: float = 0.0) -> Encoding:
    scores = np.zeros((len(TIMES), 1000), np.float32)
    scores[:, TABBY], scores[:, WEB_SITE] = tabby, 1 - tabby
    return encoding("efficientnet-lite2@1", TIMES, scores=scores)


def objects(times=(0.0, 1.0, 2.0, 3.0), **found: tuple[float, float]) -> Encoding:
    """By COCO class its confidence and area, in every row."""
    rows = np.zeros((len(times), 3 * len(CLASSES)), np.float32)
    for name, (confidence, area) in found.items():
        number = INDEX[name.replace("_", " ")]
        rows[:, number], rows[:, len(CLASSES) + number], rows[:, 2 * len(CLASSES) + number] = confidence, 1, area
    return encoding("yolox-nano@1", times, rows, rows[:, : len(CLASSES)])


def sounds(**heard: float) -> Encoding:
    times = np.arange(8) * 0.48
    scores = np.zeros((8, len(class_names())), np.float32)
    for name, score in heard.items():
        scores[:, class_names().index(name)] = score
    return encoding("yamnet@1", times, scores=scores)


def faces(confidence: float, area: float) -> Encoding:
    rows = np.tile(np.array([[confidence, 1, area]], np.float32), (4, 1))
    return encoding("faces@1", (0.0, 1.0, 2.0, 3.0), rows, rows[:, :1])


def text(*lines: str, area: float = 0.0) -> Encoding:
    read = tuple(TextLine(line, 0.9, ((0.0, 4.0),), (0, 0, 1, 1)) for line in lines)
    return encoding("text@1", (0.0, 2.0), scores=np.full((2, 1), area, np.float32), lines=read)


def upload(**encodings: Encoding) -> Evidence:
    blank = np.zeros((0, 0, 0, 3), np.uint8)
    return Evidence(4.0, blank, TIMES, [(0.0, 4.0)], np.zeros(0, np.float32), encodings=encodings)


def said(tagger: TopicsTagger, **encodings: Encoding) -> dict[str, dict]:
    return {topic["topic"]: topic for topic in tagger.tag(upload(**encodings))}


def test_an_object_that_is_large_and_sure_carries_what_the_picture_does_not_deny(tagger):
    sure = objects(cat=(0.95, 0.2))
    found = said(tagger, picture=picture(0.25), objects=sure)
    assert found["animals/cat"]["from"] == ["picture", "objects"]
    assert found["animals/cat"]["score"] == pytest.approx(1 - 0.75 * (1 - 0.57), abs=0.01)
    assert said(tagger, picture=picture(), objects=sure) == {}
    assert said(tagger, picture=picture(0.25), objects=objects(cat=(0.95, 0.005))) == {}


def test_persons_that_fill_the_picture_carry_their_topic(tagger):
    found = said(tagger, picture=picture(), objects=objects(person=(0.95, 0.5)))
    assert found["people"]["from"] == ["objects"] and found["people"]["ranges"] == [[0.0, 4.0]]
    assert found["people"]["score"] == pytest.approx(0.76, abs=0.01)
    assert said(tagger, picture=picture(), objects=objects(person=(0.95, 0.05))) == {}


def test_picture_and_object_join(tagger):
    alone = said(tagger, picture=picture(0.5))
    both = said(tagger, picture=picture(0.5), objects=objects(cat=(0.6, 0.3)))
    assert alone == {} and both["animals/cat"]["from"] == ["picture", "objects"]
    assert both["animals/cat"]["score"] == pytest.approx(1 - 0.5 * (1 - 0.36), abs=0.01)


def test_an_object_speaks_only_when_it_is_there(tagger):
    rows = objects(cat=(0.95, 0.4))
    rows.embeddings[2:] = 0
    found = said(tagger, picture=picture(0.3), objects=rows)
    (start, end) = found["animals/cat"]["ranges"][0]
    assert start == 0.0 and end < 3.0


def test_a_sound_supports_a_picture_and_never_stands_alone_beside_one(tagger):
    assert said(tagger, picture=picture(), yamnet=sounds(Dog=0.99)) == {}
    found = said(tagger, picture=picture(0.45), yamnet=sounds(Meow=0.9))
    assert found["animals/cat"]["from"] == ["picture", "sound"]


def test_without_a_picture_the_sound_is_the_upload(tagger):
    found = said(tagger, yamnet=sounds(Dog=0.95))
    assert found["animals/dog"]["from"] == ["sound"] and found["animals/dog"]["ranges"] == [[0.0, 4.0]]


def test_a_face_that_fills_the_frame_is_a_portrait_and_one_in_the_crowd_is_not(tagger):
    assert "people/portrait" in said(tagger, picture=picture(), faces=faces(0.95, 0.2))
    assert said(tagger, picture=picture(), faces=faces(0.95, 0.01)) == {}


def test_a_person_that_fills_the_frame_is_people(tagger):
    assert "people" in said(tagger, picture=picture(), objects=objects(person=(0.9, 0.5)))
    assert said(tagger, picture=picture(), objects=objects(person=(0.9, 0.05))) == {}


def test_a_picture_full_of_words_is_text_and_its_words_support(tagger):
    quote = ("be the change that you wish", "to see in the world")
    assert said(tagger, picture=picture(), text=text(*quote, area=0.3))["text"]["from"] == ["text"]
    assert said(tagger, picture=picture(), text=text("STOP", area=0.3)) == {}
    assert said(tagger, picture=picture(0.5), text=text("my cat"))["animals/cat"]["from"] == ["picture", "text"]
    assert said(tagger, picture=picture(), text=text("my cat")) == {}


def test_evidence_only_ever_raises_a_score(tagger):
    table = supports(
        upload(picture=picture(0.3), objects=objects(cat=(0.9, 0.3)), yamnet=sounds(Cat=0.5)),
        tagger.taxonomy,
        tagger.mapping,
    )
    assert set(table) == {"objects", "sound"}
    assert all(((rows >= 0) & (rows < 1)).all() for rows in table.values())
    cat, animals = (tagger.taxonomy.index[topic] for topic in ("animals/cat", "animals"))
    assert (table["objects"][:, animals] >= table["objects"][:, cat]).all()


def test_the_map_is_checked(tagger, tmp_path):
    mapping = load_map(tagger.taxonomy)
    assert mapping.sources_of("music/guitar") == ("sound",)
    assert mapping.sources_of("people") == ("objects", "faces")
    assert mapping.sources_of("animals/dog") == ("objects", "sound")
    path = tmp_path / "evidence.toml"
    path.write_text(
        'version = "evidence@1"\ntaxonomy = "taxonomy@9"\n[weight]\nobjects = 2.0\n'
        '[objects]\nunicorn = "animals"\n[sounds]\nDog = "animals/dragon"\n'
    )
    with pytest.raises(EvidenceMapError) as refused:
        load_map(tagger.taxonomy, path)
    for fault in ("taxonomy@9", "unicorn", "animals/dragon", "weights"):
        assert fault in str(refused.value)


def test_the_reasons_name_what_each_evidence_said(tagger):
    shown = replace(
        upload(picture=picture(0.5), objects=objects(cat=(0.6, 0.3)), faces=faces(0.0, 0.0), yamnet=sounds(Meow=0.4)),
        hashtags=("pizza",),
        shots=[(0.0, 2.0), (2.0, 4.0)],
    )
    why = explain(tagger, shown, top=2)
    assert json.loads(json.dumps(why)) == why == explain(tagger, shown, top=2)
    assert [one["range"] for one in why["ranges"]] == [[0.0, 2.0], [2.0, 4.0]]
    first = why["ranges"][0]
    assert list(first["evidence"]) == ["picture", "objects", "sound"]
    assert all(len(best) <= 2 for best in first["evidence"].values())
    cat = next(entry for entry in first["joined"] if entry["topic"] == "animals/cat")
    assert cat["said"] and cat["score"] >= cat["threshold"] == 0.6
    assert why["words"]["food/fast_food"]["sources"] == ["hashtag"]
    assert why["silent"] == ["faces"]
    assert why["topics"] == tagger.tag(shown)


def test_a_narrower_taxonomy_has_what_of_the_map_it_can_say(tagger):
    whole = load_map(tagger.taxonomy)
    narrow = replace(tagger.taxonomy, topics=tuple(t for t in tagger.taxonomy.topics if t.id != "animals/bird"))
    kept = whole.within(narrow)
    assert set(whole.objects) - set(kept.objects) == {"bird"}
    assert "animals/bird" not in kept.sounds.values() and kept.sounds
    assert TopicsTagger(narrow).mapping == kept
