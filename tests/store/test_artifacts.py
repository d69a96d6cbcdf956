from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from store.artifacts import ArtifactCorrupt, ArtifactStore


@pytest.fixture
def artifacts(tmp_path: Path) -> ArtifactStore:
    return ArtifactStore((tmp_path / "kept").as_uri())


def _files(tmp_path: Path) -> list[Path]:
    return [path for path in (tmp_path / "kept").rglob("*") if path.is_file()]


def test_arrays_come_back_as_they_went(artifacts: ArtifactStore) -> None:
    arrays = {
        "embeddings/net": np.arange(6, dtype=np.float16).reshape(2, 3),
        "curves/x": np.arange(10, dtype=np.float32)[::2],
        "turned": np.arange(6, dtype=np.int32).reshape(2, 3).T,
        "keyframes/00": np.frombuffer(b"\xff\xd8jpeg", dtype=np.uint8),
        "empty": np.zeros((0, 4), dtype=np.float32),
        "one": np.array(3, dtype=np.int64),
    }
    back = artifacts.get(artifacts.put("u1", 7, arrays))
    assert back is not None
    assert back.keys() == arrays.keys()
    for name, array in arrays.items():
        assert back[name].dtype == array.dtype
        assert back[name].shape == array.shape
        np.testing.assert_array_equal(back[name], array)


@pytest.mark.parametrize("upload_id", ["../../etc/passwd", "/abs", "a/b", "x" * 5000, "", "\x00", "ü\ud800", "CON"])
def test_no_upload_id_leads_out_of_the_root(artifacts: ArtifactStore, tmp_path: Path, upload_id: str) -> None:
    address = artifacts.put(upload_id, 1, {"a": np.zeros(1)})
    (file,) = _files(tmp_path)
    assert file.relative_to(tmp_path / "kept").as_posix() == address
    assert artifacts.get(address) is not None


@pytest.mark.parametrize(
    "address", ["../x", "/etc/passwd", "", "ab/cd/../../x", "ab/cd/" + "e" * 32 + "-1.safetensors\n"]
)
def test_only_own_addresses_are_read_or_deleted(artifacts: ArtifactStore, address: str) -> None:
    for call in (artifacts.get, artifacts.delete):
        with pytest.raises(ValueError, match="address"):
            call(address)


def test_attempts_have_addresses_of_their_own(artifacts: ArtifactStore) -> None:
    first = artifacts.put("u1", 1, {"a": np.zeros(1)})
    second = artifacts.put("u1", 2, {"a": np.ones(1)})
    assert first != second
    assert artifacts.put("u1", 1, {"a": np.full(1, 5.0)}) == first == artifacts.address("u1", 1)
    assert artifacts.get(first)["a"][0] == 5.0  # type: ignore[index]
    assert artifacts.get(second)["a"][0] == 1.0  # type: ignore[index]


def test_what_is_deleted_is_none(artifacts: ArtifactStore) -> None:
    address = artifacts.put("u1", 1, {"a": np.zeros(1)})
    assert artifacts.delete(address)
    assert artifacts.get(address) is None
    assert not artifacts.delete(address)


def test_a_write_that_breaks_off_leaves_the_old_and_no_litter(artifacts, tmp_path: Path, monkeypatch) -> None:
    address = artifacts.put("u1", 1, {"a": np.zeros(4)})

    def broken(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch, pytest.raises(OSError, match="space"):
        patch.setattr("os.fsync", broken)
        artifacts.put("u1", 1, {"a": np.ones(4)})
    assert len(_files(tmp_path)) == 1
    np.testing.assert_array_equal(artifacts.get(address)["a"], np.zeros(4))


@pytest.mark.parametrize("damage", [b"", b"garbage!", b"\xff" * 64])
def test_a_damaged_file_is_told_as_such(artifacts: ArtifactStore, tmp_path: Path, damage: bytes) -> None:
    address = artifacts.put("u1", 1, {"a": np.zeros(4)})
    (tmp_path / "kept" / address).write_bytes(damage)
    with pytest.raises(ArtifactCorrupt, match="safetensors"):
        artifacts.get(address)


def test_an_object_store_does_as_well_as_a_folder() -> None:
    artifacts = ArtifactStore("memory://bucket/kept")
    address = artifacts.put("u1", 1, {"a": np.arange(3)})
    np.testing.assert_array_equal(artifacts.get(address)["a"], np.arange(3))  # type: ignore[index]
    assert artifacts.delete(address)
    assert artifacts.get(address) is None
