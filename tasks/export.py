"""The labelled data set from the store: people's decisions with kept embeddings, as `models.training.dataset` has it.

The same store gives the same bytes: order, splits and the time in it come from the store alone.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from models.training import dataset
from models.training.dataset import DataSet, Item
from store.artifacts import ArtifactCorrupt, ArtifactStore
from store.store import Common, Kept, LabelRow, Store
from tasks.groups import group_names, split_of
from tasks.kept import FRAMES_ONLY, version_kept
from tasks.labels import Vocabulary

ENCODERS: Mapping[str, str] = {"topics": "picture", "events": "yamnet"}
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
    kept: Kept
    labels: dict[str, float]
    embeddings: npt.NDArray[np.float16]
    times_s: npt.NDArray[np.float32]
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
    """Write the data set of one tagger's labels into `folder`.

    Args:
        store: whose labels and documents.
        artifacts: whose embeddings.
        tagger: `topics` or `events`.
        folder: made if need be; what an export left there before is replaced.
        encoder_version: `name@N` of the encoder: embeddings of another are left out, and counted.
        machine_labels: where people decided nothing of a tag that the machine said, take its word. Never the default: a
            model that is trained on its own words learns its own mistakes.
        keyframes: a picture of each upload as well.
        told: called with the number of uploads done.
    """
    result = Export()
    uploads: list[_Upload] = []
    newest: datetime | None = None
    taxonomies: set[str] = set()
    for upload_id, rows in _labelled(store, tagger):
        found = _upload(store, artifacts, upload_id, tagger, encoder_version)
        told(len(uploads))
        if isinstance(found, str):
            result.left_out[found] = result.left_out.get(found, 0) + 1
            continue
        for row in rows:
            found.labels[row.tag] = 0.0 if row.decision == "reject" else 1.0
            taxonomies |= {row.taxonomy} if row.taxonomy else set()
            newest = max(newest or row.at, row.at)
        result.decisions += len(rows)
        if machine_labels:
            result.machine_labels += _add_machine_labels(found, tagger)
        if not keyframes:
            found.keyframe = None
        uploads.append(found)
    names = _groups(store, uploads)
    data_set = _data_set(uploads, names, tagger, encoder_version, _taxonomy(taxonomies, tagger), newest)
    _write_keyframes(folder, uploads, data_set)
    result.hash = dataset.write(folder, data_set).hash
    result.uploads, result.groups = len(uploads), len(set(names.values()))
    for split in dataset.SPLITS:
        result.splits[split] = len(data_set.of(split))
    for label in data_set.labels:
        said = [item.labels[label] for item in data_set.items if label in item.labels]
        result.labels[label] = [sum(value > 0 for value in said), sum(value == 0 for value in said)]
    return result


def _labelled(store: Store, tagger: str) -> Iterator[tuple[str, list[LabelRow]]]:
    """Uploads with the decisions that hold, in the order of their ids."""
    for upload_id, rows in groupby(store.labels(tagger=tagger), key=lambda row: row.upload_id):
        holding = [row for row in rows if row.decision != "withdraw"]
        if holding:
            yield upload_id, holding


def _upload(store: Store, artifacts: ArtifactStore, upload_id: str, tagger: str, encoder_version: str) -> _Upload | str:
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
    times = np.asarray(arrays[f"times/{name}"], np.float32)
    return _Upload(kept, {}, embeddings, times, _middle_picture(arrays))


def _middle_picture(arrays: Mapping[str, np.ndarray]) -> bytes | None:
    count = len(arrays.get("keyframes/times_s", ()))
    picture = arrays.get(f"keyframes/{count // 2:02d}")
    return picture.tobytes() if picture is not None and len(picture) else None


def _add_machine_labels(upload: _Upload, tagger: str) -> int:
    said = {**upload.kept.document, **(upload.kept.machine or {})}
    key = "topic" if tagger == "topics" else "event"
    tags = [item[key] for item in said.get(tagger) or [] if item[key] not in upload.labels]
    upload.labels |= dict.fromkeys(tags, 1.0)
    return len(tags)


def _groups(store: Store, uploads: list[_Upload]) -> dict[str, str]:
    ids = [upload.kept.upload_id for upload in uploads]
    parents = {upload.kept.upload_id: upload.kept.request.get("parent_upload_id") for upload in uploads}
    known: dict[str, list[Common]] = {}
    asked = sorted({*ids, *(parent for parent in parents.values() if parent)})
    for at in range(0, len(asked), AT_ONCE):
        known |= store.in_common(asked[at : at + AT_ONCE])
    common = {one: [*known[one], *known.get(parents[one] or "", [])] for one in ids}
    means = np.stack([upload.embeddings.astype(np.float32).mean(axis=0) for upload in uploads]) if uploads else None
    return group_names(ids, common, means) if means is not None else {}


def _data_set(
    uploads: list[_Upload],
    names: Mapping[str, str],
    tagger: str,
    encoder_version: str,
    taxonomy: str,
    newest: datetime | None,
) -> DataSet:
    items, first = [], 0
    for upload in uploads:
        upload_id = upload.kept.upload_id
        last = first + len(upload.embeddings)
        picture = f"{dataset.KEYFRAMES_FOLDER}/{_picture_name(upload_id)}" if upload.keyframe else None
        group = names[upload_id]
        items.append(
            Item(upload_id, group, split_of(group), (first, last), upload.labels, _slices(upload.kept), picture)
        )
        first = last
    labels = sorted({label for upload in uploads for label in upload.labels})
    return DataSet(
        tagger=tagger,
        taxonomy=taxonomy,
        encoder=encoder_version,
        labels=tuple(labels),
        items=tuple(items),
        embeddings=np.concatenate([one.embeddings for one in uploads]) if uploads else np.zeros((0, 0), np.float16),
        times_s=np.concatenate([one.times_s for one in uploads]) if uploads else np.zeros(0, np.float32),
        created_at=newest.isoformat() if newest else "",
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


def _write_keyframes(folder: Path, uploads: list[_Upload], data_set: DataSet) -> None:
    place = folder / dataset.KEYFRAMES_FOLDER
    wanted = {Path(item.keyframe).name for item in data_set.items if item.keyframe}
    if wanted:
        place.mkdir(parents=True, exist_ok=True)
    for old in place.glob("*.jpg") if place.is_dir() else ():
        if old.name not in wanted:
            old.unlink()
    for upload in uploads:
        if upload.keyframe:
            (place / _picture_name(upload.kept.upload_id)).write_bytes(upload.keyframe)
