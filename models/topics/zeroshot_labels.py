"""Labels of a zero-shot encoder: a YAML file of topics and prompts, so that a new topic needs no training.

format: 1
background: ["a photo", "a frame of a video"]        # what the labels compete with, for models of CLIP's kind
labels:
  - topic: food/ramen
    names: {en: Ramen, it: Ramen}                     # for a topic that the taxonomy lacks
    prompts: ["a photo of a bowl of ramen", "someone eating ramen"]
    weight: 0.9                                       # the chance granted to a sure answer; 0.9 if left out
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from .extension import extend, extension_for
from .taxonomy import ID_FORM, Taxonomy, TaxonomyError

FORMAT = 1
"""1: first version."""
BACKGROUND = ("a photo", "a picture of something", "a frame of a video")
WEIGHT = 0.9
MOST_LABELS = 1000
MOST_PROMPTS = 64
"""Of one label."""
LONGEST_PROMPT = 300
"""Characters."""


class LabelsError(ValueError):
    """The file cannot be used. The message names it and every fault."""


@dataclass(frozen=True)
class Label:
    """One topic and how it is described."""

    topic: str
    prompts: tuple[str, ...]
    weight: float
    entry: Mapping[str, Any]
    """As written."""


@dataclass(frozen=True)
class Labels:
    """A file of labels."""

    labels: tuple[Label, ...]
    background: tuple[str, ...]

    @cached_property
    def digest(self) -> str:
        """Of all that can change a score, 8 hex digits."""
        said = [[label.topic, label.prompts, label.weight] for label in self.labels]
        return hashlib.sha256(json.dumps([said, self.background]).encode()).hexdigest()[:8]

    def extended(self, taxonomy: Taxonomy) -> Taxonomy:
        """The taxonomy with those topics of the file that it lacks.

        Raises:
            LabelsError: the new topics contradict the taxonomy.
        """
        try:
            document = extension_for(
                taxonomy, [label.topic for label in self.labels], [_topic_entry(label) for label in self.labels]
            )
            return taxonomy if document is None else extend(taxonomy, document)
        except TaxonomyError as error:
            raise LabelsError(str(error)) from error


def load_labels(path: Path) -> Labels:
    """Read and validate a file.

    Raises:
        LabelsError: it is not there, is no YAML, or has faults.
    """
    import yaml  # of the extra `hub`: nodes without labels need it not

    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise LabelsError(f"{path.name}: cannot be read: {error}") from error
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise LabelsError(f"{path.name}: must be a mapping with `format: {FORMAT}`")
    entries, background = document.get("labels"), document.get("background", list(BACKGROUND))
    if not isinstance(entries, list) or not 0 < len(entries) <= MOST_LABELS:
        raise LabelsError(f"{path.name}: `labels` must be a list of 1 to {MOST_LABELS}")
    faults = [] if _prompts_fit(background) else ["`background` must be a list of short texts"]
    labels: list[Label] = []
    seen: set[str] = set()
    for number, entry in enumerate(entries, 1):
        fault = _fault(entry, seen)
        if fault:
            faults.append(f"label {number}: {fault}")
            continue
        seen.add(entry["topic"])
        labels.append(Label(entry["topic"], tuple(entry["prompts"]), float(entry.get("weight", WEIGHT)), entry))
    if faults:
        raise LabelsError(f"{path.name}: {'; '.join(faults)}")
    return Labels(tuple(labels), tuple(background))


def _fault(entry: Any, seen: set[str]) -> str | None:
    if not isinstance(entry, dict) or not ID_FORM.fullmatch(str(entry.get("topic", ""))):
        return "needs a `topic` of the form parent/child"
    if entry["topic"] in seen:
        return f"{entry['topic']} is listed twice"
    if not _prompts_fit(entry.get("prompts")):
        return f"{entry['topic']} needs 1 to {MOST_PROMPTS} `prompts` of at most {LONGEST_PROMPT} characters"
    weight = entry.get("weight", WEIGHT)
    if isinstance(weight, bool) or not isinstance(weight, (int, float)) or not 0 < weight < 1:
        return f"{entry['topic']}: `weight` must be between 0 and 1"
    unknown = sorted(set(entry) - {"topic", "names", "prompts", "weight", "words", "hashtags"})
    return f"{entry['topic']}: {unknown[0]!r} is not known" if unknown else None


def _prompts_fit(prompts: Any) -> bool:
    return (
        isinstance(prompts, list)
        and 0 < len(prompts) <= MOST_PROMPTS
        and all(isinstance(text, str) and 0 < len(text.strip()) <= LONGEST_PROMPT for text in prompts)
    )


def _topic_entry(label: Label) -> dict[str, Any]:
    plain = label.topic.rpartition("/")[2].replace("_", " ").capitalize()
    names = {"en": plain, "it": plain, **label.entry.get("names", {})}
    kept = {key: list(label.entry.get(key, [])) for key in ("words", "hashtags")}
    return {"id": label.topic, "names": names, **kept}
