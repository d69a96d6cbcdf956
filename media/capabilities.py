"""Which of the sandbox's protections are really in force here: each is tried out in a confined process of its own."""

from __future__ import annotations

import json
import mmap
import os
import resource
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from media import sandbox, seccomp

TRY_TIMEOUT_S = 30
MEMORY_BYTES = 256 << 20
_PLANTED = "TAGFARM_SANDBOX_TRIAL"


@dataclass(frozen=True)
class Protection:
    """One layer of the sandbox."""

    name: str
    in_force: bool
    detail: str
    """What it keeps a decoder from; where it is not in force, why, and what would mend it."""


def capabilities() -> list[Protection]:
    """Try every protection in a fresh process, confined as a decoder is. Takes a fraction of a second."""
    with tempfile.TemporaryDirectory(prefix="tagfarm-sandbox-") as outside:
        folder = Path(outside) / "inside"
        folder.mkdir()
        (Path(outside) / "secret").write_bytes(b"1")
        answer = subprocess.run(
            [sys.executable, "-m", "media.capabilities", str(folder)],
            capture_output=True,
            text=True,
            timeout=TRY_TIMEOUT_S,
            check=False,
            env={_PLANTED: "1", "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
        )
    try:
        return [Protection(**fields) for fields in json.loads(answer.stdout)]
    except (json.JSONDecodeError, TypeError):
        return [Protection("sandbox", False, f"a process cannot be confined here: {answer.stderr[-300:].strip()}")]


def _try_all(folder: Path) -> list[Protection]:
    namespace = Path("/proc/self/ns/net").stat().st_ino
    sandbox.scrub_environment({})
    environ = Path("/proc/self/environ").read_bytes()
    namespace_after = os.open("/proc/self/ns", os.O_RDONLY | os.O_DIRECTORY)
    users = sandbox.user_namespace_works()
    done = sandbox.confine(sandbox.Confinement(folder, MEMORY_BYTES, deadline_s=TRY_TIMEOUT_S, user_namespace=users))
    left = os.stat("net", dir_fd=namespace_after).st_ino != namespace
    no_landlock = "the kernel has no Landlock (5.13 or later, enabled by lsm=landlock)"
    return [
        Protection("memory", _refused(_map_too_much), "address space is limited"),
        Protection("cpu time", _limited(resource.RLIMIT_CPU), "CPU time is limited"),
        Protection("file size", _limited(resource.RLIMIT_FSIZE), "the size of a written file is limited"),
        Protection("open files", _limited(resource.RLIMIT_NOFILE), "the number of open files is limited"),
        Protection(
            "core dumps", resource.getrlimit(resource.RLIMIT_CORE) == (0, 0), "a crash writes no memory to disk"
        ),
        Protection("processes", *_processes(done)),
        Protection("no new privileges", sandbox.no_new_privileges(), "set-user-id programs give it nothing"),
        Protection("capabilities dropped", not sandbox.has_capabilities(), "as root, it has none of root's powers"),
        Protection("dies with its parent", sandbox.dies_with_parent(), "no decoder outlives the farm"),
        Protection("empty environment", _PLANTED.encode() + b"=1" not in environ, "settings and secrets are wiped"),
        Protection(
            "network namespace",
            left and done.network_namespace,
            "it has no network"
            if left
            else "not in force: namespaces are forbidden here (in a container, allow `unshare` in its seccomp profile)",
        ),
        Protection(
            "no TCP",
            _refused(_connect),
            "no connection can be made" if done.landlock >= 4 or left else "needs Landlock 4 (Linux 6.7)",
        ),
        Protection(
            "files: reading",
            _forbidden((folder.parent / "secret").read_bytes),
            "it can read its libraries, its input and its scratch folder only" if done.landlock else no_landlock,
        ),
        Protection(
            "files: writing",
            _forbidden(lambda: (folder.parent / "new").write_bytes(b"")) and _writable(folder),
            "it can write in its scratch folder only" if done.landlock else no_landlock,
        ),
        Protection(
            "no programs",
            _forbidden(lambda: os.posix_spawn(sys.executable, [sys.executable, "-c", ""], {})),
            "it can start no program" if done.landlock else no_landlock,
        ),
        Protection(
            "signals",
            _forbidden(lambda: os.kill(os.getppid(), 0)),
            "it can signal no other process" if done.landlock >= 6 else "needs Landlock 6 (Linux 6.12)",
        ),
        Protection(
            "system calls",
            done.system_calls and _forbidden(lambda: socket.socket(socket.AF_UNIX)),
            "only those on a list that decoding needs" if done.system_calls else f"not filtered: {seccomp.supported()}",
        ),
    ]


def _processes(done: sandbox.InForce) -> tuple[bool, str]:
    if done.system_calls:
        return _forbidden(_fork), "it can start no process; its memory bounds its threads"
    if done.user_namespace:
        return _limited(resource.RLIMIT_NPROC), "the number of processes and threads is limited"
    return False, "not limited: for root, and without a user namespace or seccomp, the kernel has no such limit"


def _fork() -> None:
    if os.fork() == 0:
        os._exit(0)


def _refused(attempt: Callable[[], object]) -> bool:
    try:
        attempt()
    except (OSError, MemoryError):
        return True
    return False


def _forbidden(attempt: Callable[[], object]) -> bool:
    try:
        attempt()
    except PermissionError:
        return True
    return False


def _limited(kind: int) -> bool:
    return resource.getrlimit(kind)[0] != resource.RLIM_INFINITY


def _map_too_much() -> None:
    mmap.mmap(-1, 2 * MEMORY_BYTES).close()


def _connect() -> None:
    # TEST-NET-1 (RFC 5737): nobody is there. Only a refusal by this machine counts, and that is immediate.
    with socket.socket() as sock:
        sock.setblocking(False)
        try:
            sock.connect(("192.0.2.1", 9))
        except BlockingIOError:
            return


def _writable(folder: Path) -> bool:
    (folder / "trial").write_bytes(b"1")
    return (folder / "trial").read_bytes() == b"1"


if __name__ == "__main__":
    print(json.dumps([asdict(protection) for protection in _try_all(Path(sys.argv[1]))]))
