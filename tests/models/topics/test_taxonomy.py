import copy
import tomllib

import pytest

from models.topics.efficientnet import imagenet_classes
from models.topics.taxonomy import PUBLISHED, TaxonomyError, fold, hashtag_key, load_taxonomy, parse_taxonomy


@pytest.fixture(scope="module")
def document() -> dict:
    return tomllib.loads(PUBLISHED.read_text(encoding="utf-8"))


def small(**changes) -> dict:
    entries = [
        {"id": "animals", "names": {"en": "Animals", "it": "Animali"}, "evidence": ["picture", "hashtag"]},
        {
            "id": "animals/cat",
            "names": {"en": "Cats", "it": "Gatti"},
            "evidence": ["picture", "hashtag"],
            "words": ["cat"],
            "imagenet": ["281 tabby"],
        },
    ]
    entries[1].update(changes)
    return {"version": "taxonomy@1", "classes": "imagenet-1k", "topic": entries}


def test_the_published_taxonomy_is_large_enough_and_has_two_levels():
    taxonomy = load_taxonomy()
    assert taxonomy.version == "taxonomy@1"
    children = [topic for topic in taxonomy.topics if topic.parent]
    assert len(children) >= 60 and len(taxonomy.topics) - len(children) >= 15
    assert all(topic.id.count("/") <= 1 for topic in taxonomy.topics)


def test_every_class_is_named_as_the_network_has_it(document):
    names = imagenet_classes()
    for entry in document["topic"]:
        for label in entry.get("imagenet", []):
            number, _, name = label.partition(" ")
            assert names[int(number)] == name, f"{entry['id']}: {label}"


def test_what_no_network_can_see_is_marked_so():
    taxonomy = load_taxonomy()
    blind = [topic for topic in taxonomy.topics if topic.evidence == ("hashtag",)]
    assert "people/dance" in {topic.id for topic in blind}
    for topic in blind:
        assert not taxonomy.matrix[:, taxonomy.index[topic.id]].any()
        assert topic.words or topic.hashtags, f"{topic.id} can be supported by nothing"


def test_a_parent_holds_its_children_and_no_class_counts_twice():
    taxonomy = load_taxonomy()
    matrix = taxonomy.matrix
    first = taxonomy.parents < 0
    assert matrix[:, first].sum(axis=1).max() == 1.0
    assert matrix[:, ~first].sum(axis=1).max() == 1.0
    assert matrix[281, taxonomy.index["animals/cat"]] == matrix[281, taxonomy.index["animals"]] == 1.0
    assert not matrix[916].any(), "a web site says nothing"


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"id": "Animals/Cat"}, "form"),
        ({"id": "animals/cat/tabby"}, "form"),
        ({"id": "plants/cat"}, "parent"),
        ({"id": "animals"}, "listed twice"),
        ({"names": {"en": "Cats"}}, "'it'"),
        ({"evidence": ["hashtag"]}, "picture"),
        ({"evidence": ["picture"]}, "hashtag"),
        ({"evidence": ["hashtag", "smell"]}, "evidence"),
        ({"imagenet": ["1000 unicorn"]}, "does not exist"),
        ({"imagenet": ["281 tabby", "281 tabby"]}, "already mapped"),
        ({"imagenet": ["tabby"]}, "topic 'animals/cat': ValueError"),
        ({"words": ["--"]}, "without letters"),
        ({"names": None}, "topic 'animals/cat': TypeError"),
    ],
)
def test_faults_are_refused_and_named(changes, fault):
    with pytest.raises(TaxonomyError, match=fault):
        parse_taxonomy(small(**changes))


def test_the_small_one_is_sound_and_a_word_for_two_topics_is_not():
    assert parse_taxonomy(small()).index == {"animals": 0, "animals/cat": 1}
    twice = copy.deepcopy(small())
    twice["topic"][0]["words"] = ["Cat!"]
    with pytest.raises(TaxonomyError, match="already supports"):
        parse_taxonomy(twice)


@pytest.mark.parametrize(
    "broken", [{}, {"classes": "imagenet-1k"}, {**small(), "topic": ["x"]}, {**small(), "version": "1"}]
)
def test_a_broken_document_is_a_taxonomy_error(broken):
    with pytest.raises(TaxonomyError):
        parse_taxonomy(broken)


def test_not_toml(tmp_path):
    path = tmp_path / "t.toml"
    path.write_text("topic = [")
    with pytest.raises(TaxonomyError, match="TOML"):
        load_taxonomy(path)


@pytest.mark.parametrize(
    ("text", "key"), [("#Caffè", "caffe"), ("Ice Cream", "icecream"), ("ＤＯＧ", "dog"), ("🐶", "")]
)
def test_hashtags_fold(text, key):
    assert hashtag_key(text) == key


def test_folding_keeps_words_apart():
    assert fold("CITTÀ Straße") == "citta strasse"
