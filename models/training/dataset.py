"""The labelled data set that heads are trained and evaluated on: one folder, checked before it is used.

    dataset.json             what it is, and the sha256 of the two files below
    items.jsonl              one line an upload: its split, its rows of the embeddings, what people said of it
    embeddings.safetensors   "embeddings" [N, d] float16 and "times_s" [N] float32, the rows of all uploads in turn
    keyframes/NAME.jpg       a picture an upload, for people; not part of the hash

Splits are by group (near-duplicates share one), never by frame. A label that is missing from an item was not judged: it
is neither 0 nor 1. `dataset.json` is written last, so a folder without it is no data set yet.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, cast, get_args

import numpy as np
import numpy.typing as npt

from .tensor_file import Arrays, map_tensors, tensor_file

FORMAT = 2
"""1: first version. 2: rows may end in measures (`measures`); data sets without them are still written as 1."""
PLAIN_FORMAT = 1
RECORD_FILE = "dataset.json"
ITEMS_FILE = "items.jsonl"
TENSORS_FILE = "embeddings.safetensors"
KEYFRAMES_FOLDER = "keyframes"
PIECE_BYTES = 1 << 20
PIECE_ROWS = 4096

Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = get_args(Split)
GRADED = "quality"
"""The tagger whose labels are amounts."""


class DataSetError(Exception):
    """A folder that cannot be used as a data set. The message says which, why, and what to do."""


class DataSetCorrupt(DataSetError):
    """Missing or altered files, or content that contradicts itself: export it again."""


class DataSetIncompatible(DataSetError):
    """Sound, as far as can be told, but of another format version than this program reads."""


@dataclass(frozen=True)
class Item:
    """One upload of the data set."""

    upload_id: str
    group: str
    """Near-duplicates share it; a group lies in one split."""
    split: Split
    rows: tuple[int, int]
    """[first, last) of the data set's embeddings."""
    labels: Mapping[str, float]
    """1 present, 0 absent; for a graded label (quality) what people gave on average. Missing: not judged."""
    slices: Mapping[str, Any] = field(default_factory=dict)
    """What results are split by: `language`, `country`, `duration_s`, `layout`; values may be null."""
    keyframe: str | None = None
    """Path in the data set's folder."""

    def to_json(self) -> dict[str, Any]:
        """As one line of `items.jsonl`."""
        return {
            "upload_id": self.upload_id,
            "group": self.group,
            "split": self.split,
            "rows": list(self.rows),
            "labels": dict(sorted(self.labels.items())),
            "slices": dict(self.slices),
            "keyframe": self.keyframe,
        }


@dataclass(frozen=True)
class DataSet:
    """A data set in memory. Row order and item order are as in the files."""

    tagger: str
    """`topics`, `events` or `quality`."""
    taxonomy: str
    """Version of the taxonomy whose labels people chose from."""
    encoder: str
    """`name@version` of the encoder that the embeddings are of."""
    labels: tuple[str, ...]
    items: tuple[Item, ...]
    embeddings: npt.NDArray[np.float16]
    """[N, d]."""
    times_s: npt.NDArray[np.float32]
    """[N], start of each row's moment in its upload, s."""
    created_at: str
    """ISO 8601, UTC."""
    hash: str = ""
    """sha256 that names the content; empty until it is written."""
    measures: int = 0
    """Columns at the end of each row that are no embedding but measures of the whole upload, the same in all its rows
    (quality: `models.quality.features`)."""
    folder: Path | None = None
    """Where it was read from; key frames are relative to it."""

    @property
    def dimension(self) -> int:
        """Width of an embedding."""
        return int(self.embeddings.shape[1])

    @property
    def graded(self) -> bool:
        """Whether people gave amounts (quality), and did not just say what is there."""
        return self.tagger == GRADED

    def of(self, split: Split) -> tuple[Item, ...]:
        """The items of one split."""
        return tuple(item for item in self.items if item.split == split)

    def rows(self, item: Item) -> npt.NDArray[np.float32]:
        """One upload's embeddings, [n, d]."""
        first, last = item.rows
        return self.embeddings[first:last].astype(np.float32)


def write(folder: Path, data_set: DataSet) -> DataSet:
    """Write a data set and return it with its hash and folder. Key frames are the caller's to put there.

    Each file is replaced in one step and the record comes last: a kill leaves the old data set, a whole new one, or one
    that `read` calls corrupt.

    Raises:
        ValueError: it contradicts itself; the message names the first fault.
    """
    if fault := next(_faults(data_set), None):
        raise ValueError(fault)
    folder.mkdir(parents=True, exist_ok=True)
    lines = "".join(json.dumps(item.to_json(), ensure_ascii=False) + "\n" for item in data_set.items)
    _replace(folder / ITEMS_FILE, [lines.encode()])
    # In the order of the library's own files: the widest type first.
    tensors: Arrays = {"times_s": (data_set.times_s, np.float32), "embeddings": (data_set.embeddings, np.float16)}
    _replace(folder / TENSORS_FILE, tensor_file(tensors))
    files = {name: _sha256(folder / name) for name in (ITEMS_FILE, TENSORS_FILE)}
    named = DataSet(**{**data_set.__dict__, "hash": content_hash(files), "folder": folder})
    record = {
        "format": FORMAT if named.measures else PLAIN_FORMAT,
        "tagger": named.tagger,
        "taxonomy": named.taxonomy,
        "encoder": named.encoder,
        "dimension": named.dimension,
        "labels": list(named.labels),
        "created_at": named.created_at,
        "files": files,
        "hash": named.hash,
        **({"measures": named.measures} if named.measures else {}),
    }
    _replace(folder / RECORD_FILE, [(json.dumps(record, indent=1, ensure_ascii=False) + "\n").encode()])
    return named


