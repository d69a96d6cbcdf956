"""The labelled data set from the store: people's decisions with kept embeddings, as `models.training.dataset` has it.

The same store gives the same bytes: order, splits and the time in it come from the store alone.
"""

from __future__ import annotations

import hashlib
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from models.quality.features import measure_row
from models.training import dataset
from models.training.dataset import DataSet, Item
from store.artifacts import ArtifactCorrupt, ArtifactStore
from store.store import Common, Kept, LabelRow, Store
from tasks.groups import group_names, split_of
from tasks.kept import FRAMES_ONLY, evidence_of, version_kept
from tasks.labels import Vocabulary
from tasks.shelf import Shelf

ENCODERS: Mapping[str, str] = {"topics": "picture", "events": "yamnet", "quality": "picture"}
"""Whose embeddings a tagger's head is trained on."""
AT_ONCE = 200
"""Uploads read at a time."""
SLICE = re.compile(r"[A-Za-z0-9-]{1,35}")
"""What a language or a country looks like."""

assert not set(ENCODERS) & set(FRAMES_ONLY)


@dataclass
class Export:
    """What an export found. `left_out`: uploads with labels that are not in the data set, by reason."""

    uploads: int = 0
    decisions: int = 0
    machine_labels: int = 0
    groups: int = 0
    splits: dict[str, int] = field(default_factory=dict)
    labels: dict[str, list[int]] = field(default_factory=dict)
    """By label: how many uploads have it, and how many have not."""
    left_out: dict[str, int] = field(default_factory=dict)
    hash: str = ""


@dataclass
class _Upload:
    """What is remembered of an upload; its rows are in a file by then."""

    upload_id: str
    parent: str | None
    labels: dict[str, float]
    slices: dict[str, Any]
    rows: int
    mean: npt.NDArray[np.float32]
    keyframe: str | None


@dataclass
class _Found:
    """One upload as it was read."""

    kept: Kept
    embeddings: npt.NDArray[np.float16]
    times_s: npt.NDArray[np.float32]
    measures: npt.NDArray[np.float16]
    keyframe: bytes | None


def export(
    store: Store,
    artifacts: ArtifactStore,
    tagger: str,
    folder: Path,
    encoder_version: str,
    machine_labels: bool = False,
    keyframes: bool = True,
    told: Callable[[int], object] = lambda done: None,
) -> Export:
    """Write the data set of one tagger's labels into `folder`. Memory grows by some kilobytes an upload: their rows go
    to disk as they are read.

    Args:
        store: whose labels and documents.
        artifacts: whose embeddings.
        tagger: `topics`, `events` or `quality`.
        folder: made if need be; what an export left there before is replaced.
        encoder_version: `name@N` of the encoder: embeddings of another are left out, and counted.
        machine_labels: where people decided nothing of a tag that the machine said, take its word. Never the default: a
            model that is trained on its own words learns its own mistakes. Not for quality.
        keyframes: a picture of each upload as well.
        told: called with the number of uploads done.
    """
    result = Export()
    uploads: list[_Upload] = []
    newest: datetime | None = None
    taxonomies: set[str] = set()
    folder.mkdir(parents=True, exist_ok=True)
    pictures = folder / dataset.KEYFRAMES_FOLDER
    with tempfile.TemporaryDirectory(prefix=".rows-", dir=folder) as name:
        shelf = Shelf(Path(name))
        for number, (upload_id, rows) in enumerate(_labelled(store, tagger), 1):
            found = _read(store, artifacts, upload_id, tagger, encoder_version)
            told(number)
            if isinstance(found, str):
                result.left_out[found] = result.left_out.get(found, 0) + 1
                continue
            labels = _labels(rows)
            newest = max([row.at for row in rows] + ([newest] if newest else []))
            taxonomies |= {row.taxonomy for row in rows if row.taxonomy}
            result.decisions += len(rows)
            if machine_labels:
                result.machine_labels += _add_machine_labels(found.kept, labels, tagger)
            mean = shelf.put(found.embeddings, found.times_s, found.measures)
            picture = None
            if keyframes and found.keyframe:
                pictures.mkdir(exist_ok=True)
                picture = _picture_name(upload_id)
                (pictures / picture).write_bytes(found.keyframe)
            parent = found.kept.request.get("parent_upload_id")
            uploads.append(
                _Upload(upload_id, parent, labels, _slices(found.kept), len(found.embeddings), mean, picture)
            )
        names = _groups(store, uploads)
        facts = (tagger, encoder_version, _taxonomy(taxonomies, tagger), newest)
        data_set = _data_set(uploads, names, shelf, *facts)
        result.hash = dataset.write(folder, data_set).hash
        shelf.close()
    _drop_other_keyframes(pictures, {one.keyframe for one in uploads if one.keyframe})
    result.uploads, result.groups = len(uploads), len(set(names.values()))
    for split in dataset.SPLITS:
        result.splits[split] = len(data_set.of(split))
    for label in data_set.labels:
        said = [item.labels[label] for item in data_set.items if label in item.labels]
        result.labels[label] = [sum(value > 0 for value in said), sum(value == 0 for value in said)]
    return result


