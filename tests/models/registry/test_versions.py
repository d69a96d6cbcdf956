"""Versions on disk: what is whole and signed is loaded, and each way of being neither has its own error."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from models.registry.versions import (
    Registry,
    Version,
    VersionCorrupt,
    VersionIncompatible,
    VersionMissing,
    VersionUnsigned,
    parse_name,
    read_key,
)

KEY = b"a key of the tests"
MANIFEST = {"encoder": "net@1", "labels": ["a"]}
HEAD = {"out.weight": np.ones((1, 4), np.float32)}


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry(tmp_path / "registry", KEY)


@pytest.fixture
def version(registry: Registry) -> Version:
    return registry.add("topics", MANIFEST, HEAD, {"format": 1})


def rewrite(version: Version, **changes: object) -> None:
    path = version.folder / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_what_was_added_is_loaded(registry: Registry, version: Version) -> None:
    found = registry.version("topics", 1)
    assert found == version
    assert np.array_equal(found.tensors()["out.weight"], HEAD["out.weight"])
    assert found.extra_topics() == {"format": 1}
    assert registry.names() == [("topics", 1)]
    assert [path.name for path in (registry.root / "topics").iterdir()] == ["1"]


def test_numbers_count_up_also_when_many_train_at_once(registry: Registry) -> None:
    with ThreadPoolExecutor(8) as pool:
        numbers = list(pool.map(lambda _: registry.add("topics", MANIFEST, HEAD).number, range(16)))
    assert sorted(numbers) == registry.numbers("topics") == list(range(1, 17))
    for number in numbers:
        assert registry.version("topics", number).number == number


@pytest.mark.parametrize("name", ["head.safetensors", "taxonomy.json"])
def test_a_damaged_file_is_corrupt(registry: Registry, version: Version, name: str) -> None:
    path = version.folder / name
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(VersionCorrupt, match=name):
        registry.version("topics", 1)
    path.unlink()
    with pytest.raises(VersionCorrupt, match=name):
        registry.version("topics", 1)


def test_a_file_that_is_damaged_after_it_was_checked_is_corrupt(registry: Registry, version: Version) -> None:
    found = registry.version("topics", 1)
    (version.folder / "head.safetensors").write_bytes(b"x")
    with pytest.raises(VersionCorrupt):
        found.tensors()


@pytest.mark.parametrize("content", ["", "[]", "{}", "{nonsense"])
def test_a_damaged_manifest_is_corrupt(registry: Registry, version: Version, content: str) -> None:
    (version.folder / "manifest.json").write_text(content)
    with pytest.raises(VersionCorrupt):
        registry.version("topics", 1)


def test_another_format_is_incompatible_and_not_corrupt(registry: Registry, version: Version) -> None:
    rewrite(version, format=3)
    with pytest.raises(VersionIncompatible, match="format 3"):
        registry.version("topics", 1)
    assert not issubclass(VersionIncompatible, VersionCorrupt)


@pytest.mark.parametrize(
    "changes", [{"labels": ["b"]}, {"signature": "hmac-sha256:00"}, {"signature": None}, {"files": {}}]
)
def test_an_altered_manifest_is_not_trusted(registry: Registry, version: Version, changes: dict) -> None:
    rewrite(version, **changes)
    with pytest.raises(VersionUnsigned):
        registry.version("topics", 1)


def test_another_key_or_none_trusts_nothing(registry: Registry, version: Version) -> None:
    for key in (b"another key", None):
        with pytest.raises(VersionUnsigned, match="SIGNING_KEY"):
            Registry(registry.root, key).version("topics", 1)
    with pytest.raises(VersionUnsigned):
        Registry(registry.root, None).add("topics", MANIFEST, HEAD)


def test_a_version_that_was_moved_is_corrupt(registry: Registry, version: Version) -> None:
    version.folder.rename(version.folder.with_name("7"))
    with pytest.raises(VersionCorrupt, match="wrong place"):
        registry.version("topics", 7)


def test_a_missing_version_is_told_with_those_that_there_are(registry: Registry, version: Version) -> None:
    with pytest.raises(VersionMissing, match="topics/1"):
        registry.version("topics", 2)


def test_names() -> None:
    assert parse_name("topics/3") == ("topics", 3)
    assert parse_name("topics/packaged") == ("topics", None)
    for wrong in ("topics", "topics/", "topics/0", "topics/x", "../topics/1", "/3", "topics/3/4"):
        with pytest.raises(VersionMissing):
            parse_name(wrong)


def test_a_key_is_made_once_and_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "home" / "signing.key"
    assert read_key(path) is None
    key = read_key(path, create=True)
    assert key is not None
    assert len(key) == 64
    assert read_key(path, create=True) == read_key(path) == key
    assert path.stat().st_mode & 0o777 == 0o600
