import json
import tomllib
from pathlib import Path

import pytest

from benchmarks.corpus import DONE, CorpusError, sources
from benchmarks.truths import TRUTH, _load, half_of
from models.sounds.audioset import class_names
from models.topics.taxonomy import load_taxonomy


def entries(name: str) -> list[dict]:
    return tomllib.loads((TRUTH / name).read_text(encoding="utf-8"))["folder"]


def test_every_label_exists_and_every_source_is_known():
    topics = set(load_taxonomy().index)
    for entry in entries("photos.toml"):
        assert entry["source"] in sources()
        for accept in (entry["accept"], *entry.get("files", {}).values()):
            assert set(accept) <= topics, entry["path"]
        assert ("only" in entry) == ("dropped_because" in entry)
    names = set(class_names())
    for entry in entries("effects.toml"):
        assert entry["source"] in sources()
        for accept in entry["files"].values():
            assert accept and set(accept) <= names, entry["path"]


def test_no_folder_is_listed_twice():
    for name in ("photos.toml", "effects.toml"):
        seen = [(entry["source"], entry["path"]) for entry in entries(name)]
        assert len(seen) == len(set(seen))


def test_halves_are_stable_and_about_even():
    assert half_of("eiffelTower") == half_of("EiffelTower_background")
    names = [name for entry in entries("effects.toml") for name in entry["files"]]
    share = sum(half_of(name) == "dev" for name in names) / len(names)
    assert 0.4 < share < 0.6
    assert [half_of(name) for name in ("cat", "dog", "owl")] == [half_of(name) for name in ("cat", "dog", "owl")]


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    source = sources()["scikit-learn"]
    folder = source.folder(tmp_path)
    (folder / "pictures").mkdir(parents=True)
    (folder / DONE).write_text(json.dumps({"keep": source.keep}))
    for name in ("one.jpg", "two.png", "three.jpg", "notes.txt"):
        (folder / "pictures" / name).write_bytes(name.encode())
    return tmp_path


def truth_file(tmp_path: Path, extra: str) -> Path:
    path = tmp_path / "truth.toml"
    path.write_text(f'[[folder]]\nsource = "scikit-learn"\npath = "pictures"\naccept = ["animals/cat"]\n{extra}')
    return path


def test_files_inherit_override_and_drop(cache, tmp_path):
    path = truth_file(tmp_path, '[folder.files]\ntwo = []\n[folder.drop]\nthree = "blurred"\n')
    truth = _load(path, {".jpg", ".png"}, cache)
    assert {item.name: item.accept for item in truth.items} == {"one": ("animals/cat",), "two": ()}
    assert truth.dropped == {"blurred": 1}


def test_only(cache, tmp_path):
    truth = _load(truth_file(tmp_path, 'only = ["one"]\ndropped_because = "drawings"\n'), {".jpg", ".png"}, cache)
    assert [item.name for item in truth.items] == ["one"] and truth.dropped == {"drawings": 2}


def test_a_name_that_is_not_there_is_refused(cache, tmp_path):
    with pytest.raises(CorpusError, match="lacks four"):
        _load(truth_file(tmp_path, "[folder.files]\nfour = []\n"), {".jpg", ".png"}, cache)
