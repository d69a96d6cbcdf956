"""What a shadow would have published otherwise than what was published: counts by label, and examples."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

from store.store import Compared, Store

KEYS = {"topics": "topic", "events": "event"}
"""What a tag is called in a section."""
QUALITY_APART = 0.1
"""Quality's scores that are further apart than this disagree."""


@dataclass(frozen=True)
class Example:
    """One upload on which they disagree."""

    upload_id: str
    at: str
    added: dict[str, float]
    """Label to score: only the shadow says it."""
    lost: dict[str, float]
    """Label to score: only what was published says it."""

    @property
    def weight(self) -> float:
        """How sure they are of what they disagree on."""
        return max((*self.added.values(), *self.lost.values()), default=0.0)


@dataclass(frozen=True)
class Disagreement:
    """A shadow beside what was published."""

    tagger: str
    version: str
    published_versions: dict[str, int]
    uploads: int
    agreed: int
    """Uploads on which both say the same labels."""
    both: dict[str, int]
    """By label: uploads of which both say it."""
    added: dict[str, int]
    lost: dict[str, int]
    unknown: int
    """Uploads of which the shadow says nothing."""
    published_unknown: int
    examples: list[Example] = field(default_factory=list)
    """The surest first."""

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)


def report(store: Store, tagger: str, version: str | None = None, examples: int = 10) -> list[Disagreement]:
    """One report for each version that has shadowed this tagger, the one that spoke last first."""
    by_version: dict[str, list[Compared]] = {}
    for answer in store.shadow_answers(tagger, version):
        by_version.setdefault(answer.row.version, []).append(answer)
    return [_compare(tagger, name, answers, examples) for name, answers in by_version.items()]


def _compare(tagger: str, version: str, answers: Iterable[Compared], most: int) -> Disagreement:
    both: Counter[str] = Counter()
    added: Counter[str] = Counter()
    lost: Counter[str] = Counter()
    published: Counter[str] = Counter()
    found: list[Example] = []
    uploads = agreed = unknown = published_unknown = 0
    for answer in answers:
        mine, theirs = labels(tagger, answer.row.section), labels(tagger, answer.row.published)
        uploads += 1
        published[answer.row.published_version] += 1
        unknown += not mine
        published_unknown += not theirs
        more = {label: score for label, score in mine.items() if label not in theirs}
        less = {label: score for label, score in theirs.items() if label not in mine}
        if tagger == "quality":
            apart = {label for label in mine if label in theirs and abs(mine[label] - theirs[label]) > QUALITY_APART}
            more |= {label: mine[label] for label in apart}
            less |= {label: theirs[label] for label in apart}
        both.update(label for label in mine if label in theirs)
        added.update(more.keys())
        lost.update(less.keys())
        if more or less:
            found.append(Example(answer.upload_id, answer.at.isoformat(), more, less))
        else:
            agreed += 1
    found.sort(key=lambda example: (-example.weight, example.upload_id))
    return Disagreement(
        tagger,
        version,
        dict(published),
        uploads,
        agreed,
        dict(both),
        dict(added),
        dict(lost),
        unknown,
        published_unknown,
        found[:most],
    )


def labels(tagger: str, section: Any) -> dict[str, float]:
    """A section's labels with their scores."""
    if tagger in KEYS:
        return {tag[KEYS[tagger]]: float(tag["score"]) for tag in section or []}
    if not section:
        return {}
    parts = {"score": section["score"], "picture": (section["picture"] or {}).get("score")}
    return {name: float(score) for name, score in parts.items() if score is not None}
