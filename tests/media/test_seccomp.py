from __future__ import annotations

import json
import platform
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from media import seccomp

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.skipif(seccomp.supported() is not None, reason=str(seccomp.supported()))


def interpret(code: list[bytes], arch: int, number: int, arguments: tuple[int, ...] = ()) -> int:
    """What the filter answers: the kernel's interpreter of classic BPF, as far as the filter needs it."""
    data = struct.pack("=IIQ6Q", number, arch, 0, *(*arguments, *[0] * (6 - len(arguments))))
    accumulator = at = 0
    while True:
        kind, if_true, if_false, value = struct.unpack("=HBBI", code[at])
        at += 1
        if kind == 0x20:
            accumulator = struct.unpack_from("=I", data, value)[0]
        elif kind == 0x15:
            at += if_true if accumulator == value else if_false
        elif kind == 0x45:
            at += if_true if accumulator & value else if_false
        else:
            assert kind == 0x06
            return value


ALLOW, KILL, EPERM, ENOSYS = 0x7FFF0000, 0x80000000, 0x00050001, 0x00050026


@pytest.mark.parametrize(
    ("machine", "arch", "number", "arguments", "answer"),
    [
        ("x86_64", 0xC000003E, 0, (), ALLOW),  # read
        ("x86_64", 0xC000003E, 41, (), EPERM),  # socket
        ("x86_64", 0xC000003E, 59, (), EPERM),  # execve
        ("x86_64", 0xC000003E, 57, (), EPERM),  # fork
        ("x86_64", 0xC000003E, 56, (17,), EPERM),  # clone: a process
        ("x86_64", 0xC000003E, 56, (0x3D0F00,), ALLOW),  # clone: a thread
        ("x86_64", 0xC000003E, 435, (), ENOSYS),  # clone3
        ("x86_64", 0xC000003E, 62, (77, 9), ALLOW),  # kill: itself
        ("x86_64", 0xC000003E, 62, (1, 9), EPERM),
        ("x86_64", 0xC000003E, 302, (0,), ALLOW),  # prlimit: its own
        ("x86_64", 0xC000003E, 302, (1,), EPERM),
        ("x86_64", 0xC000003E, 16, (0, 0x5451), ALLOW),  # ioctl: FIOCLEX
        ("x86_64", 0xC000003E, 16, (0, 0x5412), EPERM),  # ioctl: TIOCSTI
        ("x86_64", 0xC000003E, 0x40000000, (), KILL),  # x32
        ("x86_64", 0x40000003, 0, (), KILL),  # i386
        ("aarch64", 0xC00000B7, 63, (), ALLOW),  # read
        ("aarch64", 0xC00000B7, 198, (), EPERM),  # socket
        ("aarch64", 0xC00000B7, 221, (), EPERM),  # execve
        ("aarch64", 0xC00000B7, 220, (17,), EPERM),
        ("aarch64", 0xC00000B7, 220, (0x3D0F00,), ALLOW),
        ("aarch64", 0xC000003E, 63, (), KILL),
    ],
)
def test_what_the_filter_answers(machine: str, arch: int, number: int, arguments: tuple[int, ...], answer: int) -> None:
    assert interpret(seccomp.program(machine, 77), arch, number, arguments) == answer


def test_it_holds_for_the_process_and_its_threads() -> None:
    code = """
import ctypes, json, os, socket, threading
from media import sandbox, seccomp
sandbox._prctl(38, 1)
done, found = seccomp.restrict(), {}
def attempt():
    try:
        socket.socket()
        found["socket"] = "made"
    except PermissionError:
        found["socket"] = "refused"
thread = threading.Thread(target=attempt)
thread.start(); thread.join()
print(json.dumps({"done": done, "mode": seccomp.mode(), **found}))
"""
    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=30, env={"PYTHONPATH": str(ROOT)}
    )
    assert json.loads(answer.stdout) == {"done": True, "mode": 2, "socket": "refused"}, answer.stderr


def test_a_machine_without_a_list_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "pdp11")
    assert seccomp.supported() == "no list of system calls for pdp11"
    assert seccomp.restrict() is False
