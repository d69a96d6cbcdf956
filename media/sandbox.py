"""What a decoder process does to itself before it sees a byte of an upload.

Each layer stands alone, because each may be missing: a container may forbid namespaces, an old kernel has no Landlock.
`capabilities` tries every layer out and says which are really in force; nothing is ever silently absent.
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from media import landlock, seccomp

OPEN_FILES = 64
PROCESSES = 64
FILE_BYTES = 1 << 30
"""Largest file that a decoder may write."""
CPU_SLACK_S = 10
"""CPU time is capped at twice the deadline and this: a backstop for when whoever keeps the deadline is gone."""

_PR_SET_PDEATHSIG, _PR_GET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_SET_NO_NEW_PRIVS, _PR_GET_NO_NEW_PRIVS = 1, 2, 4, 38, 39
_CLONE_NEWUSER, _CLONE_NEWNET, _CLONE_NEWIPC = 0x10000000, 0x40000000, 0x08000000
_CAPABILITY_VERSION_3 = 0x20080522

# No secret lies here, and Python and FFmpeg load what they need from here.
SYSTEM_FOLDERS = tuple(map(Path, ("/usr", "/lib", "/lib64", "/sys/devices/system/cpu")))
DEVICES = tuple(map(Path, ("/dev/null", "/dev/zero", "/dev/urandom")))

_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True)
class Confinement:
    """What one decoder process may still do."""

    folder: Path
    """The only place where it can write."""
    memory_bytes: int
    """Address space above what it has already."""
    deadline_s: float
    readable: tuple[Path, ...] = ()
    """Further files and folders that it may read, besides its libraries. Files open already stay open."""
    user_namespace: bool = False
    """Whether it may leave the network by way of a user namespace: see `user_namespace_works`."""


@dataclass(frozen=True)
class InForce:
    """What `confine` could do."""

    network_namespace: bool
    user_namespace: bool
    landlock: int
    """Version; 0: none."""
    system_calls: bool = False
    """Whether they are filtered."""


def confine(confinement: Confinement) -> InForce:
    """Confine this process, for good. It should have a single thread, and only descriptors that it may use.

    Raises:
        OSError: a layer that every supported kernel has was refused.
    """
    # A new session, so that no signal reaches it through a terminal and it can be killed as a group.
    os.setsid()
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    os.umask(0o077)
    network, user = _leave_network(confinement.user_namespace)
    limit_resources(confinement, private_users=user)
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)
    _prctl(_PR_SET_DUMPABLE, 0)
    version = landlock.restrict((*library_folders(), *DEVICES, *confinement.readable), (confinement.folder,))
    drop_capabilities()
    return InForce(network, user, version, seccomp.restrict())  # last: what is above needs more than it allows


def limit_resources(confinement: Confinement, private_users: bool) -> None:
    """Set the resource limits."""
    in_use = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    _limit(resource.RLIMIT_AS, in_use + confinement.memory_bytes)
    _limit(resource.RLIMIT_CPU, int(2 * confinement.deadline_s) + CPU_SLACK_S)
    _limit(resource.RLIMIT_FSIZE, FILE_BYTES)
    _limit(resource.RLIMIT_NOFILE, OPEN_FILES)
    _limit(resource.RLIMIT_CORE, 0)
    if private_users:
        # Counted per user: in a namespace of its own, only its own processes count, so a small number is safe.
        _limit(resource.RLIMIT_NPROC, PROCESSES)


def _limit(kind: int, value: int) -> None:
    hard = resource.getrlimit(kind)[1]
    value = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(kind, (value, value))


def _leave_network(by_user_namespace: bool) -> tuple[bool, bool]:
    """Move to an empty network namespace, by way of a user namespace where that is needed. (network, user)"""
    if _libc.unshare(_CLONE_NEWNET | _CLONE_NEWIPC) == 0:
        return True, False
    uid, gid = os.getuid(), os.getgid()
    if not by_user_namespace or _libc.unshare(_CLONE_NEWUSER | _CLONE_NEWNET | _CLONE_NEWIPC) != 0:
        return False, False
    # A user that is not mapped cannot make files.
    for name, text in (("setgroups", "deny"), ("uid_map", f"{uid} {uid} 1"), ("gid_map", f"{gid} {gid} 1")):
        Path("/proc/self", name).write_text(text)
    return True, True


def user_namespace_works() -> bool:
    """Whether a process like this one can use a user namespace of its own. Tried out in a child.

    It may be let in and then be refused its maps, with no way back: so it is tried before anything depends on it.
    """
    child = os.fork()
    if child == 0:
        status = 1
        try:
            status = 0 if _leave_network(by_user_namespace=True)[0] else 1
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def drop_capabilities() -> None:
    """Give up every capability: in a container the farm often runs as root."""
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    none = (ctypes.c_uint32 * 6)()
    if _libc.capset(ctypes.byref(header), ctypes.byref(none)) != 0:
        raise OSError(ctypes.get_errno(), "capabilities cannot be dropped")


def scrub_environment(keep: dict[str, str]) -> None:
    """Empty the environment but for `keep`, also where the kernel put it: `/proc/PID/environ` would still show it."""
    _libc.getenv.restype = ctypes.c_void_p
    for name in list(os.environ):
        value = _libc.getenv(os.fsencode(name))
        if value:
            ctypes.memset(value, 0, len(ctypes.string_at(value)))
    os.environ.clear()
    os.environ.update(keep)


def close_descriptors(keep: Iterable[int]) -> None:
    """Close all descriptors but these; the standard three become `/dev/null`."""
    null = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(null, fd)
    last = 2
    for fd in sorted({*keep} - {0, 1, 2}):
        os.closerange(last + 1, fd)
        last = fd
    os.closerange(last + 1, resource.getrlimit(resource.RLIMIT_NOFILE)[0])


def library_folders() -> tuple[Path, ...]:
    """Where this Python and its libraries lie."""
    python = [sys.prefix, sys.base_prefix, *sys.path]
    folders = (Path(folder) for folder in dict.fromkeys(python) if folder)
    return (*SYSTEM_FOLDERS, *(folder for folder in folders if folder.is_absolute() and folder != Path("/")))


def _prctl(option: int, value: int) -> None:
    if _libc.prctl(option, value, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), f"prctl {option}")


def no_new_privileges() -> bool:
    """Whether this process can gain none."""
    return bool(_libc.prctl(_PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1)


def dies_with_parent() -> bool:
    """Whether this process is killed when its parent ends."""
    number = ctypes.c_int()
    _libc.prctl(_PR_GET_PDEATHSIG, ctypes.byref(number), 0, 0, 0)
    return number.value == signal.SIGKILL


def has_capabilities() -> bool:
    """Whether this process holds any capability."""
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    sets = (ctypes.c_uint32 * 6)()
    _libc.capget(ctypes.byref(header), ctypes.byref(sets))
    return any(sets)
