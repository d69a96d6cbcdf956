"""Micro-batches: the items of many callers in one forward pass.

One thread a network runs batches. Callers block in `submit_many` until every item of theirs has its row. A batch starts
when it is full or when its oldest caller has waited `max_wait_s`; each waiting caller gets an equal share of it and
what is left goes first come, first served, so that a long list delays nobody else's short one.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

import torch

Item = TypeVar("Item")
Row = TypeVar("Row")

RECOVERY_BATCHES = 64
"""Batches without running out of memory after which a lowered ceiling is doubled."""
CLOSE_TIMEOUT_S = 30.0
"""Longest that `close` waits for the batch in flight."""


class BatcherClosed(RuntimeError):
    """The batcher was closed before the items had their rows."""

    def __init__(self, name: str) -> None:
        super().__init__(f"the {name!r} batcher is closed: this node is shutting down")
        self.name = name

    def __reduce__(self) -> tuple[Any, ...]:
        return (BatcherClosed, (self.name,))


@dataclass(frozen=True)
class BatcherStats:
    """Counters since the start."""

    batches: int = 0
    """Forward passes that gave rows."""
    items: int = 0
    """Items that got a row."""
    failed_items: int = 0
    out_of_memory: int = 0
    """Forward passes that ran out of memory."""
    forward_wall_s: float = 0.0
    forward_cpu_s: float = 0.0
    """CPU time of the whole process while forward passes ran: right when little else runs in it."""

    @property
    def mean_fill(self) -> float:
        """Items a forward pass."""
        return self.items / self.batches if self.batches else 0.0


class _Call(Generic[Item, Row]):
    """One caller's items and what has become of them. `given_out` is guarded by the batcher's lock."""

    def __init__(self, items: Sequence[Item], arrived_s: float) -> None:
        self.items = items
        self.arrived_s = arrived_s
        self.given_out = 0
        self.rows: list[Row | None] = [None] * len(items)
        self.missing = len(items)
        self.error: BaseException | None = None
        self.done = threading.Event()

    def fail(self, error: BaseException) -> None:
        if not self.done.is_set():
            self.error = error
            self.done.set()


_Slot = tuple[_Call[Item, Row], int]


class MicroBatcher(Generic[Item, Row]):
    """Joins items of many threads into batches for `forward`.

    `forward` gets 1 to `max_batch` items and MUST give exactly one row for each, in order. It is only called from one
    thread. A batch that fails is halved until the failing item is alone; its caller gets that item's error and
    nobody else does. A batch that runs out of memory is halved too, and batches stay smaller for a while.
    """

    def __init__(
        self,
        forward: Callable[[Sequence[Item]], Sequence[Row]],
        *,
        max_batch: int,
        max_wait_s: float,
        name: str,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if max_batch < 1 or max_wait_s < 0:
            raise ValueError("max_batch must be at least 1 and max_wait_s at least 0")
        self.name = name
        self.max_batch = max_batch
        self.max_wait_s = max_wait_s
        self._forward = forward
        self._clock = clock
        self._changed = threading.Condition()
        self._calls: deque[_Call[Item, Row]] = deque()
        self._in_flight: list[_Slot[Item, Row]] = []
        self._waiting = 0
        self._ceiling = max_batch
        self._good_batches = 0
        self._stats = BatcherStats()
        self._closed = False
        self._thread: threading.Thread | None = None

    def submit_many(self, items: Sequence[Item]) -> list[Row]:
        """One row for each item, in order. Blocks until they are there.

        Raises:
            BatcherClosed: closed before or meanwhile.
            Exception: whatever `forward` raised for one of these items.
        """
        if not items:
            return []
        call: _Call[Item, Row] = _Call(items, self._clock())
        with self._changed:
            if self._closed:
                raise BatcherClosed(self.name)
            if self._thread is None:  # only now, so that a batcher may be built before a fork
                self._thread = threading.Thread(target=self._serve, name=f"batcher-{self.name}", daemon=True)
                self._thread.start()
            self._calls.append(call)
            self._waiting += len(items)
            self._changed.notify()
        try:
            call.done.wait()
        finally:
            self._withdraw(call)  # has an effect only if this thread was interrupted, or an item failed
        if call.error is not None:
            raise call.error
        return call.rows  # type: ignore[return-value]  # every row is set when `done` is, and there was no error

    def close(self, timeout_s: float = CLOSE_TIMEOUT_S) -> None:
        """Stop. The batch in flight is finished; callers that still miss rows get `BatcherClosed`. Idempotent.

        A forward pass that outlasts `timeout_s` is left to itself, and its callers are released too.
        """
        with self._changed:
            self._closed = True
            self._changed.notify_all()
            thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(timeout_s)
        self._release()

    def stats(self) -> BatcherStats:
        """A snapshot of the counters."""
        return self._stats

    @property
    def ceiling(self) -> int:
        """Items a batch may have now: `max_batch`, or less after running out of memory."""
        return self._ceiling

    def __enter__(self) -> MicroBatcher[Item, Row]:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _serve(self) -> None:
        try:
            while batch := self._next_batch():
                self._run(batch)
        finally:  # also when `forward` raised something that is not an Exception: nobody may wait for ever
            with self._changed:
                self._closed = True
            self._release()

    def _next_batch(self) -> list[_Slot[Item, Row]]:
        """Wait for a batch; empty when closed."""
        with self._changed:
            self._in_flight = []
            while not self._closed:
                if self._waiting >= self._ceiling:
                    return self._gather()
                if not self._calls:
                    self._changed.wait()
                    continue
                left_s = min(call.arrived_s for call in self._calls) + self.max_wait_s - self._clock()
                if left_s <= 0:
                    return self._gather()
                self._changed.wait(left_s)
            return []

    def _gather(self) -> list[_Slot[Item, Row]]:
        room = min(self._ceiling, self._waiting)
        share = max(1, room // len(self._calls))
        batch: list[_Slot[Item, Row]] = []
        for most in (share, room):
            for call in self._calls:
                first = call.given_out
                call.given_out = min(first + min(most, room - len(batch)), len(call.items))
                batch.extend((call, index) for index in range(first, call.given_out))
        self._waiting -= len(batch)
        served = {id(call) for call, _ in batch}
        unserved = [call for call in self._calls if id(call) not in served]
        unfinished = [call for call in self._calls if id(call) in served and call.given_out < len(call.items)]
        self._in_flight = batch
        self._calls = deque(unserved + unfinished)  # whoever had no share of this batch comes first in the next
        return batch

    def _run(self, batch: list[_Slot[Item, Row]]) -> None:
        parts = deque([batch])
        while parts:
            part = [slot for slot in parts.popleft() if not slot[0].done.is_set()]
            if not part:
                continue
            half = (len(part) + 1) // 2
            if len(part) > self._ceiling:
                parts.extendleft((part[half:], part[:half]))
                continue
            rows, error = self._attempt([call.items[index] for call, index in part])
            if rows is not None:
                self._deliver(part, rows)
            elif len(part) == 1:
                assert error is not None
                self._stats = replace(self._stats, failed_items=self._stats.failed_items + 1)
                part[0][0].fail(error)
            else:
                parts.extendleft((part[half:], part[:half]))
            # The error's traceback holds the tensors of the failed pass; the next one may need their memory.
            error = None

    def _attempt(self, items: list[Item]) -> tuple[Sequence[Row] | None, Exception | None]:
        wall_s, cpu_s = time.perf_counter(), time.process_time()
        try:
            rows = self._forward(items)
            if len(rows) != len(items):
                raise RuntimeError(f"{self.name}: {len(rows)} rows for {len(items)} items")
        except Exception as error:
            if is_out_of_memory(error):
                self._lower_ceiling(len(items))
            return None, error
        self._stats = replace(
            self._stats,
            batches=self._stats.batches + 1,
            items=self._stats.items + len(items),
            forward_wall_s=self._stats.forward_wall_s + time.perf_counter() - wall_s,
            forward_cpu_s=self._stats.forward_cpu_s + time.process_time() - cpu_s,
        )
        self._raise_ceiling()
        return rows, None

    def _deliver(self, part: list[_Slot[Item, Row]], rows: Sequence[Row]) -> None:
        for (call, index), row in zip(part, rows, strict=True):
            call.rows[index] = row
            call.missing -= 1
            if call.missing == 0:
                call.done.set()

    def _lower_ceiling(self, failed_size: int) -> None:
        self._stats = replace(self._stats, out_of_memory=self._stats.out_of_memory + 1)
        self._ceiling = max(1, min(self._ceiling, failed_size // 2))
        self._good_batches = 0

    def _raise_ceiling(self) -> None:
        if self._ceiling == self.max_batch:
            return
        self._good_batches += 1
        if self._good_batches >= RECOVERY_BATCHES:
            self._ceiling = min(self._ceiling * 2, self.max_batch)
            self._good_batches = 0

    def _withdraw(self, call: _Call[Item, Row]) -> None:
        with self._changed:
            if call.given_out < len(call.items) and call in self._calls:
                self._calls.remove(call)
                self._waiting -= len(call.items) - call.given_out
            call.fail(BatcherClosed(self.name))

    def _release(self) -> None:
        with self._changed:
            for call in (*self._calls, *(call for call, _ in self._in_flight)):
                call.fail(BatcherClosed(self.name))
            self._calls.clear()
            self._waiting = 0


def is_out_of_memory(error: BaseException) -> bool:
    """Whether the device, or the machine, had too little memory for a batch of this size."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    # cuDNN, cuBLAS and the CPU's allocator report it as a plain RuntimeError.
    said = str(error).lower()
    causes = ("out of memory", "not enough memory", "can't allocate memory", "alloc_failed")
    return isinstance(error, RuntimeError) and any(cause in said for cause in causes)
