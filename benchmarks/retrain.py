"""A new topic from 20 labelled clips, and promotion in the middle of uploads: `python -m benchmarks.retrain [--check]`.

Photos moved into clips go the way of an upload into a store's kept embeddings. A topic is taken out of the taxonomy, so
that nothing of the packaged tagger can say it; 20 clips of it are labelled, and what follows is the product's own code:
labels, data set, training, evaluation, promotion, a node's line-up. It is measured on clips that were never labelled.
With `--farm`, also a real farm of two nodes, with promotions and a rollback in the midst of 200 uploads. How fast an
archive is tagged again is measured by `benchmarks.retag`, whose last figures `--check` shows as well.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from models.registry.versions import Registry
from models.topics.efficientnet import PictureEncoder
from models.topics.extension import extension_for
from models.topics.tagger import TopicsTagger
from models.topics.taxonomy import Taxonomy, load_taxonomy
from models.topics.trained import trained_topics
from models.training import dataset
from models.training.evaluate import evaluate
from models.training.fit import Plan
from models.training.judges import TopicsJudge, classifier
from models.training.train import train
from store.artifacts import ArtifactStore
from store.store import Store
from tasks.export import export

from . import promotion, topics
from .archive import Example, by_hash, examples_of, keep, label
from .corpus import chosen, corpus_root, pull_all, sources
from .report import RESULTS, Bar, bars_of, check, table, write

NAME = "retrain"
COMMAND = "python -m benchmarks.retrain --farm --check"
WEIGHTS = Path.home() / ".cache" / "tagfarm" / "weights"
LABELLED = 20
LEAST_HELD_OUT = 5
TOPICS = ("travel/landmarks", "animals/bird", "animals/fish", "nature/flowers", "food/fruit", "tools/diy")
"""Those with the most clips. The first, with the most of all, is held against the bar; the others are shown."""
KEY = b"benchmarks.retrain's own"
F1_BAR, LOSS_BAR, WALL_BAR_S = 0.9, 0.01, 300.0


@dataclass(frozen=True)
class Added:
    """What came of adding one topic."""

    topic: str
    held_out: int
    others: int
    f1: float
    precision: float | None
    recall: float
    mean_f1_before: float
    mean_f1_after: float
    worst_loss: float
    """The most that any other topic with enough clips loses of F1."""
    wall_s: float
    steps_s: dict[str, float]
    epochs: int


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.retrain", description=__doc__)
    parser.add_argument("--check", action="store_true", help="print the bars; exit 1 when one is missed")
    parser.add_argument("--farm", action="store_true", help="also promote in the middle of a real farm's uploads")
    parser.add_argument("--weights", type=Path, default=WEIGHTS, help="the weights cache")
    parser.add_argument("--results", type=Path, default=RESULTS, help="where to write")
    options = parser.parse_args(arguments)
    if errors := pull_all(chosen(["photos"], sources()), corpus_root()):
        sys.stderr.write("".join(f"{error}\n" for error in errors))
        return 2
    torch.set_num_threads(2)
    examples = examples_of(options.weights)
    rows = [add_topic(topic, examples, options.weights) for topic in TOPICS]
    flow = promotion.run(options.weights) if options.farm else None
    bars = _bars(rows[0], flow)
    body = _page(rows, flow)
    data = {"topics": [vars(row) for row in rows], "promotion": vars(flow) if flow is not None else None}
    title = "A new topic from 20 labelled clips, and promotion while uploads flow"
    page = write(NAME, title=title, command=COMMAND, bars=bars, data=data, body=body, folder=options.results)
    sys.stderr.write(f"wrote {page.name}\n")
    return check([*bars, *bars_of("retag")]) if options.check else 0


def add_topic(topic: str, examples: Sequence[Example], weights: Path) -> Added:
    """Take a topic out of the taxonomy, add it by training, and measure on what was never labelled."""
    published = load_taxonomy()
    base = replace(published, topics=tuple(one for one in published.topics if one.id != topic))
    with tempfile.TemporaryDirectory(prefix="tagfarm-retrain-") as name:
        folder = Path(name)
        mine = [example for example in examples if example[0].accept == (topic,)]
        mine.sort(key=by_hash)
        labelled, held_out = mine[:LABELLED], mine[LABELLED:]
        # What a farm has already: the dev half, with people's labels of other topics.
        archive = [(i, e) for i, e in examples if topic not in i.accept and i.half == "dev"]
        store = Store.open(f"sqlite:///{folder / 'tagfarm.db'}")
        artifacts = ArtifactStore((folder / "artifacts").as_uri())
        tagger = TopicsTagger(base)
        for item, evidence in (*labelled, *archive):
            keep(store, artifacts, item, evidence, tagger)
        for item, _ in archive:
            if len(item.accept) == 1:
                label(store, item, item.accept[0], published.version)
        steps = _Steps()
        for item, _ in labelled:
            label(store, item, topic, published.version)
        steps.done("labels")
        export(store, artifacts, "topics", folder / "data", PictureEncoder.version, keyframes=False)
        data = dataset.read(folder / "data")
        steps.done("data export")
        registry, extra = Registry(folder / "registry", KEY), extension_for(base, [topic])
        trained = train(data, Plan(), registry, torch.device("cpu"), only=[topic], extra_topics=extra)
        steps.done("train")
        after = trained_topics(trained.version, base=base)
        classes = classifier("topics", weights)
        judges = TopicsJudge("trained", after, classes), TopicsJudge("packaged", tagger, classes)
        evaluate(data, *judges, background=trained.background)
        steps.done("evaluate")
        store.promote("topics", "champion", trained.version.number, trained.version.digest, 1.0, "benchmark", "a bar")
        steps.done("promote")
        store.close()
    test = [*held_out, *((i, e) for i, e in examples if topic not in i.accept and i.half == "test")]
    return _measured(topic, base, topics.answers(tagger, test), topics.answers(after, test), steps, trained)


def _measured(
    topic: str,
    base: Taxonomy,
    before: Sequence[topics.Answer],
    after: Sequence[topics.Answer],
    steps: _Steps,
    trained: Any,
) -> Added:
    mine = [answer for answer in after if answer.item.accept == (topic,)]
    hits = sum(topic in answer.topics for answer in mine)
    wrong = sum(topic in answer.topics and topic not in answer.item.accept for answer in after)
    others = [[answer for answer in given if topic not in answer.item.accept] for given in (before, after)]
    losses = []
    for other in base.topics:
        alone = sum(answer.item.accept == (other.id,) for answer in others[0])
        if alone >= LEAST_HELD_OUT:
            losses.append(_f1(other.id, others[0]) - _f1(other.id, others[1]))
    means = [topics.mean_f1(given, base)[0] or 0.0 for given in others]
    return Added(
        topic=topic,
        held_out=len(mine),
        others=len(others[0]),
        f1=2 * hits / (2 * hits + wrong + len(mine) - hits),
        precision=hits / (hits + wrong) if hits + wrong else None,
        recall=hits / len(mine),
        mean_f1_before=means[0],
        mean_f1_after=means[1],
        worst_loss=max(losses),
        wall_s=round(sum(steps.seconds.values()), 2),
        steps_s=steps.seconds,
        epochs=trained.fitted.epochs,
    )


def _f1(topic: str, given: Sequence[topics.Answer]) -> float:
    alone = [answer for answer in given if answer.item.accept == (topic,)]
    hits = sum(topic in answer.topics for answer in alone)
    wrong = sum(topic in answer.topics and topic not in topics.acceptable(answer.item) for answer in given)
    return 2 * hits / (2 * hits + wrong + len(alone) - hits) if hits else 0.0


class _Steps:
    """Seconds by step."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.perf_counter()

    def done(self, name: str) -> None:
        now = time.perf_counter()
        self.seconds[name], self._last = round(now - self._last, 3), now


