from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models.serving.batcher import RECOVERY_BATCHES, BatcherClosed, MicroBatcher

LONG_S = 20.0


class Recorder:
    """A forward pass that doubles its items, remembers its batches, and can be held at a gate."""

    def __init__(self, held: bool = False) -> None:
        self.batches: list[list[int]] = []
        self.entered = threading.Semaphore(0)
        self.gate = threading.Event()
        if not held:
            self.gate.set()

    def __call__(self, items: Sequence[int]) -> list[int]:
        self.batches.append(list(items))
        self.entered.release()
        assert self.gate.wait(LONG_S)
        return [2 * item for item in items]


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + LONG_S
    while not condition():
        assert time.monotonic() < deadline, "it never came to be so"
        time.sleep(0.001)


def held_batcher(max_batch: int) -> tuple[Recorder, MicroBatcher[int, int], ThreadPoolExecutor, Future[list[int]]]:
    """A batcher whose thread is busy with one item (-1), so that what comes next queues up in a known order."""
    forward = Recorder(held=True)
    batcher = MicroBatcher(forward, max_batch=max_batch, max_wait_s=0.0, name="test")
    pool = ThreadPoolExecutor(16)
    first = pool.submit(batcher.submit_many, [-1])
    assert forward.entered.acquire(timeout=LONG_S)
    return forward, batcher, pool, first


def enqueue(batcher: MicroBatcher[int, int], pool: ThreadPoolExecutor, items: list[int]) -> Future[list[int]]:
    before = batcher._waiting
    future = pool.submit(batcher.submit_many, items)
    wait_until(lambda: batcher._waiting == before + len(items))
    return future


def test_items_of_many_callers_share_a_batch_and_a_long_list_is_split() -> None:
    forward, batcher, pool, first = held_batcher(8)
    callers = [enqueue(batcher, pool, [10 * n, 10 * n + 1]) for n in range(1, 5)]
    long = enqueue(batcher, pool, list(range(100, 120)))
    forward.gate.set()
    assert first.result(LONG_S) == [-2]
    assert [caller.result(LONG_S) for caller in callers] == [[20 * n, 20 * n + 2] for n in range(1, 5)]
    assert long.result(LONG_S) == [2 * n for n in range(100, 120)]
    sizes = [len(batch) for batch in forward.batches]
    assert sizes == [1, 8, 8, 8, 4]
    stats = batcher.stats()
    assert (stats.batches, stats.items, stats.mean_fill) == (5, 29, 29 / 5)
    assert stats.forward_wall_s > 0
    batcher.close()
    pool.shutdown()


def test_a_long_list_does_not_starve_short_ones() -> None:
    forward, batcher, pool, _ = held_batcher(4)
    long = enqueue(batcher, pool, list(range(1000, 1400)))
    short = [enqueue(batcher, pool, [n]) for n in range(3)]
    forward.gate.set()
    for n, caller in enumerate(short):
        assert caller.result(LONG_S) == [2 * n]
    assert long.result(LONG_S) == [2 * n for n in range(1000, 1400)]
    assert sorted(forward.batches[1]) == [0, 1, 2, 1000]
    batcher.close()
    pool.shutdown()


def test_more_long_lists_than_a_batch_has_room_for_take_turns() -> None:
    forward, batcher, pool, _ = held_batcher(2)
    long = [enqueue(batcher, pool, [100 * n + i for i in range(6)]) for n in range(1, 6)]
    late = enqueue(batcher, pool, [7])
    forward.gate.set()
    assert late.result(LONG_S) == [14]
    assert [future.result(LONG_S) for future in long] == [[2 * (100 * n + i) for i in range(6)] for n in range(1, 6)]
    assert 7 in forward.batches[3], "six callers, two places: it has to come with the third batch"
    batcher.close()
    pool.shutdown()


def test_a_lone_item_waits_no_longer_than_asked() -> None:
    with MicroBatcher(Recorder(), max_batch=64, max_wait_s=0.05, name="test") as batcher:
        batcher.submit_many([0])
        started = time.monotonic()
        assert batcher.submit_many([1]) == [2]
        waited_s = time.monotonic() - started
    assert 0.045 <= waited_s < 2.0


def test_a_full_batch_does_not_wait() -> None:
    with MicroBatcher(Recorder(), max_batch=4, max_wait_s=LONG_S, name="test") as batcher:
        started = time.monotonic()
        assert batcher.submit_many([1, 2, 3, 4]) == [2, 4, 6, 8]
        assert time.monotonic() - started < LONG_S / 2


def test_no_items_no_rows() -> None:
    with MicroBatcher(Recorder(), max_batch=4, max_wait_s=0, name="test") as batcher:
        assert batcher.submit_many([]) == []
        assert batcher.stats().batches == 0


def test_an_error_goes_only_to_the_caller_of_the_failing_item() -> None:
    forward, batcher, pool, first = held_batcher(64)

    def strict(items: Sequence[int]) -> list[int]:
        if 666 in items:
            raise ValueError("666 cannot be doubled")
        return forward(items)

    batcher._forward = strict
    good = [enqueue(batcher, pool, [n, n + 1, n + 2]) for n in range(0, 30, 3)]
    bad = enqueue(batcher, pool, [50, 666, 51])
    forward.gate.set()
    assert [future.result(LONG_S) for future in good] == [[2 * n, 2 * n + 2, 2 * n + 4] for n in range(0, 30, 3)]
    with pytest.raises(ValueError, match="666"):
        bad.result(LONG_S)
    assert first.result(LONG_S) == [-2]
    assert batcher.stats().failed_items == 1
    assert pool.submit(batcher.submit_many, [5]).result(LONG_S) == [10], "it goes on afterwards"
    batcher.close()
    pool.shutdown()


