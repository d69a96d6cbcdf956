"""What the topics head does to topics that it has no examples of: `python -m benchmarks.topics_unseen`.

For each group of topics the head is fitted without any dev clip that shows one of them, and answers these clips; beside
it the classes alone. Writes `results/topics_unseen.json` and `.md`. Reads the dev half only. About two minutes.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from rich.progress import track

from models.topics.efficientnet import PictureEncoder
from models.topics.head import PictureHead
from models.topics.taxonomy import Taxonomy, load_taxonomy

from .corpus import corpus_root
from .encodings import encoded, photo_clip
from .report import RESULTS, Bar, check, table, write
from .topics import Example, acceptable
from .topics_head import WEIGHTS, all_variants, fit_head
from .truths import photos

NAME = "topics_unseen"
GROUPS = (
    ("animals/wild",),
    ("animals/bird",),
    ("food/fruit",),
    ("travel/landmarks",),
    ("music",),
    ("animals/sea_life", "animals/reptile", "animals/primate", "home/kitchen", "vehicles/car"),
)
COVERAGE = 0.85
SURE = 0.6
"""Least probability at which a child is the answer rather than its parent."""
LOSS_BAR = 0.05
"""Most precision that a topic may lose for having no examples while others have."""


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; the exit status."""
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks.{NAME}", description=__doc__)
    parser.add_argument("--check", action="store_true", help="print the bars; exit 1 when one is missed")
    parser.add_argument("--weights", type=Path, default=WEIGHTS, help="the weights cache")
    parser.add_argument("--results", type=Path, default=RESULTS, help="where to write")
    options = parser.parse_args(arguments)
    taxonomy = load_taxonomy()
    items = [item for item in photos().items if item.half == "dev"]
    encoder = PictureEncoder(options.weights, device=torch.device("cpu"))
    try:
        examples = list(encoded(items, photo_clip, encoder, corpus_root() / "encodings", "photo clips"))
        variants = all_variants(examples, encoder)
    finally:
        encoder.close()
    rows, seen = [], []
    for group in track(GROUPS, description="groups"):
        without = np.array([not _shows(example, group) for example in examples])
        head = fit_head(
            [e for e, keep in zip(examples, without, strict=True) if keep],
            variants[without],
            encoder.scores_of,
            taxonomy,
        )
        plain = replace(head, labels=(), weight=head.weight[:, :0], bias=head.bias[:0], tau=1.0)
        mine = [e for e, keep in zip(examples, without, strict=True) if not keep]
        pairs = [[_answer(one, example, taxonomy) for example in mine] for one in (head, plain)]
        seen.append(pairs)
        rows.append((", ".join(group), len(mine), *(_precision(answers) for answers in pairs)))
    fitted, classes = (_precision([a for pairs in seen for a in pairs[which]]) for which in (0, 1))
    bars = [
        Bar(
            f"precision at coverage {COVERAGE} that topics lose when the head has no examples of them",
            round(classes - fitted, 3),
            LOSS_BAR,
            sense="<=",
        )
    ]
    body = table(("left out", "clips", "head without them", "classes alone"), [*rows, ("all", "", fitted, classes)])
    body += f"\nPrecision of the first topic at coverage {COVERAGE}, of uncalibrated probabilities,"
    body += f" a child from {SURE} on.\n"
    data = {"groups": [list(row) for row in rows], "all": [fitted, classes]}
    write(
        NAME,
        title="Topics without examples",
        command=f"python -m benchmarks.{NAME}",
        bars=bars,
        data=data,
        body=body,
        folder=options.results,
    )
    return check(bars) if options.check else 0


def _shows(example: Example, group: tuple[str, ...]) -> bool:
    return any(topic == one or topic.startswith(f"{one}/") for topic in example[0].accept for one in group)


def _answer(head: PictureHead, example: Example, taxonomy: Taxonomy) -> tuple[float, bool]:
    """(probability of the first topic, whether it is right)."""
    item, evidence = example
    rows = evidence.encodings["picture"]
    means: npt.NDArray[np.float64] = head.probabilities(rows.scores, rows.embeddings, taxonomy).mean(axis=0)
    child = taxonomy.parents >= 0
    children, parents = np.where(child, means, 0), np.where(child, 0, means)
    best = int(children.argmax() if children.max() >= SURE else parents.argmax())
    return float(means[best]), taxonomy.topics[best].id in acceptable(item)


def _precision(answers: Sequence[tuple[float, bool]]) -> float:
    surest = sorted(answers, key=lambda answer: -answer[0])[: int(np.ceil(COVERAGE * len(answers)))]
    return round(sum(right for _, right in surest) / len(surest), 3)


if __name__ == "__main__":
    sys.exit(main())
