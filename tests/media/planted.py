"""Observers that misbehave, for the decoder's processes to import."""

from __future__ import annotations

import ctypes
import os
import resource
import socket
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np


class Counter:
    """Behaves: counts what it sees and hears, and says where it runs."""

    name = "counter"

    def __init__(self) -> None:
        self.frames = 0
        self.samples = 0

    def frame(self, view: Any) -> None:
        self.frames += 1

    def sound(self, block: Any) -> None:
        self.samples += block.native.shape[1]

    def result(self, waveform: Any) -> dict[str, Any]:
        return {
            "frames": self.frames,
            "curve": np.arange(5, dtype=np.float32),
            "nested": {"list": [1, 2.5, None, "x", (True, np.int64(3))], "empty": np.zeros((0, 2), np.int16)},
            "pid": os.getpid(),
            "environment": dict(os.environ),
        }


class Villain(Counter):
    """Does `deed` on its tenth frame."""

    name = "villain"

    def __init__(self, deed: str, target: str = "") -> None:
        super().__init__()
        self.deed = deed
        self.target = target

    def frame(self, view: Any) -> None:
        super().frame(view)
        if self.frames == 10:
            getattr(self, f"do_{self.deed}")()

    def do_hang(self) -> None:
        time.sleep(3600)

    def do_spin(self) -> None:
        while True:
            pass

    def do_segfault(self) -> None:
        ctypes.string_at(8)

    def do_exit(self) -> None:
        os._exit(7)

    def do_kill(self) -> None:
        os.kill(os.getpid(), 9)

    def do_raise(self) -> None:
        raise KeyError("planted")

    def do_swell(self) -> None:
        self.hoard = bytearray(1 << 36)

    def do_memory_error(self) -> None:
        raise MemoryError

    def do_flood(self) -> None:
        (folder,) = {Path(link).parent for fd in range(3, 64) if "decoded-" in (link := link_of(fd))}
        for number in range(10_000):
            (folder / f"flood{number}").write_bytes(bytes(1 << 20))
            time.sleep(0.005)

    def do_nothing(self) -> None:
        pass


class Intruder(Villain):
    """Tries to get out, and tells what it could do."""

    name = "intruder"

    def result(self, waveform: Any) -> dict[str, Any]:
        target = Path(self.target)
        attempts = {
            "read": target.read_bytes,
            "write": lambda: target.with_name("new").write_bytes(b"x"),
            "append": lambda: target.open("ab"),
            "list": lambda: list(target.parent.iterdir()),
            "remove": target.unlink,
            "link": lambda: target.with_name("link").symlink_to("/"),
            "run": lambda: os.posix_spawn("/bin/true", ["true"], {}),
            "signal": lambda: os.kill(os.getppid(), 0),
            "udp": lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", ("192.0.2.1", 9)),
            "tcp": lambda: socket.create_connection(("192.0.2.1", 9), timeout=0.5),
            "shell": lambda: refused_if(os.system("true") != 0),
            "fork": fork,
            "fork bomb": fork_bomb,
            "any socket": lambda: socket.socket(socket.AF_UNIX),
            "netlink": lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW),
            "trace": lambda: call("ptrace", 16, os.getppid(), 0, 0),
            "limits of the parent": lambda: resource.prlimit(os.getppid(), resource.RLIMIT_CPU, (1, 1)),
            "raise a limit": lambda: resource.setrlimit(resource.RLIMIT_CPU, (10**6, 10**6)),
            "namespace": lambda: call("unshare", 0x10000000),
            "memory of the parent": lambda: os.open(f"/proc/{os.getppid()}/mem", os.O_RDONLY),
            "io_uring": lambda: call("syscall", 425, 1, ctypes.create_string_buffer(256)),
            "bpf": lambda: call("syscall", 321, 0, ctypes.create_string_buffer(256), 128),
            "mount": lambda: call("mount", b"none", b"/", b"tmpfs", 0, None),
            "user": lambda: os.setuid(12345),
            "environ of the parent": lambda: Path(f"/proc/{os.getppid()}/environ").read_bytes(),
        }
        done = {}
        for name, attempt in attempts.items():
            try:
                attempt()
                done[name] = "done"
            except (OSError, ValueError) as error:
                done[name] = type(error).__name__
        done["descriptors"] = ",".join(str(fd) for fd in range(64) if is_open(fd))
        return done


def link_of(fd: int) -> str:
    try:
        return str(Path(f"/proc/self/fd/{fd}").readlink())
    except OSError:
        return ""


def refused_if(condition: bool) -> None:
    if condition:
        raise PermissionError


def call(name: str, *arguments: object) -> None:
    """A call of the C library; raises what it says went wrong."""
    function = getattr(ctypes.CDLL(None, use_errno=True), name)
    if function(*arguments) < 0:
        raise OSError(ctypes.get_errno(), "refused")


def fork() -> None:
    if os.fork() == 0:
        os._exit(0)


def fork_bomb() -> None:
    children = 0
    try:
        while children < 1000:
            if os.fork() == 0:
                time.sleep(30)
                os._exit(0)
            children += 1
    finally:
        refused_if(children == 0)


class Unspeakable(Counter):
    name = "unspeakable"

    def result(self, waveform: Any) -> dict[str, Any]:
        return {"object": object()}


def is_open(fd: int) -> bool:
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True


def villain(deed: str, target: str = "") -> Any:
    return partial(Villain, deed, target)


def intruder(target: str) -> Any:
    return partial(Intruder, "nothing", target)


def unbuildable() -> Any:
    raise ImportError("planted: no such library")
