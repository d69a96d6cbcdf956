from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator

import pytest

from tasks.gate import FLOOR, Gate
from tasks.leases import NodeStopping
from tasks.queues import OVERFLOW_QUEUE

UPLOADS, BACKFILL = "uploads", "backfill"


class Crowd:
    """Threads that come to a gate one after another and stay until they are told to go."""

    def __init__(self, gate: Gate) -> None:
        self.gate = gate
        self.order: list[str] = []
        self.stopped: list[str] = []
        self._leave: dict[str, threading.Event] = {}
        self._threads: list[threading.Thread] = []

    def come(self, name: str, queue: str = UPLOADS, account: str | None = None) -> None:
        self._leave[name] = threading.Event()
        before = self.gate.running + sum(self.gate.waiting().values())

        def work() -> None:
            try:
                with self.gate.admitted(queue, account):
                    self.order.append(name)
                    self._leave[name].wait(20)
            except NodeStopping:
                self.stopped.append(name)

        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        self._threads.append(thread)
        until(lambda: self.gate.running + sum(self.gate.waiting().values()) > before or name in self.stopped)

    def leave(self, name: str) -> None:
        self._leave[name].set()

    def serve_all(self) -> list[str]:
        """Let each go as soon as it is in work; the order in which they were."""
        for served in range(len(self._threads)):
            until(lambda count=served: len(self.order) > count)
            self.leave(self.order[served])
        return self.order

    def go_home(self) -> None:
        for event in self._leave.values():
            event.set()
        for thread in self._threads:
            thread.join(10)


def until(condition) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.002)


@pytest.fixture
def crowd() -> Iterator[Crowd]:
    coming = Crowd(Gate(slots=1, places=100))
    yield coming
    coming.go_home()


def test_no_more_than_the_slots_are_in_work() -> None:
    gate = Gate(slots=3, places=20)
    most, now, lock = 0, 0, threading.Lock()

    def work() -> None:
        nonlocal most, now
        with gate.admitted(UPLOADS):
            with lock:
                now += 1
                most = max(most, now)
            time.sleep(0.005)
            with lock:
                now -= 1

    threads = [threading.Thread(target=work) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert (most, gate.running) == (3, 0)


def test_uploads_come_first_and_backfill_never_starves(crowd: Crowd) -> None:
    crowd.come("first")
    for number in range(3):
        crowd.come(f"b{number}", BACKFILL)
    for number in range(20):
        crowd.come(f"u{number}", UPLOADS)
    order = crowd.serve_all()
    assert sum(name.startswith("b") for name in order[: FLOOR - 1]) == 0
    for number in range(2):  # one in each FLOOR turns, though uploads still wait
        assert sum(name.startswith("b") for name in order[: FLOOR * (number + 1)]) == number + 1
    assert order[-1] in {"b2", "u19"}
    assert [name for name in order if name.startswith("u")] == [f"u{number}" for number in range(20)]


def test_the_overflow_and_backfill_share_the_floor(crowd: Crowd) -> None:
    crowd.come("first")
    for number in range(4):
        crowd.come(f"b{number}", BACKFILL)
        crowd.come(f"o{number}", OVERFLOW_QUEUE)
    for number in range(40):
        crowd.come(f"u{number}", UPLOADS)
    early = Counter(name[0] for name in crowd.serve_all()[: 4 * FLOOR])
    assert (early["b"], early["o"]) == (2, 2)


def test_the_account_with_the_least_in_work_is_next() -> None:
    crowd = Crowd(Gate(slots=2, places=100))
    for number in range(6):
        crowd.come(f"hot{number}", account="hot")
    crowd.come("calm", account="calm")
    crowd.come("nobody")
    crowd.leave("hot0")
    until(lambda: len(crowd.order) == 3)
    assert crowd.order[2] == "calm", "it waited least, but its account has nothing in work"
    crowd.leave("hot1")
    until(lambda: len(crowd.order) == 4)
    assert crowd.order[3] == "nobody" or crowd.order[3] == "hot2"
    crowd.go_home()


def test_a_busy_account_is_asked_to_step_aside_only_when_there_is_no_room() -> None:
    gate = Gate(slots=2, places=4)
    crowd = Crowd(gate)
    assert not gate.crowded_by("hot")
    crowd.come("h0", account="hot")
    assert not gate.crowded_by("hot"), "a slot is free"
    crowd.come("h1", account="hot")
    assert gate.crowded_by("hot")
    assert not gate.crowded_by("calm")
    assert not gate.crowded_by(None)
    crowd.go_home()


def test_without_memory_one_goes_on_alone() -> None:
    memory = [False]
    gate = Gate(slots=4, places=8, has_memory=lambda: memory[0])
    crowd = Crowd(gate)
    for number in range(3):
        crowd.come(f"u{number}")
    time.sleep(0.05)
    assert gate.running == 1, "nothing in work at all would help nobody"
    memory[0] = True
    until(lambda: gate.running == 3)
    crowd.go_home()


def test_a_closing_gate_sends_away_who_waits_and_lets_work_go_on(crowd: Crowd) -> None:
    crowd.come("in")
    crowd.come("waits")
    crowd.gate.close()
    until(lambda: crowd.stopped == ["waits"])
    assert crowd.gate.running == 1
    crowd.come("late")
    assert "late" in crowd.stopped


def test_work_that_raises_frees_its_slot() -> None:
    gate = Gate(slots=1, places=1)
    with pytest.raises(ZeroDivisionError), gate.admitted(UPLOADS):
        raise ZeroDivisionError
    with gate.admitted("a queue that nobody knows"):
        assert gate.running == 1


def test_a_suspect_is_in_work_alone() -> None:
    gate = Gate(slots=3, places=6)
    crowd = Crowd(gate)
    crowd.come("neighbour")
    seen: list[int] = []
    began, leave = threading.Event(), threading.Event()

    def suspect(wait: bool) -> None:
        with gate.admitted(UPLOADS), gate.alone():
            seen.append(len(crowd.order))
            began.set()
            if wait:
                leave.wait(20)

    threads = [threading.Thread(target=suspect, args=(True,)), threading.Thread(target=suspect, args=(False,))]
    threads[0].start()
    until(lambda: gate.running == 2)
    crowd.come("later")
    time.sleep(0.1)
    assert (seen, crowd.order) == ([], ["neighbour"]), "it waits for its neighbour, and nothing begins meanwhile"
    crowd.leave("neighbour")
    assert began.wait(10)
    assert crowd.order == ["neighbour"]
    leave.set()
    until(lambda: crowd.order == ["neighbour", "later"])
    threads[1].start()
    crowd.leave("later")
    for thread in threads:
        thread.join(10)
    assert seen == [1, 2]
    crowd.go_home()


def test_two_suspects_at_once_take_turns() -> None:
    gate = Gate(slots=4, places=8)
    now, most, lock = 0, 0, threading.Lock()

    def suspect() -> None:
        nonlocal now, most
        with gate.admitted(UPLOADS), gate.alone():
            with lock:
                now += 1
                most = max(most, now)
            time.sleep(0.02)
            with lock:
                now -= 1

    threads = [threading.Thread(target=suspect) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert (most, gate.running) == (1, 0)
    assert not any(thread.is_alive() for thread in threads)
