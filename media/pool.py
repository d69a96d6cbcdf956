"""The pool of sandboxed decoder processes: one upload crashes, hangs or swells, and only its own process ends."""

from __future__ import annotations

import errno
import logging
import multiprocessing
import pickle
import shutil
import tempfile
import threading
from collections.abc import Sequence
from concurrent.futures import CancelledError, TimeoutError
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from types import TracebackType

from pebble import ProcessExpired, ProcessFuture, ProcessPool

from media import decoder, exchange
from media.types import DecodedMedia, DecoderDied, Limits, MediaError, ObserverFactory

log = logging.getLogger(__name__)

RECYCLE_AFTER = 200
"""Uploads that a warm process serves before it is replaced: whatever leaks, leaks no further."""
GRACE_S = 10.0
"""A decoder keeps the deadline itself; this much later it is taken to hang, and killed as well."""
ATTEMPTS = 2
"""Times that an upload is handed in again because the pool broke under it."""
CLOSE_CHECK_S = 0.5


class DecoderPool:
    """A fixed number of warm decoder processes. Safe to use from many threads.

    Args:
        size: decodes at once.
        limits: caps on each upload.
        observers: picklable zero-argument factories; built anew for each upload, in its process.
        scratch_root: where `decode` makes a folder when it is given none. May be None if it always is.
        recycle_after: uploads that a warm process serves.
    """

    def __init__(
        self,
        size: int,
        limits: Limits,
        observers: Sequence[ObserverFactory] = (),
        scratch_root: Path | None = None,
        recycle_after: int = RECYCLE_AFTER,
    ) -> None:
        self._size = size
        self._limits = limits
        self._observers = pickle.dumps(tuple(observers))
        self._scratch_root = scratch_root
        self._recycle_after = recycle_after
        self._lock = threading.Lock()
        self._closed = False
        self._pool = self._start()

    def __enter__(self) -> DecoderPool:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def decode(self, path: Path, scratch_dir: Path | None = None) -> DecodedMedia:
        """Decode one file; blocks until a decoder is free and has done it.

        The arrays of the result are memory-mapped from a new folder in `scratch_dir` (or in the pool's scratch root):
        they are valid until that is removed, which is the caller's to do. A failure leaves nothing there.

        Raises:
            MediaError: see `media.types.Failure`; `DecoderDied`: it may go better another time.
            OSError: there is no space in scratch.
            RuntimeError: the pool is closed, or its decoders cannot work (a bug or a broken installation).
        """
        parent = scratch_dir or self._scratch_root
        if parent is None:
            raise ValueError("neither a scratch folder nor a scratch root is given")
        folder = Path(tempfile.mkdtemp(prefix="decoded-", dir=parent))
        try:
            self._run(path, folder)
            media = exchange.load(folder)
        except exchange.DecoderBug as bug:
            self._discard(folder)
            log.error("the decoder failed on a file:\n%s", bug)
            raise MediaError("corrupt", "the decoder failed on this file") from None
        except BaseException:
            self._discard(folder)
            raise
        for name, observation in media.observations.items():
            if "error" in observation:
                log.error("observer %s failed: %s", name, observation["error"])
        return media

    def close(self) -> None:
        """End every decoder. Decodes in flight fail with RuntimeError."""
        with self._lock:
            self._closed = True
            self._pool.stop()
            self._pool.join()

    def _discard(self, folder: Path) -> None:
        if self._closed:
            with self._lock:  # `close` holds it until the last decoder has ended; before that one may still write here
                pass
        shutil.rmtree(folder, ignore_errors=True)

    def _start(self) -> ProcessPool:
        # Spawned, not forked: the farm has threads and may hold a device.
        pool = ProcessPool(
            max_workers=self._size,
            max_tasks=self._recycle_after,
            initializer=decoder.warm,
            initargs=(self._observers,),
            context=multiprocessing.get_context("spawn"),
        )
        if not pool.active:  # asking starts it
            raise RuntimeError("no decoder process can be started")
        return pool

    def _run(self, path: Path, folder: Path) -> None:
        for _ in range(ATTEMPTS):
            pool = self._working_pool()
            try:
                future = pool.schedule(
                    decoder.decode_upload,
                    args=(str(path), str(folder), self._limits),
                    timeout=self._limits.deadline_s + GRACE_S,
                )
                self._judge(self._await(future))
                return
            except ProcessExpired as expired:
                raise DecoderDied(f"status {expired.exitcode}") from None
            except (BrokenProcessPool, RuntimeError) as error:
                if self._closed or isinstance(error, DecodersUnusable):
                    raise
                log.warning("the decoder pool broke and is started anew: %s", error)
                self._restart(pool)
        raise RuntimeError("the decoder pool breaks again and again")

    def _await(self, future: ProcessFuture) -> decoder.Ending:
        while True:
            try:
                ending: decoder.Ending = future.result(timeout=CLOSE_CHECK_S)
                return ending
            except TimeoutError:
                if future.done():
                    raise MediaError("timeout", self._too_slow()) from None
                if self._closed:
                    raise RuntimeError("the decoder pool is closed") from None
            except CancelledError:
                raise RuntimeError("the decoder pool is closed") from None

    def _judge(self, ending: decoder.Ending) -> None:
        if ending.how == "timeout" or ending.detail == "SIGXCPU":
            raise MediaError("timeout", self._too_slow())
        if ending.how == "died":
            raise DecoderDied(ending.detail)
        if ending.how == "greedy":
            raise MediaError("too_large", f"decoding it writes more than {self._limits.scratch_bytes >> 20} MiB")
        if ending.how == "full":
            raise OSError(errno.ENOSPC, "there is no space in the scratch folder")
        if ending.how == "broken":
            raise DecodersUnusable(f"the decoder processes cannot work:\n{ending.detail}")

    def _too_slow(self) -> str:
        return f"decoding it took longer than {self._limits.deadline_s:.0f} s"

    def _working_pool(self) -> ProcessPool:
        with self._lock:
            if self._closed:
                raise RuntimeError("the decoder pool is closed")
            return self._pool

    def _restart(self, broken: ProcessPool) -> None:
        with self._lock:
            if self._pool is broken and not self._closed:
                broken.stop()
                broken.join()
                self._pool = self._start()


class DecodersUnusable(RuntimeError):
    """An observer or a library cannot be imported in the decoder processes: a bug or a broken installation."""
