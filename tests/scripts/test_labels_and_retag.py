"""The commands as a person types them, on a store that a node has filled."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from models.protocol import Encoding, Evidence
from models.topics.tagger import TopicsTagger
from scripts.cli import app
from store.artifacts import ArtifactStore
from store.store import Started, Store, StoreError
from tasks.artifacts import FORMAT
from tasks.contract import MediaFacts, TagDocument, Topic
from tasks.job import tag_rows
from tasks.kept import encoding_rows, evidence_arrays
from workers.settings import settings

ROOT = Path(__file__).parents[2]
Run = Callable[..., Result]


def keep(store: Store, artifacts: ArtifactStore, upload_id: str, version: str, encoder: str) -> None:
    """One upload, as a node with these versions leaves it."""
    admission = store.admit(upload_id, {"upload_id": upload_id, "country": "IT"}, "h", owner="n", lease_s=60)
    assert isinstance(admission, Started)
    times = np.arange(4) * 0.5
    rows = np.random.default_rng(len(upload_id)).random((4, 1280)).astype(np.float16).astype(np.float32)
    encoding = Encoding(encoder, times, 0.5, rows, np.zeros((4, 1000), np.float32))
    frames = np.zeros((0, 0, 0, 3), np.uint8)
    seen = Evidence(2.0, frames, times, [(0.0, 2.0)], np.zeros(0, np.float32), encodings={"picture": encoding})
    arrays = {"format": np.array([FORMAT], np.int32), **evidence_arrays(seen, False)}
    address = artifacts.put(upload_id, admission.attempt_id, arrays)
    document = TagDocument(
        upload_id=upload_id,
        outcome="ok",
        media=MediaFacts(sha256=upload_id, duration_s=2.0),
        topics=[Topic(topic="food", score=0.9, from_=["picture"])],
        models={"topics": version},
    )
    with store.commit(admission.attempt_id) as transaction:
        transaction.finish(document.to_json(), tag_rows(document), [], address, encoding_rows(seen))


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    monkeypatch.setenv("TAGFARM_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(os, "nice", lambda by: 0)
    settings.cache_clear()
    opened = Store.open(f"sqlite:///{_made(tmp_path / 'home') / 'tagfarm.db'}")
    artifacts = ArtifactStore((tmp_path / "home" / "artifacts").as_uri())
    for number in range(3):
        keep(opened, artifacts, f"old{number}", "efficientnet-lite2-taxonomy@0", "efficientnet-lite2@1")
    keep(opened, artifacts, "now", TopicsTagger.version, "efficientnet-lite2@1")
    yield opened
    opened.close()
    settings.cache_clear()


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
def tagfarm() -> Run:
    runner = CliRunner()
    return lambda *words: runner.invoke(app, [str(word) for word in words], catch_exceptions=False)


def lines(result: Result) -> list[Any]:
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_labels_from_the_command_line(store: Store, tagfarm: Run, tmp_path: Path) -> None:
    done = tagfarm("labels", "add", "now", "food", "reject", "--by", "ada", "--note", "a rock", "--json")
    assert (done.exit_code, lines(done)) == (0, [{"upload_id": "now", "written": True, "changed": True}])
    assert lines(tagfarm("show", "now", "--json"))[0]["topics"] == []
    assert tagfarm("labels", "add", "now", "fod", "reject").exit_code == 2
    assert tagfarm("labels", "add", "nobody", "food").exit_code == 1
    (listed,) = lines(tagfarm("labels", "list", "--json"))
    assert (listed["upload_id"], listed["decision"], listed["by"], listed["holds"]) == ("now", "reject", "ada", True)
    assert "a rock" in tagfarm("labels", "list").stdout
    for name in ("all.jsonl", "all.csv"):
        assert tagfarm("labels", "export", "-o", tmp_path / name).exit_code == 0
        again = tagfarm("labels", "import", tmp_path / name, "--json")
        assert (again.exit_code, lines(again)[0]["known"], lines(again)[0]["written"]) == (0, 1, 0)
    (tmp_path / "bad.jsonl").write_text('{"upload_id": "now", "tag": "food", "decision": "add"}\n{"tag": 1}\n')
    bad = tagfarm("labels", "import", tmp_path / "bad.jsonl", "--by", "ada")
    assert bad.exit_code == 1
    assert "line 2: bad_value" in bad.stderr and "nothing is written" in bad.stderr
    assert len(list(store.labels(history=True))) == 1
    dry = tagfarm("labels", "import", tmp_path / "bad.jsonl", "--by", "ada", "--skip-errors", "--dry-run", "--json")
    assert (lines(dry)[0]["written"], len(list(store.labels(history=True)))) == (1, 1)
    assert tagfarm("labels", "import", tmp_path / "all.txt").exit_code == 2


def test_a_data_set_and_garbage(store: Store, tagfarm: Run, tmp_path: Path) -> None:
    assert tagfarm("data", "export", "topics", "--out", tmp_path / "set").exit_code == 1
    tagfarm("labels", "add", "now", "food", "confirm", "--by", "ada")
    done = tagfarm("data", "export", "topics", "--out", tmp_path / "set", "--json")
    assert (done.exit_code, lines(done)[0]["uploads"]) == (0, 1)
    assert (tmp_path / "set" / "dataset.json").is_file()
    assert "fewer than 20" in tagfarm("data", "export", "topics", "--out", tmp_path / "set").stdout
    assert tagfarm("data", "export", "layout", "--out", tmp_path / "set").exit_code == 2
    assert lines(tagfarm("data", "gc", "--json"))[0]["deleted"] == 0


def test_an_archive_is_tagged_again(store: Store, tagfarm: Run) -> None:
    dry = tagfarm("retag", "--stale", "topics", "--dry-run", "--json")
    assert lines(dry) == [
        {
            "event": "plan",
            "selected": 3,
            "kept": 3,
            "stale": 0,
            "without": 0,
            "encoders": {},
            "targets": {"topics": TopicsTagger.version},
            "full": False,
        }
    ]
    assert store.retag_runs() == []
    done = tagfarm("retag", "--stale", "topics", "--where", "country = 'IT'", "--from-embeddings", "--json")
    assert done.exit_code == 0
    end = lines(done)[-1]
    assert (end["event"], end["left"], sum(end["items"].values())) == ("end", 0, 3)
    assert store.document("old1")["models"] == {"topics": TopicsTagger.version}
    assert lines(tagfarm("retag", "--runs", "--json"))[0]["state"] == "done"
    assert "topics" in tagfarm("retag", "--runs").stdout
    again = tagfarm("retag", "--stale", "topics", "--from-embeddings")
    assert (again.exit_code, "nothing to do" in again.stderr) == (0, True)


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        ((), 2, "say which uploads"),
        (("--stale", "astrology"), 2, "no tagger 'astrology'"),
        (("--where", "password = 'x'"), 1, "there is no column"),
        (("--stale", "topics", "--rate", "fast"), 2, "write e.g. 50/s"),
        (("--failed", "--from-embeddings"), 2, "need the files"),
        (("--stale", "soundid", "--from-embeddings"), 0, ""),
        (("--missing", "layout", "--from-embeddings"), 1, "layout cannot be run from embeddings"),
        (("--missing", "events", "--from-embeddings"), 1, "4 of 4 have none that would do"),
        (("nobody",), 1, "unknown"),
        (("--pause", "7"), 1, "run 7 is unknown"),
    ],
)
def test_what_cannot_be_done_is_told_with_the_cure(
    store: Store, tagfarm: Run, words: tuple[str, ...], code: int, told: str
) -> None:
    try:
        done = tagfarm("retag", *words)
        answer = (done.exit_code, " ".join(done.stderr.split()))
    except StoreError as error:  # said by the command's entrance
        answer = (1, str(error))
    assert answer[0] == code
    assert told in answer[1]


@pytest.mark.slow  # what it runs is nice to whatever else the machine does
def test_the_nightly_script(store: Store, tmp_path: Path) -> None:
    programs = _made(tmp_path / "bin")
    (programs / "tagfarm").write_text(f'#!/bin/sh\nexec {sys.executable} -m scripts.cli "$@"\n')
    (programs / "tagfarm").chmod(0o755)
    paths = {"PATH": f"{programs}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path)}
    chosen = {"RETAG_TAGGERS": "topics", "RETAG_RATE": "1000/s"}
    script = ROOT / "scripts" / "retag-nightly"
    done = subprocess.run([script], env={**os.environ, **paths, **chosen}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    said = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line.get("event") for line in said if line.get("event") != "progress"] == ["plan", "end", None]
    assert store.document("old2")["models"] == {"topics": TopicsTagger.version}


def test_an_upload_explains_itself(store: Store, tagfarm: Run) -> None:
    why = lines(tagfarm("explain", "now", "--json", "--top", "2"))[0]
    assert (why["upload_id"], why["spoke"], why["version"]) == ("now", TopicsTagger.version, TopicsTagger.version)
    assert why["ranges"][0]["range"] == [0.0, 2.0]
    assert len(why["ranges"][0]["evidence"].get("picture", [])) <= 2
    shown = tagfarm("explain", "old0")
    assert shown.exit_code == 0 and "joined" in shown.stdout
    assert "efficientnet-lite2-taxonomy@0" in shown.stderr
    assert tagfarm("explain", "nobody").exit_code == 1