def read(folder: Path) -> DataSet:
    """Read and check a data set.

    Raises:
        DataSetCorrupt: it is not there, not whole, altered, or contradicts itself.
        DataSetIncompatible: it has another format version.
    """
    try:
        record = json.loads((folder / RECORD_FILE).read_text(encoding="utf-8"))
        version = record["format"]
    except FileNotFoundError as error:
        raise DataSetCorrupt(f"{folder} is no data set: it has no {RECORD_FILE}; run: tagfarm data export") from error
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise DataSetCorrupt(f"{folder / RECORD_FILE} cannot be read: {error!r}; export it again") from error
    if version not in (PLAIN_FORMAT, FORMAT):
        raise DataSetIncompatible(f"{folder} has data set format {version}, this program reads {FORMAT} and before")
    try:
        for name in (ITEMS_FILE, TENSORS_FILE):
            if _sha256(folder / name) != record["files"][name]:
                raise DataSetCorrupt(f"{folder / name} is not what was written: its sha256 differs; export it again")
        if content_hash(record["files"]) != record["hash"]:
            raise DataSetCorrupt(f"{folder / RECORD_FILE}: its hash is not that of its files; export it again")
        tensors = map_tensors(folder / TENSORS_FILE)
        lines = [line for line in (folder / ITEMS_FILE).read_text(encoding="utf-8").split("\n") if line]
        data_set = DataSet(
            tagger=record["tagger"],
            taxonomy=record["taxonomy"],
            encoder=record["encoder"],
            labels=tuple(record["labels"]),
            items=tuple(_item(json.loads(line)) for line in lines),
            embeddings=tensors["embeddings"],
            times_s=tensors["times_s"],
            created_at=record["created_at"],
            hash=record["hash"],
            measures=int(record.get("measures", 0)),
            folder=folder,
        )
        if data_set.dimension != record["dimension"]:
            raise DataSetCorrupt(f"{folder}: embeddings of {data_set.dimension}, not of {record['dimension']} numbers")
    except (OSError, ValueError, TypeError, KeyError, IndexError) as error:
        raise DataSetCorrupt(f"{folder} cannot be read: {error!r}; export it again") from error
    if fault := next(_faults(data_set), None):
        raise DataSetCorrupt(f"{folder}: {fault}; export it again")
    return data_set


def content_hash(files: Mapping[str, str]) -> str:
    """One sha256 over the files' own, in a fixed order."""
    return hashlib.sha256("".join(f"{name} {files[name]}\n" for name in sorted(files)).encode()).hexdigest()


def _item(fields: Mapping[str, Any]) -> Item:
    first, last = fields["rows"]
    return Item(
        upload_id=str(fields["upload_id"]),
        group=str(fields["group"]),
        split=cast(Split, fields["split"]),
        rows=(int(first), int(last)),
        labels={str(label): float(value) for label, value in fields["labels"].items()},
        slices=dict(fields["slices"]),
        keyframe=fields["keyframe"],
    )


def _faults(data_set: DataSet) -> Iterator[str]:
    if data_set.embeddings.ndim != 2 or data_set.times_s.shape != data_set.embeddings.shape[:1]:
        yield "embeddings must be [N, d] and times_s [N]"
        return
    pieces = (data_set.embeddings[at : at + PIECE_ROWS] for at in range(0, len(data_set.embeddings), PIECE_ROWS))
    if not all(np.isfinite(piece).all() for piece in pieces):
        yield "embeddings are not finite"
    if not 0 <= data_set.measures <= data_set.dimension:
        yield "it has more measures than columns"
    if len(set(data_set.labels)) != len(data_set.labels):
        yield "a label is listed twice"
    if len({item.upload_id for item in data_set.items}) != len(data_set.items):
        yield "an upload is listed twice"
    yield from _item_faults(data_set.items, set(data_set.labels), len(data_set.embeddings))


def _item_faults(items: Sequence[Item], labels: set[str], rows: int) -> Iterator[str]:
    split_of: dict[str, str] = {}
    for item in items:
        where = f"upload {item.upload_id!r}"
        if item.split not in SPLITS:
            yield f"{where}: split {item.split!r} is none of {', '.join(SPLITS)}"
        if split_of.setdefault(item.group, item.split) != item.split:
            yield f"{where}: its group {item.group!r} lies in two splits"
        if not 0 <= item.rows[0] <= item.rows[1] <= rows:
            yield f"{where}: rows {list(item.rows)} are not in 0 to {rows}"
        if unknown := sorted(set(item.labels) - labels):
            yield f"{where}: label {unknown[0]!r} is not one of the data set's"
        if not all(0.0 <= value <= 1.0 for value in item.labels.values()):
            yield f"{where}: a label's value is not in 0 to 1"
        if item.keyframe is not None and not _inside(item.keyframe):
            yield f"{where}: key frame {item.keyframe!r} is not in {KEYFRAMES_FOLDER}/"


def _inside(keyframe: str) -> bool:
    path = Path(keyframe)
    return path.parts[:1] == (KEYFRAMES_FOLDER,) and ".." not in path.parts


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(PIECE_BYTES):
            digest.update(piece)
    return digest.hexdigest()


def _replace(path: Path, content: Iterable[bytes]) -> None:
    incoming = path.with_name(f".{path.name}.incoming")
    with incoming.open("wb") as file:
        for piece in content:
            file.write(piece)
        file.flush()
        os.fsync(file.fileno())
    incoming.replace(path)