def _bars(row: Added, flow: promotion.Flow | None) -> list[Bar]:
    bars = [
        Bar(f"new topic from {LABELLED} labelled clips, F1 on held-out clips", row.f1, F1_BAR, note=row.topic),
        Bar("mean F1 of the other topics, loss", row.mean_f1_before - row.mean_f1_after, LOSS_BAR, "<="),
        Bar("F1 of any other topic with 5 clips, greatest loss", row.worst_loss, LOSS_BAR, "<="),
        Bar("from labels to promoted, wall time", row.wall_s, WALL_BAR_S, "<=", "s"),
    ]
    if flow is not None:
        bars += [
            Bar(
                "uploads lost while versions were promoted and rolled back",
                flow.lost,
                0,
                "<=",
                note=f"of {flow.uploads}",
            ),
            Bar("documents that are not one version's whole answer", flow.mixed, 0, "<=", note=f"of {flow.uploads}"),
            Bar("versions that spoke in the meantime", len(flow.versions), 3),
        ]
    return bars


def _page(rows: Sequence[Added], flow: promotion.Flow | None) -> str:
    shown = {
        "topic": "topic",
        "held_out": "held-out clips",
        "others": "other clips",
        "f1": "F1",
        "precision": "precision",
        "recall": "recall",
        "mean_f1_before": "others' mean F1 before",
        "mean_f1_after": "after",
        "worst_loss": "greatest loss of one",
        "wall_s": "wall, s",
        "epochs": "epochs",
    }
    header, lines = tuple(shown.values()), [[getattr(row, name) for name in shown] for row in rows]
    text = (
        "## A new topic\n\nEach topic was taken out of the taxonomy and added again by training on "
        f"{LABELLED} clips that were labelled with it; the other clips of the dev half carry labels of their own "
        "topics, none says anything of the new one. Measured on clips that were never labelled: those of the topic "
        f"beyond the {LABELLED}, and the test half of the others. The first row is the bar's: the topic with most "
        "clips. The others have few held-out clips, and some look like other things: fruit like vegetables, tools "
        "like kitchen ware.\n\n" + table(header, lines)
    )
    steps = ", ".join(f"{name} {seconds:.2f} s" for name, seconds in rows[0].steps_s.items())
    text += f"\nThe wall time of {rows[0].topic}: {steps}.\n"
    if flow is not None:
        text += (
            f"\n## Promotion while uploads flow\n\nA real farm of {flow.nodes} nodes tags {flow.uploads} uploads; "
            "meanwhile topics/1 is promoted, then topics/2, then rolled back. The uploads are one clip under many ids, "
            "and the versions answer differently, so a document that is not whole shows: its topics must be exactly "
            "what the version that it names says of that clip.\n\n"
            f"From a change to the first document of the new version it took {flow.slowest_s:.1f} s at most, with "
            f"nodes that ask every {promotion.POLL_S} s; all of it {flow.wall_s:.0f} s.\n\n"
            + table(("version named in the document", "documents"), sorted(flow.versions.items()))
        )
    return text


if __name__ == "__main__":
    raise SystemExit(main())
