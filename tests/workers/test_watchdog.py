from __future__ import annotations

from workers import memory
from workers.watchdog import Watchdog


def test_a_node_that_takes_nothing_while_messages_wait_is_told() -> None:
    now = [0.0]
    watchdog = Watchdog(60, clock=lambda: now[0])

    def look(waiting: int, in_work: int, handled: int) -> str | None:
        now[0] += 25
        return watchdog.look(waiting, in_work, handled, 0)

    assert [look(5, 0, 3) for _ in range(4)] == [None, None, None, None]
    assert look(5, 0, 3) == "5 messages wait and it took none for 75 s"
    assert look(5, 0, 4) is None, "it handled one"
    assert [look(5, 1, 4) for _ in range(9)] == [None] * 9, "one is in work"
    assert [look(0, 0, 4) for _ in range(9)] == [None] * 9, "there is nothing"
    assert [look(5, 0, 4) for _ in range(3)] == [None] * 3, "counted from when something came"


def test_a_node_that_grew_too_large_is_told() -> None:
    watchdog = Watchdog(60, memory_bytes=100 << 20)
    assert watchdog.look(0, 3, 1, 100 << 20) is None
    assert watchdog.look(0, 3, 1, 101 << 20) == "its memory grew to 101 MiB, more than 100 MiB"
    assert Watchdog(60).look(0, 3, 1, 1 << 50) is None


def test_memory_is_the_machines_or_the_containers(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(memory, "CGROUP", tmp_path)
    whole, left = memory.limit_bytes(), memory.available_bytes()
    assert 0 < left <= whole
    (tmp_path / "memory.max").write_text("max\n")
    assert memory.limit_bytes() == whole
    (tmp_path / "memory.max").write_text(f"{64 << 20}\n")
    (tmp_path / "memory.current").write_text(f"{60 << 20}\n")
    (tmp_path / "memory.stat").write_text(f"anon 5\ninactive_file {10 << 20}\n")
    assert (memory.limit_bytes(), memory.available_bytes()) == (64 << 20, 14 << 20)
    assert memory.resident_bytes() > 10 << 20
