import pytest

from models.topics.taxonomy import load_taxonomy
from models.topics.words import CAPTION_WEIGHT, CLAIMS_BELIEVED, HASHTAG_WEIGHT, claims


@pytest.fixture(scope="module")
def taxonomy():
    return load_taxonomy()


def test_a_hashtag_claims_its_topic(taxonomy):
    found = claims(taxonomy, "", ["CatsOfTikTok"])
    assert {topic: claim.sources for topic, claim in found.items()} == {"animals/cat": ("hashtag",)}
    assert found["animals/cat"].weight == HASHTAG_WEIGHT


def test_italian_words_and_accents(taxonomy):
    assert list(claims(taxonomy, "Il mio GATTO beve il caffe", [])) == ["animals/cat", "food/coffee_tea"]


def test_a_caption_word_is_weaker_than_a_hashtag_and_both_are_named(taxonomy):
    assert claims(taxonomy, "my dog", [])["animals/dog"].weight == CAPTION_WEIGHT < HASHTAG_WEIGHT
    assert claims(taxonomy, "my dog #dogsoftiktok", [])["animals/dog"].sources == ("hashtag", "caption")


def test_the_longest_phrase_wins(taxonomy):
    # "hot dog" is food, not an animal.
    assert list(claims(taxonomy, "best hot dog in town", [])) == ["food/fast_food"]


def test_words_inside_words_do_not_count(taxonomy):
    assert not claims(taxonomy, "category concatenate education4all", [])


def test_a_wall_of_hashtags_is_worth_little(taxonomy):
    tags = ["cat", "dog", "pizza", "guitar", "beach", "soccer", "nba", "golf", "wedding", "mountain", "car", "train"]
    found = claims(taxonomy, "", tags)
    assert len(found) == len(tags)
    assert all(claim.weight == pytest.approx(HASHTAG_WEIGHT * CLAIMS_BELIEVED / len(tags)) for claim in found.values())


def test_naming_a_parent_with_its_child_is_one_claim(taxonomy):
    found = claims(taxonomy, "", ["animals", "cat", "pizza", "guitar"])
    assert found["animals/cat"].weight == HASHTAG_WEIGHT


@pytest.mark.parametrize(
    "caption", ["", "\x00", "#" * 5000, "# # #", "🐈" * 3000, "\u202etac", "a" * 10_000, "x " * 5_000]
)
def test_hostile_captions_claim_nothing(taxonomy, caption):
    assert not claims(taxonomy, caption, [caption[:100]])
