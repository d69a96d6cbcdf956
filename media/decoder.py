"""The warm decoder process. For each upload it forks a child that confines itself, decodes that one file, and ends.

The warm process imports everything once and never sees a byte of an upload; the child holds nothing but the open file
and its own folder. So no upload can reach another's, nothing leaks from one to the next, and no hostile process speaks
to the farm but through files (`media.exchange`). Forking is safe here: this process has a single thread and no device.
"""

from __future__ import annotations

import errno
import gc
import os
import pickle
import select
import signal
import time
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NoReturn

# Nothing heavy is imported above: `warm` must set the number of threads before numpy is first imported.
if TYPE_CHECKING:
    from media.types import Limits, ObserverFactory

CHECK_S = 0.25
"""How often a waiting decoder looks whether the farm is still there, and what the child has written, s."""
BLOCK_BYTES = 512
"""Unit of `st_blocks`, POSIX."""

NO_SPACE = 28
"""Exit status of a child that could not write its answer."""

_ENVIRONMENT = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")

_observers: Sequence[ObserverFactory] = ()
_failure: str | None = None
_user_namespace = False


@dataclass(frozen=True)
class Ending:
    """How the child ended."""

    how: Literal["done", "timeout", "died", "full", "greedy", "broken"]
    """done: it wrote an answer; full: there is no space for one; greedy: it wrote more than it may; broken: this
    decoder cannot work at all."""
    detail: str = ""


def warm(observers: bytes) -> None:
    """Make ready: empty the environment, import all that decoding needs, and build each observer once.

    `observers` is a pickled sequence of factories. A failure is kept for `decode_upload` to tell: a process that fails
    to start would only be started again.
    """
    global _observers, _failure, _user_namespace  # noqa: PLW0603  the state of this process
    from media import sandbox

    sandbox.scrub_environment(_ENVIRONMENT)
    _user_namespace = sandbox.user_namespace_works()
    try:
        import cv2

        import media.decode  # noqa: F401

        cv2.setNumThreads(1)
        _observers = pickle.loads(observers)  # noqa: S301  from the farm's own process
        for factory in _observers:
            factory()
    except Exception:
        _failure = traceback.format_exc()
    # What is here now is never collected, so that children share its pages.
    gc.collect()
    gc.freeze()


def decode_upload(path: str, folder: str, limits: Limits) -> Ending:
    """Decode one file in a child; its answer is in `folder`. Never raises for what the file does."""
    if _failure is not None:
        return Ending("broken", _failure)
    from media import exchange, probe
    from media.types import MediaError

    try:
        fd = probe.open_input(Path(path))
    except MediaError as error:
        exchange.save_failure(Path(folder), error)
        return Ending("done")
    try:
        warm = os.getpid()
        child = os.fork()
        if child == 0:
            _be_child(warm, fd, Path(folder), limits)
        return _wait(child, limits, Path(folder))
    finally:
        os.close(fd)


def _be_child(warm: int, fd: int, folder: Path, limits: Limits) -> NoReturn:
    """Decode and end; nothing of the parent's may run on after this."""
    from media import decode, exchange, sandbox
    from media.types import MediaError

    status = 1
    try:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        sandbox.close_descriptors({fd})
        sandbox.confine(
            sandbox.Confinement(folder, limits.memory_bytes, limits.deadline_s, user_namespace=_user_namespace)
        )
        if os.getppid() != warm:  # it died before this process asked to die with it, and so nothing would end this one
            os._exit(status)
        try:
            observers = [factory() for factory in _observers]
            exchange.save(folder, decode.decode_descriptor(fd, folder, limits, observers))
        except MediaError as error:
            exchange.save_failure(folder, error)
        except MemoryError:
            exchange.save_failure(folder, MediaError("too_large", "decoding it needs more memory than is allowed"))
        status = 0
    except BaseException as error:
        if isinstance(error, OSError) and error.errno in {errno.ENOSPC, errno.EDQUOT}:
            status = NO_SPACE
        else:
            exchange.save_bug(folder, traceback.format_exc())
            status = 0
    finally:
        os._exit(status)


def _wait(child: int, limits: Limits, folder: Path) -> Ending:
    """Wait for the child; kill it at the deadline, when it has filled its quota, or when the farm has gone."""
    farm = os.getppid()
    end = time.monotonic() + limits.deadline_s
    watched = os.pidfd_open(child)
    try:
        while not select.select([watched], [], [], max(0.0, min(CHECK_S, end - time.monotonic())))[0]:
            late = time.monotonic() >= end
            greedy = used_bytes(folder) > limits.scratch_bytes
            if late or greedy or os.getppid() != farm:
                os.kill(child, signal.SIGKILL)
                os.waitpid(child, 0)
                if greedy:
                    return Ending("greedy")
                return Ending("timeout") if late else Ending("died", "the farm has gone")
    finally:
        os.close(watched)
    return _ending(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))


def used_bytes(folder: Path) -> int:
    """What a folder's files take on the disk (holes do not count), bytes."""
    used = 0
    for inside in (folder, *(path for path in folder.rglob("*") if path.is_dir() and not path.is_symlink())):
        try:
            with os.scandir(inside) as entries:
                used += sum(entry.stat(follow_symlinks=False).st_blocks * BLOCK_BYTES for entry in entries)
        except OSError:  # it has gone meanwhile
            continue
    return used


def _ending(code: int) -> Ending:
    if code == 0:
        return Ending("done")
    if code == NO_SPACE:
        return Ending("full")
    if code < 0:
        try:
            return Ending("died", signal.Signals(-code).name)
        except ValueError:
            return Ending("died", f"signal {-code}")
    return Ending("died", f"exit status {code}")