@pytest.mark.parametrize("rows", [[], [1], [1, 2, 3]])
def test_another_number_of_rows_than_items_is_an_error_never_a_shift(rows: list[int]) -> None:
    with (
        MicroBatcher(lambda items: rows if len(items) == 2 else [], max_batch=2, max_wait_s=0, name="test") as batcher,
        pytest.raises(RuntimeError, match="rows for"),
    ):
        batcher.submit_many([1, 2])


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 GiB"),
        RuntimeError("CUDA error: out of memory"),
        RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
        MemoryError(),
    ],
)
def test_out_of_memory_makes_batches_smaller_for_a_while(error: Exception) -> None:
    room = 5
    sizes: list[int] = []

    def forward(items: Sequence[int]) -> list[int]:
        sizes.append(len(items))
        if len(items) > room:
            raise error
        return [2 * item for item in items]

    with MicroBatcher(forward, max_batch=32, max_wait_s=0, name="test") as batcher:
        assert batcher.submit_many(list(range(32))) == [2 * n for n in range(32)]
        assert sizes[:4] == [32, 16, 8, 4]
        assert batcher.ceiling == 4
        assert batcher.stats().out_of_memory == 3
        sizes.clear()
        batcher.submit_many(list(range(32)))
        assert max(sizes) == 4, "it is remembered"
        room = 1000
        for _ in range(3 * RECOVERY_BATCHES):
            batcher.submit_many([1])
        assert batcher.ceiling == 32, "and forgotten"
        sizes.clear()
        batcher.submit_many(list(range(32)))
        assert sizes == [32]


def test_one_item_that_never_fits_fails_alone() -> None:
    def forward(items: Sequence[int]) -> list[int]:
        if 9 in items:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return [2 * item for item in items]

    with MicroBatcher(forward, max_batch=8, max_wait_s=0, name="test") as batcher:
        with pytest.raises(torch.OutOfMemoryError):
            batcher.submit_many([1, 9])
        assert batcher.submit_many([1, 2]) == [2, 4]


def test_close_finishes_the_batch_in_flight_and_fails_the_rest_clearly() -> None:
    forward, batcher, pool, first = held_batcher(2)
    waiting = [enqueue(batcher, pool, [n, n]) for n in range(4)]
    closing = pool.submit(batcher.close)
    wait_until(lambda: batcher._closed)
    forward.gate.set()
    closing.result(LONG_S)
    assert first.result(LONG_S) == [-2]
    for future in waiting:
        with pytest.raises(BatcherClosed, match="test"):
            future.result(LONG_S)
    with pytest.raises(BatcherClosed):
        batcher.submit_many([1])
    batcher.close()
    pool.shutdown()


def test_close_releases_callers_of_a_forward_pass_that_hangs() -> None:
    forward, batcher, pool, first = held_batcher(2)
    batcher.close(timeout_s=0.05)
    with pytest.raises(BatcherClosed):
        first.result(LONG_S)
    forward.gate.set()
    pool.shutdown()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_nobody_waits_for_ever_when_the_thread_dies() -> None:
    def forward(items: Sequence[int]) -> list[int]:
        raise SystemExit

    batcher = MicroBatcher(forward, max_batch=2, max_wait_s=0, name="test")
    for _ in range(2):
        with pytest.raises(BatcherClosed):
            batcher.submit_many([1])
    batcher.close()  # waits for the thread: what it died of is told while this test ignores it


def test_close_before_first_use() -> None:
    MicroBatcher(Recorder(), max_batch=2, max_wait_s=0, name="test").close()


@settings(max_examples=30, deadline=None)
@given(
    callers=st.lists(st.lists(st.integers(0, 10_000), max_size=40), min_size=1, max_size=12),
    max_batch=st.integers(1, 16),
    poison=st.sets(st.integers(0, 10_000), max_size=3),
    memory=st.integers(1, 16),
)
def test_every_caller_gets_its_own_rows_or_its_own_error(
    callers: list[list[int]], max_batch: int, poison: set[int], memory: int
) -> None:
    sizes: list[int] = []

    def forward(items: Sequence[int]) -> list[int]:
        sizes.append(len(items))
        if len(items) > memory:
            raise torch.OutOfMemoryError("CUDA out of memory")
        for item in items:
            if item in poison:
                raise ValueError(item)
        return [item + 1 for item in items]

    with (
        MicroBatcher(forward, max_batch=max_batch, max_wait_s=0.001, name="test") as batcher,
        ThreadPoolExecutor(len(callers)) as pool,
    ):
        futures = [pool.submit(batcher.submit_many, items) for items in callers]
        for items, future in zip(callers, futures, strict=True):
            if poison.intersection(items):
                with pytest.raises(ValueError) as caught:
                    future.result(LONG_S)
                assert caught.value.args[0] in items
            else:
                assert future.result(LONG_S) == [item + 1 for item in items]
        assert all(size <= max_batch for size in sizes)
        assert batcher._waiting == 0


def test_stress_with_a_close_in_the_middle() -> None:
    batcher = MicroBatcher(lambda items: [item * item for item in items], max_batch=16, max_wait_s=0.0005, name="test")
    closed = threading.Event()

    def caller(seed: int) -> int:
        served = 0
        while True:
            items = [seed * 1000 + n for n in range(seed % 37 + 1)]
            try:
                assert batcher.submit_many(items) == [item * item for item in items]
            except BatcherClosed:
                assert closed.is_set()
                return served
            served += 1

    with ThreadPoolExecutor(24) as pool:
        futures = [pool.submit(caller, seed) for seed in range(24)]
        time.sleep(0.5)
        closed.set()
        batcher.close()
        assert all(future.result(LONG_S) > 0 for future in futures)
    stats = batcher.stats()
    assert stats.items > 0
    assert stats.mean_fill <= 16
