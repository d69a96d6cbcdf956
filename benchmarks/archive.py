"""The photo clips as an archive: what a farm that has tagged them keeps, and a home in which to train by hand.

`python -m benchmarks.archive FOLDER` makes such a home: a store with the clips' dev half, people's labels on them,
and in `labels.jsonl` 20 labels of a topic that the taxonomy lacks. With `TAGFARM_HOME=FOLDER`, `tagfarm labels import`,
`data export`, `train`, `evaluate` and `models promote` then run on real embeddings: docs/ml.md shows what they print.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from models.protocol import Evidence
from models.serving.scores import as_kept
from models.topics.efficientnet import PictureEncoder
from models.topics.tagger import TopicsTagger
from store.artifacts import ArtifactStore
from store.store import NewLabel, Started, Store
from tasks.artifacts import FORMAT
from tasks.contract import MediaFacts, TagDocument
from tasks.job import tag_rows
from tasks.kept import encoding_rows, evidence_arrays

from .corpus import corpus_root
from .encodings import encoded, photo_clip
from .truths import Item, photos

OWNER = "benchmarks.archive"
WEIGHTS = Path.home() / ".cache" / "tagfarm" / "weights"
TOPIC, LIKE = "travel/monuments", "travel/landmarks"
"""The new topic of the home, and the published one whose clips are labelled with it."""
LABELLED = 20
Example = tuple[Item, Evidence]


def main() -> int:
    """The command; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.archive", description=__doc__)
    parser.add_argument("folder", type=Path, help="made if need be; must hold no store yet")
    parser.add_argument("--weights", type=Path, default=WEIGHTS, help="the weights cache")
    options = parser.parse_args()
    folder: Path = options.folder
    if (folder / "tagfarm.db").exists():
        sys.stderr.write(f"{folder} holds a store already\n")
        return 2
    folder.mkdir(parents=True, exist_ok=True)
    store, artifacts = Store.open(f"sqlite:///{folder / 'tagfarm.db'}"), ArtifactStore((folder / "artifacts").as_uri())
    tagger = TopicsTagger()
    examples = sorted(examples_of(options.weights), key=by_hash)
    mine = [example for example in examples if example[0].accept == (LIKE,)][:LABELLED]
    others = [(i, e) for i, e in examples if LIKE not in i.accept and i.half == "dev"]
    for item, evidence in (*mine, *others):
        keep(store, artifacts, item, evidence, tagger)
    for item, _ in others:
        if len(item.accept) == 1:
            label(store, item, item.accept[0], tagger.taxonomy.version)
    records = [{"upload_id": name_of(item), "tag": TOPIC, "decision": "add", "by": "ada"} for item, _ in mine]
    lines = "".join(json.dumps(record) + "\n" for record in records)
    (folder / "labels.jsonl").write_text(lines, encoding="utf-8")
    store.close()
    return 0


def by_hash(example: Example) -> str:
    """An order that has nothing to do with what is in the clips, the same everywhere."""
    return hashlib.sha256(example[0].key.encode()).hexdigest()


def examples_of(weights: Path) -> list[Example]:
    """Every photo clip with what a node would have kept of it."""
    encoder = PictureEncoder(weights, device=torch.device("cpu"))
    try:
        found = list(encoded(photos().items, photo_clip, encoder, corpus_root() / "encodings", "photo clips"))
        return [(item, _as_kept(evidence, encoder)) for item, evidence in found]
    finally:
        encoder.close()


def _as_kept(evidence: Evidence, encoder: PictureEncoder) -> Evidence:
    """What a node would have kept, whenever the cached rows were made."""
    seen = evidence.encodings["picture"]
    rows = as_kept(seen.embeddings)
    return replace(evidence, encodings={"picture": replace(seen, embeddings=rows, scores=encoder.scores_of(rows))})


def keep(store: Store, artifacts: ArtifactStore, item: Item, evidence: Evidence, tagger: TopicsTagger) -> None:
    """Put a clip into the store as a node would have."""
    upload_id = name_of(item)
    request = {"upload_id": upload_id, "media": f"file:///{upload_id}"}
    admission = store.admit(upload_id, request, upload_id, owner=OWNER, lease_s=600)
    assert isinstance(admission, Started)
    observed = replace(evidence, observations={"stillness": {"share": 0.0}})
    arrays = {"format": np.array([FORMAT], np.int32), **evidence_arrays(observed, False)}
    address = artifacts.put(upload_id, admission.attempt_id, arrays)
    document = TagDocument.model_validate(
        {
            "upload_id": upload_id,
            "outcome": "ok",
            "media": MediaFacts(sha256=hashlib.sha256(item.key.encode()).hexdigest(), duration_s=evidence.duration_s),
            "topics": tagger.tag(evidence),
            "models": {"topics": tagger.version},
        }
    )
    with store.commit(admission.attempt_id) as transaction:
        transaction.finish(document.to_json(), tag_rows(document), [], address, encoding_rows(observed))


def name_of(item: Item) -> str:
    """Its upload_id."""
    return hashlib.sha256(item.key.encode()).hexdigest()[:16]


def label(store: Store, item: Item, topic: str, taxonomy: str) -> None:
    """Let a person have said that it shows this topic."""
    store.label(name_of(item), [NewLabel(name_of(item), "topics", topic, "add", "benchmark", taxonomy=taxonomy)])


if __name__ == "__main__":
    raise SystemExit(main())
