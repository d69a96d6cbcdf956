"""Topics that a trained version adds to the published taxonomy: carried in the version's own folder.

A document: {"format": 1, "extends": "taxonomy@1", "topics": [{"id", "names": {"en", "it"}, "words", "hashtags"}]}. What
is added can be seen by the head that came with it, so no ImageNet class has to mean it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from .taxonomy import ID_FORM, LANGUAGES, Taxonomy, TaxonomyError, Topic, hashtag_key

FORMAT = 1
"""1: first version."""


def extend(taxonomy: Taxonomy, document: Mapping[str, Any]) -> Taxonomy:
    """The taxonomy with the document's topics at its end. Its version stays: published topics are as they were.

    Raises:
        TaxonomyError: the document is of another format or taxonomy, or its topics contradict themselves or the
            taxonomy; the message names every fault.
    """
    if document.get("format") != FORMAT:
        raise TaxonomyError(f"further topics have format {document.get('format')}, this program reads {FORMAT}")
    if document.get("extends") != taxonomy.version:
        raise TaxonomyError(f"further topics are for {document.get('extends')}, not for {taxonomy.version}")
    known, words = set(taxonomy.index), dict(taxonomy.by_hashtag)
    faults, added = [], []
    for entry in document.get("topics", ()):
        try:
            topic = Topic(
                id=entry["id"],
                names=dict(entry["names"]),
                evidence=("picture", "hashtag"),
                words=tuple(entry.get("words", ())),
                hashtags=tuple(entry.get("hashtags", ())),
                classes=(),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise TaxonomyError(f"topic {entry!r} cannot be read: {error!r}") from error
        where = f"topic {topic.id!r}"
        if not ID_FORM.fullmatch(topic.id):
            faults.append(f"{where}: id is not of the form parent/child")
        if topic.id in known:
            faults.append(f"{where}: is there already")
        if topic.parent is not None and topic.parent not in known:
            faults.append(f"{where}: its parent {topic.parent!r} is no topic; add it too, before it")
        faults += [f"{where}: no name in {language!r}" for language in LANGUAGES if not topic.names.get(language)]
        for word in (*topic.words, *topic.hashtags):
            if (owner := words.setdefault(hashtag_key(word), topic.id)) != topic.id:
                faults.append(f"{where}: word {word!r} already supports {owner!r}")
        known.add(topic.id)
        added.append(topic)
    if faults:
        raise TaxonomyError("; ".join(faults))
    return replace(taxonomy, topics=(*taxonomy.topics, *added))


def extension_for(
    taxonomy: Taxonomy, labels: Sequence[str], given: Sequence[Mapping[str, Any]] = ()
) -> dict[str, Any] | None:
    """The document for those of `labels` that the taxonomy lacks; None: it has them all.

    Args:
        taxonomy: the published one.
        labels: that a head is trained on.
        given: entries that a person wrote; a topic without one, and its parent, are named after their id.

    Raises:
        TaxonomyError: as `extend`.
    """
    written = {entry["id"]: dict(entry) for entry in given if "id" in entry}
    wanted: dict[str, dict[str, Any]] = {}
    for label in labels:
        parent = label.rpartition("/")[0]
        for topic in (parent, label) if parent else (label,):
            if topic not in taxonomy.index and topic not in wanted:
                wanted[topic] = written.get(topic) or _named(taxonomy, topic)
    if not wanted:
        return None
    document = {"format": FORMAT, "extends": taxonomy.version, "topics": list(wanted.values())}
    extend(taxonomy, document)
    return document


def _named(taxonomy: Taxonomy, topic: str) -> dict[str, Any]:
    plain = topic.rpartition("/")[2].replace("_", " ")
    free = hashtag_key(plain) not in taxonomy.by_hashtag
    return {
        "id": topic,
        "names": dict.fromkeys(LANGUAGES, plain.capitalize()),
        "words": [plain] if free else [],
        "hashtags": [],
    }
