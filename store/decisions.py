"""What people decided of an upload's tags, laid over what the machine said. Human beats machine, for ever.

Of a tag's decisions the latest holds. A rejected tag is not said, nor are tags below it (`animals` rejected takes
`animals/cat` with it, unless that was decided on by itself). A confirmed or added one is always said, with score 1,
before what only the machine says; where the machine says it too, its ranges stay.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from sqlalchemy import Connection, select

from store.schema_labels import Label

Decision = Literal["confirm", "reject", "add", "withdraw", "rate"]
DECISIONS: tuple[Decision, ...] = ("confirm", "reject", "add", "withdraw")
"""`withdraw` takes an earlier decision back: the machine's word holds again."""
RATINGS: tuple[Decision, ...] = ("rate", "withdraw")
"""Of amounts: opinions, which differ. Each person's latest one counts, and none is laid over the document."""
RATED: Mapping[str, tuple[str, ...]] = {"quality": ("picture", "score")}
"""Taggers whose amounts people give, and the amounts."""
SECTIONS: Mapping[str, tuple[str, str]] = {"topics": ("topics", "topic"), "events": ("events", "event")}
"""Taggers whose tags people decide on: the document's section, and the key of a tag in it."""
HUMAN = "human"
"""Who spoke, where it was not a tagger: in a topic's `from`, and as the version of a tag's row."""
CERTAIN = 1.0

Decided = Mapping[tuple[str, str], str]
"""By tagger and tag, the decision that holds, in the order in which they were made."""


def decisions_of(connection: Connection, upload_ids: Sequence[str]) -> dict[str, dict[tuple[str, str], str]]:
    """The decisions that hold, of those uploads that have any."""
    rows = (
        select(Label.upload_id, Label.tagger, Label.tag, Label.decision)
        .where(Label.upload_id.in_(upload_ids))
        .order_by(Label.at, Label.label_id)
    )
    found: dict[str, dict[tuple[str, str], str]] = {}
    for upload_id, tagger, tag, decision in connection.execute(rows):
        holding = found.setdefault(upload_id, {})
        holding.pop((tagger, tag), None)
        holding[tagger, tag] = decision
    return found


def overlay(body: Mapping[str, Any], decided: Decided) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """The document with people's decisions in it, and the machine's sections if that changed them.

    Args:
        body: the document as the machine said it.
        decided: the decisions that hold.
    """
    result = dict(body)
    for tagger, (section, key) in SECTIONS.items():
        words = {tag: decision for (of, tag), decision in decided.items() if of == tagger and decision != "withdraw"}
        if words:
            result[section] = _section(body.get(section) or [], key, words)
    if result.get("topics") != body.get("topics"):
        first = result["topics"][0]["topic"] if result["topics"] else None
        result["diversity"] = {**(body.get("diversity") or {}), "topic": first}
    said = {name: body.get(name) for name in result if result[name] != body.get(name)}
    return result, said or None


def machine_body(document: Mapping[str, Any], machine: Mapping[str, Any] | None) -> dict[str, Any]:
    """The document as the machine said it; the reverse of `overlay`."""
    return {**document, **(machine or {})}


def section_tags(body: Mapping[str, Any], said: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Rows of `tags` for the sections that people decide on: `tagger`, `version`, `tag`, `score`, `ranges`.

    Args:
        body: the document, decisions and all.
        said: the document as the machine said it: its tags have the tagger's version, the others `HUMAN`.
    """
    rows = []
    versions = body.get("models") or {}
    for tagger, (section, key) in SECTIONS.items():
        machines = {item[key] for item in said.get(section) or []}
        for item in body.get(section) or []:
            version = versions.get(tagger, HUMAN) if item[key] in machines else HUMAN
            rows.append(
                {
                    "tagger": tagger,
                    "version": version,
                    "tag": item[key],
                    "score": item.get("score", CERTAIN),
                    "ranges": item.get("ranges") or [],
                }
            )
    return rows


def _section(items: Sequence[Mapping[str, Any]], key: str, words: Mapping[str, str]) -> list[dict[str, Any]]:
    certain = [tag for tag, decision in words.items() if decision != "reject"]
    machines = {item[key] for item in items}
    decided = [_certain(item, key) for item in items if item[key] in certain]
    decided += [_certain({key: tag, "ranges": []}, key) for tag in certain if tag not in machines]
    children = {_parent(tag) for tag in certain}
    # A child stands for its parent, as in what the tagger says.
    others = [item for item in items if item[key] not in certain and item[key] not in children]
    return [*decided, *(dict(item) for item in others if not _rejected(item[key], words))]


def _certain(item: Mapping[str, Any], key: str) -> dict[str, Any]:
    made = {key: item[key], "score": CERTAIN, "ranges": item.get("ranges") or []}
    if key == "topic":
        made["from"] = [*(item.get("from") or []), HUMAN]
    return made


def _rejected(tag: str, words: Mapping[str, str]) -> bool:
    above: str | None = tag
    while above is not None:
        if words.get(above) == "reject":
            return True
        above = _parent(above)
    return False


def _parent(tag: str) -> str | None:
    return tag.rpartition("/")[0] or None
