"""How right topics and events are, on the corpus: `python -m benchmarks.taggers [--check]`.

Photos are moved into three-second clips and go the way of an upload (H.264, decoder pool, the networks of pictures and
of objects, tagger); named effects go as AAC through the sound network and its tagger. Writes `results/taggers.json`,
`.md` and plots. The topics' head and calibration are fitted by `python -m benchmarks.topics_head`. With `--check`,
exits 1 when a bar is missed.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from models.objects.yolox import ObjectsEncoder
from models.sounds.events import EventsTagger
from models.sounds.yamnet import SoundEncoder
from models.topics.efficientnet import PictureEncoder
from models.topics.tagger import TopicsTagger
from models.topics.taxonomy import load_taxonomy

from . import events, topics
from .corpus import CorpusError, chosen, corpus_root, pull_all, sources
from .encodings import encoded, encoded_by, photo_clip, sound_clip
from .plots import confusion_plot, reliability_plot, topics_plot
from .report import RESULTS, Bar, check, table, write
from .topics_head import fair_answers
from .truths import Truth, effects, photos

NAME = "taggers"
COMMAND = "python -m benchmarks.taggers --check"
WEIGHTS = Path.home() / ".cache" / "tagfarm" / "weights"
EVENTS_BAR = 0.9


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.taggers", description=__doc__)
    parser.add_argument("--check", action="store_true", help="print the bars; exit 1 when one is missed")
    parser.add_argument("--weights", type=Path, default=WEIGHTS, help="the weights cache")
    parser.add_argument("--results", type=Path, default=RESULTS, help="where to write")
    options = parser.parse_args(arguments)
    errors = pull_all(chosen(["photos", "effects"], sources()), corpus_root())
    if errors:
        sys.stderr.write("".join(f"{error}\n" for error in errors))
        return 2
    try:
        photo_truth, effect_truth = photos(), effects()
    except CorpusError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    seen, heard = _examples(photo_truth, effect_truth, options.weights)
    given = fair_answers(TopicsTagger(load_taxonomy()), seen, options.weights)
    bars = _report(photo_truth, effect_truth, given, heard, options.results)
    return check(bars) if options.check else 0


def _examples(photo_truth: Truth, effect_truth: Truth, weights: Path) -> tuple[list[Any], list[Any]]:
    cache, cpu = corpus_root() / "encodings", torch.device("cpu")
    sound = SoundEncoder(weights, device=cpu)
    looking = PictureEncoder(weights, device=cpu), ObjectsEncoder(weights, device=cpu)
    try:
        seen = encoded_by(photo_truth.items, photo_clip, looking, cache, "photo clips")
        heard = list(encoded(effect_truth.items, sound_clip, sound, cache, "effects"))
    finally:
        for encoder in (*looking, sound):
            encoder.close()
    return seen, heard


def _report(
    photo_truth: Truth, effect_truth: Truth, given: list[topics.Answer], heard: list[Any], folder: Path
) -> list[Bar]:
    taxonomy = load_taxonomy()
    tagger, listener = TopicsTagger(taxonomy), EventsTagger()
    noticed = events.listen(listener, heard)
    parts: dict[str, Any] = {}
    for half in ("dev", "test", "both"):
        mine = [a for a in given if half in ("both", a.item.half)]
        also = [h for h in noticed if half in ("both", h.item.half)]
        f1, tested = topics.mean_f1(mine, taxonomy)
        parts[half] = {"topics": {**topics.figures(mine), "mean_f1": f1, "topics_tested": tested}}
        parts[half]["events"] = events.figures(also)
    bars = [
        *topics.bars(parts),
        Bar(
            "named effects, a right event among the first five",
            _of(parts, "test", "events", "right_in_first_5"),
            EVENTS_BAR,
            note="test half",
        ),
        Bar(
            "named effects, a right event among the first five",
            _of(parts, "both", "events", "right_in_first_5"),
            EVENTS_BAR,
            note="all",
        ),
    ]
    plots = {
        f"{NAME}-reliability.svg": reliability_plot(
            topics.reliability([(a.scores[0], a.right) for a in given if a.scores])
        ),
        f"{NAME}-topics.svg": topics_plot(topics.by_topic(given, taxonomy)),
        f"{NAME}-confusion.svg": confusion_plot(topics.confusion_matrix(given)),
    }
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in plots.items():
        (folder / name).write_text(content, encoding="utf-8")
    data = {
        "taggers": {"topics": tagger.version, "events": listener.version},
        "halves": parts,
        "dropped": {"photos": photo_truth.dropped, "effects": effect_truth.dropped},
        "topics": topics.by_topic(given, taxonomy),
        "confusions": topics.confusions(given),
        "clips": {a.item.key: [a.first, a.right] for a in given},
        "effects": {h.item.key: [list(h.tagged), h.right] for h in noticed},
    }
    body = _page(parts, given, noticed, taxonomy, photo_truth, effect_truth)
    page = write(
        NAME, title="Topics and events on the corpus", command=COMMAND, bars=bars, data=data, body=body, folder=folder
    )
    sys.stderr.write(f"wrote {page.name}\n")
    return bars


def _page(
    parts: dict[str, Any],
    given: list[topics.Answer],
    noticed: list[events.Heard],
    taxonomy: Any,
    photo_truth: Truth,
    effect_truth: Truth,
) -> str:
    halves = ("dev", "test", "both")
    seen_rows = [(h, *(parts[h]["topics"][key] for key in _TOPIC_KEYS)) for h in halves]
    heard_rows = [(h, *(parts[h]["events"][key] for key in _EVENT_KEYS)) for h in halves]
    topic_rows = [
        (row["topic"], row["said"], row["precision"], row["clips"], row["recall"])
        for row in topics.by_topic(given, taxonomy)
    ]
    none = [a for a in given if not a.item.accept]
    return "\n".join(
        (
            topics.HONESTLY,
            "## Topics\n",
            table(("half", *_TOPIC_TITLES), seen_rows),
            f"Photos looked at and not used: {sum(photo_truth.dropped.values())}"
            f" ({'; '.join(f'{reason}: {n}' for reason, n in sorted(photo_truth.dropped.items()))})."
            f" Clips whose subject the taxonomy has no topic for: {len(none)}, of which"
            f" {sum(a.first is None for a in none)} were rightly left unknown.\n",
            "![reliability of the first topic's score](taggers-reliability.svg)\n",
            "### By folder\n",
            topics.folders_table(given),
            "### Wrong most often\n",
            "![first level: the truth against what was said first](taggers-confusion.svg)\n",
            table(("truth", "said", "clips"), topics.confusions(given)),
            "### By topic\n",
            "Recall is over the clips whose truth is that topic alone.\n",
            "![precision and recall by topic](taggers-topics.svg)\n",
            table(("topic", "said first", "precision", "clips", "recall"), topic_rows),
            "## Events\n",
            table(("half", *_EVENT_TITLES), heard_rows),
            f"Effects not used for being the same bytes as another: {sum(effect_truth.dropped.values())}.\n",
            events.folders_table(noticed),
            "### Missed\n",
            events.missed_table(noticed),
        )
    )


_TOPIC_KEYS = (
    "clips",
    "coverage",
    "precision_first",
    "precision_first_exact",
    "precision_all",
    "topics_per_clip",
    "mean_f1",
    "topics_tested",
    "ece_first",
    "ece_all",
)
_TOPIC_TITLES = (
    "clips",
    "coverage",
    "first right",
    "not merely the parent",
    "all said right",
    "topics a clip",
    "mean F1",
    "over topics",
    "calibration error, first",
    "calibration error, all said",
)
_EVENT_KEYS = (
    "effects",
    "spoken",
    "right_in_first_5",
    "right_in_first_5_where_any",
    "right_or_parent_in_first_5",
    "right_in_network_first_5",
    "right_first",
)
_EVENT_TITLES = (
    "effects",
    "with an event",
    "right in first 5",
    "where any is said",
    "right or its class above",
    "in the network's 5",
    "right as the first",
)


def _of(parts: dict[str, Any], *keys: str) -> float | None:
    value: Any = parts
    for key in keys:
        value = value[key]
    return value  # type: ignore[no-any-return]


if __name__ == "__main__":
    sys.exit(main())
