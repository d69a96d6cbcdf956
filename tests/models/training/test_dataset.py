"""The data set's folder: what is written is read back, and what is damaged is told from what is of another version."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from models.training.dataset import (
    DataSet,
    DataSetCorrupt,
    DataSetError,
    DataSetIncompatible,
    Item,
    read,
    write,
)


def small() -> DataSet:
    generator = np.random.default_rng(1)
    return DataSet(
        tagger="topics",
        taxonomy="taxonomy@1",
        encoder="efficientnet-lite2@1",
        labels=("animals/cat", "food/pizza"),
        items=(
            Item("u1", "g1", "train", (0, 3), {"animals/cat": 1.0, "food/pizza": 0.0}, {"language": "it"}),
            Item("u2", "g1", "train", (3, 5), {"animals/cat": 1.0}, {"duration_s": 3.0}, "keyframes/u2.jpg"),
            Item("ünl/3", "g2", "test", (5, 5), {}),
        ),
        embeddings=generator.normal(size=(5, 8)).astype(np.float16),
        times_s=np.array([0.0, 0.5, 1.0, 0.0, 0.5], np.float32),
        created_at="2026-11-24T12:00:00+00:00",
    )


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    written = write(tmp_path / "data", small())
    found = read(tmp_path / "data")
    assert found.items == small().items
    assert found.labels == small().labels
    assert (found.tagger, found.taxonomy, found.encoder) == ("topics", "taxonomy@1", "efficientnet-lite2@1")
    assert found.embeddings.dtype == np.float16
    assert np.array_equal(found.embeddings, small().embeddings)
    assert np.array_equal(found.times_s, small().times_s)
    assert found.hash == written.hash
    assert len(found.hash) == 64
    assert found.dimension == 8
    assert found.rows(found.items[1]).shape == (2, 8)
    assert [item.upload_id for item in found.of("test")] == ["ünl/3"]


def test_the_hash_names_the_content_and_not_the_day(tmp_path: Path) -> None:
    first = write(tmp_path / "a", small())
    later = write(tmp_path / "b", replace(small(), created_at="2027-01-01T00:00:00+00:00"))
    judged_again = replace(small().items[1], labels={"animals/cat": 0.0})
    other = write(tmp_path / "c", replace(small(), items=(small().items[0], judged_again, small().items[2])))
    assert first.hash == later.hash
    assert first.hash != other.hash


@pytest.mark.parametrize("name", ["items.jsonl", "embeddings.safetensors"])
def test_an_altered_file_is_corrupt(tmp_path: Path, name: str) -> None:
    write(tmp_path, small())
    content = bytearray((tmp_path / name).read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataSetCorrupt, match=name):
        read(tmp_path)


def test_a_missing_file_is_corrupt(tmp_path: Path) -> None:
    with pytest.raises(DataSetCorrupt, match="tagfarm data export"):
        read(tmp_path)
    write(tmp_path, small())
    (tmp_path / "embeddings.safetensors").unlink()
    with pytest.raises(DataSetCorrupt):
        read(tmp_path)


@pytest.mark.parametrize("content", ["", "[]", "3", "{}", '{"format": 1}', "{nonsense"])
def test_a_damaged_record_is_corrupt(tmp_path: Path, content: str) -> None:
    write(tmp_path, small())
    (tmp_path / "dataset.json").write_text(content)
    with pytest.raises(DataSetCorrupt):
        read(tmp_path)


def test_another_format_version_is_incompatible_and_not_corrupt(tmp_path: Path) -> None:
    write(tmp_path, small())
    record = json.loads((tmp_path / "dataset.json").read_text())
    (tmp_path / "dataset.json").write_text(json.dumps({**record, "format": 3}))
    with pytest.raises(DataSetIncompatible, match="format 3"):
        read(tmp_path)
    assert not issubclass(DataSetIncompatible, DataSetCorrupt)
    assert issubclass(DataSetIncompatible, DataSetError)


def test_a_record_of_other_files_is_corrupt(tmp_path: Path) -> None:
    write(tmp_path, small())
    record = json.loads((tmp_path / "dataset.json").read_text())
    (tmp_path / "dataset.json").write_text(json.dumps({**record, "hash": "0" * 64}))
    with pytest.raises(DataSetCorrupt, match="hash"):
        read(tmp_path)


@pytest.mark.parametrize(
    ("item", "fault"),
    [
        (Item("u9", "g1", "test", (0, 1), {}), "two splits"),
        (Item("u9", "g9", "all", (0, 1), {}), "none of"),  # type: ignore[arg-type]
        (Item("u9", "g9", "test", (4, 6), {}), "rows"),
        (Item("u9", "g9", "test", (0, 1), {"sky": 1.0}), "label 'sky'"),
        (Item("u9", "g9", "test", (0, 1), {"animals/cat": 2.0}), "value"),
        (Item("u9", "g9", "test", (0, 1), {}, {}, "keyframes/../../secret"), "key frame"),
        (Item("u1", "g9", "test", (0, 1), {}), "twice"),
    ],
)
def test_a_data_set_that_contradicts_itself_is_not_written(tmp_path: Path, item: Item, fault: str) -> None:
    with pytest.raises(ValueError, match=fault):
        write(tmp_path, replace(small(), items=(*small().items, item)))
    assert not (tmp_path / "dataset.json").exists()


def test_a_killed_write_leaves_no_half_data_set(tmp_path: Path) -> None:
    """The items are replaced, the record not yet: the hash tells."""
    write(tmp_path, small())
    whole = write(tmp_path / "other", replace(small(), items=small().items[:2]))
    (tmp_path / "items.jsonl").write_bytes((tmp_path / "other" / "items.jsonl").read_bytes())
    assert whole.hash
    with pytest.raises(DataSetCorrupt):
        read(tmp_path)
