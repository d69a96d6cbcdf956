from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from media import landlock, sandbox, seccomp
from media.capabilities import Protection, capabilities

ROOT = Path(__file__).parents[2]

# Where every supported kernel must protect, whatever the container allows.
ALWAYS = {
    "memory",
    "cpu time",
    "file size",
    "open files",
    "core dumps",
    "no new privileges",
    "capabilities dropped",
    "dies with its parent",
    "empty environment",
}


@pytest.fixture(scope="module")
def found() -> dict[str, Protection]:
    return {protection.name: protection for protection in capabilities()}


def test_every_protection_is_reported(found: dict[str, Protection]) -> None:
    assert set(found) >= ALWAYS | {"network namespace", "no TCP", "files: reading", "files: writing", "system calls"}
    assert all(protection.detail for protection in found.values())


@pytest.mark.parametrize("name", sorted(ALWAYS))
def test_what_needs_no_permission_is_in_force(found: dict[str, Protection], name: str) -> None:
    assert found[name].in_force, found[name].detail


@pytest.mark.skipif(not landlock.version(), reason="this kernel has no Landlock")
@pytest.mark.parametrize("name", ["files: reading", "files: writing", "no programs"])
def test_landlock_is_in_force(found: dict[str, Protection], name: str) -> None:
    assert found[name].in_force


@pytest.mark.skipif(seccomp.supported() is not None, reason=str(seccomp.supported()))
@pytest.mark.parametrize("name", ["system calls", "processes"])
def test_system_calls_are_filtered(found: dict[str, Protection], name: str) -> None:
    assert found[name].in_force, found[name].detail


def test_nothing_is_claimed_that_is_not_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without seccomp and Landlock the report says so, and why."""
    code = """
import json, sys
from dataclasses import asdict
from pathlib import Path
from media import capabilities, landlock, seccomp
seccomp.supported = lambda: "no list of system calls for pdp11"
landlock.version = lambda: 0
print(json.dumps({one.name: [one.in_force, one.detail] for one in capabilities._try_all(Path(sys.argv[1]))}))
"""
    with tempfile.TemporaryDirectory() as outside:
        folder = Path(outside) / "inside"
        folder.mkdir()
        (Path(outside) / "secret").write_bytes(b"1")
        told = run(code, folder)
    assert told["system calls"] == [False, "not filtered: no list of system calls for pdp11"]
    for name in ("files: reading", "files: writing", "no programs"):
        assert told[name][0] is False and "Landlock" in told[name][1]


def run(code: str, folder: Path) -> dict:
    """Run code in a process that then may be confined; it prints JSON."""
    answer = subprocess.run(
        [sys.executable, "-c", code, str(folder)],
        capture_output=True,
        text=True,
        timeout=30,
        env={"PYTHONPATH": str(ROOT), "SECRET": "s3cret"},
    )
    assert answer.returncode == 0, answer.stderr
    return json.loads(answer.stdout)


ORDINARY_USER = """
import json, os, signal, sys
from pathlib import Path
from media import sandbox
folder = Path(sys.argv[1])
if os.getuid() == 0:
    os.setgid(65534), os.setuid(65534)
    sandbox._prctl(4, 1)  # as a process that was started by that user
users = sandbox.user_namespace_works()
done = sandbox.confine(sandbox.Confinement(folder, 256 << 20, 5.0, user_namespace=users))
(folder / "made").write_text("x")
children = []
try:
    while len(children) < 300:
        child = os.fork()
        if child == 0:
            signal.pause()
        children.append(child)
except OSError:
    pass
for child in children:
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
print(json.dumps({"users": users, "network": done.network_namespace, "forked": len(children), "uid": os.getuid()}))
"""


def test_an_ordinary_user_is_confined_too() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o777)
        found = run(ORDINARY_USER, folder)
        assert (folder / "made").read_text() == "x"
        assert (folder / "made").stat().st_uid == found["uid"] != 0
        if not found["users"]:
            pytest.skip("user namespaces are forbidden here")
        assert found["network"]
        assert found["forked"] < sandbox.PROCESSES  # 0 where system calls are filtered


ROOT_WITHOUT_POWERS = """
import json, sys
from pathlib import Path
from media import sandbox
sandbox.drop_capabilities()  # what a careful container leaves of root
users = sandbox.user_namespace_works()
sandbox.confine(sandbox.Confinement(Path(sys.argv[1]), 256 << 20, 5.0, user_namespace=users))
Path(sys.argv[1], "made").write_text("x")
print(json.dumps(True))
"""


def test_a_namespace_that_cannot_be_used_is_left_alone(tmp_path: Path) -> None:
    assert run(ROOT_WITHOUT_POWERS, tmp_path)
    assert (tmp_path / "made").read_text() == "x"


ENVIRONMENT = """
import json, os
from pathlib import Path
from media import sandbox
before = b"s3cret" in Path("/proc/self/environ").read_bytes()
sandbox.scrub_environment({"KEPT": "1"})
after = Path("/proc/self/environ").read_bytes()
print(json.dumps({"before": before, "after": b"s3cret" in after, "now": dict(os.environ)}))
"""


def test_the_environment_is_wiped_where_the_kernel_shows_it(tmp_path: Path) -> None:
    assert run(ENVIRONMENT, tmp_path) == {"before": True, "after": False, "now": {"KEPT": "1"}}


DESCRIPTORS = """
import json, os, sys
from media import sandbox
kept, lost = os.open("/dev/zero", os.O_RDONLY), os.open("/dev/zero", os.O_RDONLY)
out = os.dup(1)
sandbox.close_descriptors({kept, out})
def is_open(fd):
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True
found = {"kept": is_open(kept), "lost": is_open(lost), "out": os.readlink("/proc/self/fd/1")}
os.write(out, json.dumps(found).encode())
"""


def test_descriptors_are_closed(tmp_path: Path) -> None:
    assert run(DESCRIPTORS, tmp_path) == {"kept": True, "lost": False, "out": "/dev/null"}


def test_landlock_refuses_nothing_it_was_not_asked_to(tmp_path: Path) -> None:
    code = """
import json, sys
from pathlib import Path
from media import landlock, sandbox, seccomp
folder = Path(sys.argv[1])
sandbox._prctl(38, 1)
version = landlock.restrict((*sandbox.library_folders(), folder / "in"), (folder / "out", folder / "missing"))
(folder / "out" / "file").write_text("x")
import statistics
print(json.dumps({"version": version, "read": (folder / "in").read_text(), "mean": statistics.mean([1, 2])}))
"""
    (tmp_path / "in").write_text("input")
    (tmp_path / "out").mkdir()
    assert run(code, tmp_path) == {"version": landlock.version(), "read": "input", "mean": 1.5}