def _labels(rows: Sequence[LabelRow]) -> dict[str, float]:
    """What people said of one upload: 1 or 0, or of an amount the mean of what each person gave."""
    given: dict[str, list[float]] = {}
    for row in rows:
        said = row.value if row.decision == "rate" else float(row.decision != "reject")
        given.setdefault(row.tag, []).append(said if said is not None else 0.0)
    return {tag: round(sum(values) / len(values), 6) for tag, values in given.items()}


def _labelled(store: Store, tagger: str) -> Iterator[tuple[str, list[LabelRow]]]:
    """Uploads with the decisions that hold, in the order of their ids."""
    for upload_id, rows in groupby(store.labels(tagger=tagger), key=lambda row: row.upload_id):
        holding = [row for row in rows if row.decision != "withdraw"]
        if holding:
            yield upload_id, holding


def _read(store: Store, artifacts: ArtifactStore, upload_id: str, tagger: str, encoder_version: str) -> _Found | str:
    """One upload, or why it is left out."""
    kept = store.kept(upload_id)
    if kept is None or kept.artifact is None:
        return "nothing is kept of it (yet)"
    name = ENCODERS[tagger]
    pictures = ("keyframes/times_s", *(f"keyframes/{number:02d}" for number in range(12)))
    try:
        arrays = artifacts.get(kept.artifact, (f"embeddings/{name}", f"times/{name}", "evidence", *pictures))
    except ArtifactCorrupt:
        return "what is kept of it cannot be read"
    if arrays is None or f"embeddings/{name}" not in arrays:
        return f"{name} did not see it, or its file is gone"
    version = version_kept(arrays, name)
    if version != encoder_version:
        return f"its embeddings are of {version or 'an unnamed encoder'}; tag it again: tagfarm retag --full"
    embeddings = arrays[f"embeddings/{name}"]
    if not len(embeddings):
        return f"it has nothing that {name} could see"
    measures = np.zeros(0, np.float16)
    if tagger == dataset.GRADED:
        measures = measure_row(evidence_of(arrays, {}).evidence).astype(np.float16)
    times = np.asarray(arrays[f"times/{name}"], np.float32)
    return _Found(kept, embeddings, times, measures, _middle_picture(arrays))


def _middle_picture(arrays: Mapping[str, np.ndarray]) -> bytes | None:
    count = len(arrays.get("keyframes/times_s", ()))
    picture = arrays.get(f"keyframes/{count // 2:02d}")
    return picture.tobytes() if picture is not None and len(picture) else None


def _add_machine_labels(kept: Kept, labels: dict[str, float], tagger: str) -> int:
    said = {**kept.document, **(kept.machine or {})}
    key = "topic" if tagger == "topics" else "event"
    tags = [item[key] for item in said.get(tagger) or [] if item[key] not in labels]
    labels |= dict.fromkeys(tags, 1.0)
    return len(tags)


def _groups(store: Store, uploads: list[_Upload]) -> dict[str, str]:
    if not uploads:
        return {}
    ids = [upload.upload_id for upload in uploads]
    known: dict[str, list[Common]] = {}
    asked = sorted({*ids, *(upload.parent for upload in uploads if upload.parent)})
    for at in range(0, len(asked), AT_ONCE):
        known |= store.in_common(asked[at : at + AT_ONCE])
    common = {one.upload_id: [*known[one.upload_id], *known.get(one.parent or "", [])] for one in uploads}
    return group_names(ids, common, np.stack([upload.mean for upload in uploads]))


def _data_set(
    uploads: list[_Upload],
    names: Mapping[str, str],
    shelf: Shelf,
    tagger: str,
    encoder_version: str,
    taxonomy: str,
    newest: datetime | None,
) -> DataSet:
    items, first = [], 0
    for upload in uploads:
        picture = f"{dataset.KEYFRAMES_FOLDER}/{upload.keyframe}" if upload.keyframe else None
        group, rows = names[upload.upload_id], (first, first + upload.rows)
        first += upload.rows
        items.append(Item(upload.upload_id, group, split_of(group), rows, upload.labels, upload.slices, picture))
    embeddings, times_s = shelf.arrays()
    return DataSet(
        tagger=tagger,
        taxonomy=taxonomy,
        encoder=encoder_version,
        labels=tuple(sorted({label for upload in uploads for label in upload.labels})),
        items=tuple(items),
        embeddings=embeddings,
        times_s=times_s,
        created_at=newest.isoformat() if newest else "",
        measures=shelf.measures,
    )


def _slices(kept: Kept) -> dict[str, Any]:
    layout = kept.document.get("layout") or {}
    slices: dict[str, Any] = {}
    for name in ("language", "country"):
        value = kept.request.get(name)
        slices[name] = value if isinstance(value, str) and SLICE.fullmatch(value) else None
    return slices | {"duration_s": kept.document["media"].get("duration_s"), "layout": layout.get("kind")}


def _taxonomy(said: set[str], tagger: str) -> str:
    """The newest version that people decided on."""
    return max(said, key=lambda name: (int(name.rpartition("@")[2] or 0), name), default=_published(tagger))


def _published(tagger: str) -> str:
    return Vocabulary().versions[tagger]


def _picture_name(upload_id: str) -> str:
    return f"{hashlib.sha256(upload_id.encode()).hexdigest()[:20]}.jpg"


def _drop_other_keyframes(place: Path, wanted: set[str]) -> None:
    for old in place.glob("*.jpg") if place.is_dir() else ():
        if old.name not in wanted:
            old.unlink()
