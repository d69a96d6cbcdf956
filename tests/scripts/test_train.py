"""The ML engineer's commands in a row, as one types them: train, evaluate, promote, list, roll back."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from models.registry import weights
from models.training.dataset import DataSet, Item, write
from scripts.cli import app
from workers.settings import settings

LABEL = "hobbies/kites"


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Runs a command in a home of its own; gives its exit status, JSON lines, and errors."""
    monkeypatch.setenv("TAGFARM_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    settings.cache_clear()
    weights.pull(settings().models.weights, ["efficientnet-lite2"])

    def command(*arguments: str) -> tuple[int, list[dict], str]:
        done = CliRunner().invoke(app, list(arguments))
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            raise done.exception
        lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
        return done.exit_code, lines, done.stderr

    yield command
    settings.cache_clear()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Uploads of two frames; every other one shows a kite, and people said so of these alone."""
    random = np.random.default_rng(0)
    rows, items = random.random((160, 1280)), []
    for number in range(80):
        present = number % 2 == 0
        rows[2 * number : 2 * number + 2, :200] += 0.5 * present
        split = ("train", "train", "validation", "test")[number // 2 % 4]
        labels = {LABEL: 1.0} if present else {}
        items.append(Item(f"u{number}", f"g{number}", split, (2 * number, 2 * number + 2), labels))  # type: ignore[arg-type]
    times = np.tile(np.array([0.0, 0.5], np.float32), 80)
    write(
        tmp_path / "data",
        DataSet(
            "topics", "taxonomy@1", "efficientnet-lite2@1", (LABEL,), tuple(items), rows.astype(np.float16), times, ""
        ),
    )
    return tmp_path / "data"


def test_from_a_data_set_to_a_champion_and_back(run, folder: Path, tmp_path: Path) -> None:
    code, (trained,), told = run("train", "topics", "--data", str(folder), "--only", LABEL, "--json")
    assert code == 0, told
    assert trained["version"] == "topics/1"
    assert (Path(trained["folder"]) / "taxonomy.json").is_file()
    assert (tmp_path / "home" / "signing.key").stat().st_mode & 0o077 == 0
    code, (judged,), told = run("evaluate", "topics/1", "--against", "champion", "--data", str(folder), "--json")
    assert code == 0, told
    assert judged["passes"]
    assert judged["labels"][0]["version"]["f1"] == 1.0
    assert "May be promoted" in (tmp_path / "evaluation-topics-1.html").read_text()
    code, (state,), told = run("models", "promote", "topics/1", "--why", "kites", "--who", "ada", "--json")
    assert (code, state["number"], state["who"]) == (0, 1, "ada"), told
    _, (listed,), _ = run("models", "list", "--json")
    assert (listed["version"], listed["used_as"], listed["state"]) == ("topics/1", ["champion"], "sound")
    _, (shown,), _ = run("models", "show", "topics/1", "--json")
    assert shown["history"][0]["why"] == "kites"
    code, (back,), _ = run("models", "rollback", "topics", "--why", "wind", "--who", "bob", "--json")
    assert (code, back["number"], back["action"]) == (0, None, "rollback")
    with pytest.raises(Exception, match="nothing to go back to"):
        run("models", "rollback", "topics", "--why", "wind")
    _, history, _ = run("models", "history", "--json")
    assert [line["action"] for line in history] == ["rollback", "promote"]


def test_errors_say_what_is_wrong_and_what_to_do(run, folder: Path, tmp_path: Path) -> None:
    for arguments, code, words in (
        (("train", "layout", "--data", str(folder)), 2, "topics, events, quality"),
        (("train", "events", "--data", str(folder)), 2, "a data set of topics"),
        (("train", "topics", "--data", str(tmp_path)), 1, "tagfarm data export"),
        (("train", "topics", "--data", str(folder), "--only", "no/such"), 1, "no label"),
        (("train", "topics", "--data", str(folder), "--head", "deep"), 2, "linear, mlp, attention"),
        (("evaluate", "topics/1", "--data", str(folder)), 1, "VersionMissing"),
        (("models", "promote", "topics", "--why", "x"), 1, "TAGGER/NUMBER"),
        (("models", "promote", "topics/1", "--as", "king", "--why", "x"), 2, "champion, challenger, shadow"),
        (("models", "promote", "topics/1", "--share", "0.5", "--why", "x"), 2, "challenger"),
        (("models", "drift", "topics"), 1, "no trained champion"),
    ):
        found, _, told = run(*arguments)
        assert found == code, (arguments, told)
        assert words in " ".join(told.split()), (arguments, told)
