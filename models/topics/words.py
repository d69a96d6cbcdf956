"""What the author's own words say of the topics.

Authors lie, copy fashionable hashtags and tag for reach, so words are weak: they carry a modest, stated weight, and the
more topics one author claims the less each claim is worth.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from .taxonomy import Taxonomy, folded_words, hashtag_key

HASHTAG_WEIGHT = 0.4
"""Chance granted to a topic that the author's hashtag names and no picture contradicts. A stated prior, not fitted: the
corpus has no authors. To be fitted on the store's labels."""
CAPTION_WEIGHT = 0.2
"""The same for a word in the caption: words have other meanings, so alone they never carry a topic."""
CLAIMS_BELIEVED = 3
"""Topics that hashtags may name at full weight; beyond, the weight is shared among all that are named."""
MAX_WORDS = 2_000
"""Words of a caption that are read."""

_CAPTION_HASHTAG = re.compile(r"[#＃]([^\s#＃]{1,100})")


@dataclass(frozen=True)
class Claim:
    """One topic that the words name."""

    weight: float
    sources: tuple[str, ...]
    """`hashtag`, `caption` or both, in this order."""


def claims(taxonomy: Taxonomy, caption: str, hashtags: Sequence[str]) -> Mapping[str, Claim]:
    """Claimed topics by id, in the taxonomy's order. Hashtags inside the caption count as hashtags."""
    tags = [*hashtags, *_CAPTION_HASHTAG.findall(caption)]
    tagged = {found for tag in tags if (found := taxonomy.by_hashtag.get(hashtag_key(tag)))}
    written = phrases(taxonomy, _CAPTION_HASHTAG.sub(" ", caption))
    # A child's claim says its parent too: naming both is one claim, not two.
    parents = {found.rpartition("/")[0] for found in tagged}
    count = len(tagged - parents)
    weight = HASHTAG_WEIGHT * min(1.0, CLAIMS_BELIEVED / count) if count else 0.0
    result = {}
    for topic in sorted(tagged | written, key=taxonomy.index.__getitem__):
        sources = tuple(name for name, found in (("hashtag", tagged), ("caption", written)) if topic in found)
        parts = [weight if name == "hashtag" else CAPTION_WEIGHT for name in sources]
        result[topic] = Claim(max(parts), sources)
    return result


def phrases(taxonomy: Taxonomy, text: str) -> set[str]:
    """Topics that words or phrases of a text name."""
    words = folded_words(text)[:MAX_WORDS]
    found, at = set(), 0
    while at < len(words):
        for length in range(min(taxonomy.longest_phrase, len(words) - at), 0, -1):
            topic = taxonomy.by_phrase.get(tuple(words[at : at + length]))
            if topic is not None:
                found.add(topic)
                at += length
                break
        else:
            at += 1
    return found
