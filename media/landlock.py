"""Landlock, Linux's way for a process to give up its own access to files and network (kernel 5.13 and later).

By system call, since no C library wraps it. Numbers and bits: `linux/landlock.h`, and the kernel's
`Documentation/userspace-api/landlock.rst`. The numbers are the same on every architecture.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterable
from pathlib import Path

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_VERSION_FLAG = 1
_RULE_PATH_BENEATH = 1

EXECUTE, WRITE_FILE, READ_FILE, READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
REMOVE_FILE, MAKE_REG, TRUNCATE = 1 << 5, 1 << 8, 1 << 14
_FILE_RIGHTS = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE
READ = READ_FILE | READ_DIR
WRITE = READ | WRITE_FILE | REMOVE_FILE | MAKE_REG | TRUNCATE
"""Make, write and remove regular files; no folders, links, pipes, sockets or devices."""

# What is known of at each version of the interface: bits for files, TCP, and scopes (abstract sockets, signals).
_FILE_BITS = {1: 13, 2: 14, 3: 15, 4: 15, 5: 16}
_TCP_SINCE, _TCP_BITS = 4, 0b11
_SCOPE_SINCE, _SCOPE_BITS = 6, 0b11

_libc = ctypes.CDLL(None, use_errno=True)


class _Ruleset(ctypes.Structure):
    _fields_ = (("files", ctypes.c_uint64), ("network", ctypes.c_uint64), ("scoped", ctypes.c_uint64))


class _PathBeneath(ctypes.Structure):
    _pack_ = 1
    _layout_ = "ms"
    _fields_ = (("allowed", ctypes.c_uint64), ("parent", ctypes.c_int32))


def version() -> int:
    """Version of the kernel's Landlock; 0 where there is none or it is switched off."""
    return max(0, _libc.syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint32(_VERSION_FLAG)))


def restrict(readable: Iterable[Path], writable: Iterable[Path]) -> int:
    """Give up, for good, all files but these folders and files, all of TCP, and signals to others.

    Nothing can be executed afterwards, readable or not. Needs `no_new_privs`. Paths that do not exist are passed over.
    Returns the version in force; 0 where there is no Landlock, and then nothing has changed.

    Raises:
        OSError: the kernel has Landlock and refused.
    """
    abi = version()
    if not abi:
        return 0
    handled = (1 << _FILE_BITS[min(abi, max(_FILE_BITS))]) - 1
    attributes = _Ruleset(handled, _TCP_BITS if abi >= _TCP_SINCE else 0, _SCOPE_BITS if abi >= _SCOPE_SINCE else 0)
    size = 24 if abi >= _SCOPE_SINCE else 16 if abi >= _TCP_SINCE else 8
    ruleset = _call(_CREATE_RULESET, ctypes.byref(attributes), ctypes.c_size_t(size), ctypes.c_uint32(0))
    try:
        for paths, rights in ((readable, READ), (writable, WRITE)):
            for path in paths:
                _allow(ruleset, path, rights & handled)
        _call(_RESTRICT_SELF, ctypes.c_int(ruleset), ctypes.c_uint32(0))
    finally:
        os.close(ruleset)
    return abi


def _allow(ruleset: int, path: Path, rights: int) -> None:
    try:
        fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    try:
        if not path.is_dir():
            rights &= _FILE_RIGHTS
        rule = _PathBeneath(rights, fd)
        _call(
            _ADD_RULE, ctypes.c_int(ruleset), ctypes.c_int(_RULE_PATH_BENEATH), ctypes.byref(rule), ctypes.c_uint32(0)
        )
    finally:
        os.close(fd)


def _call(number: int, *arguments: object) -> int:
    result = int(_libc.syscall(number, *arguments))
    if result < 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
    return result
