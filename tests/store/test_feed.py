from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

from store.store import Store


def test_events_come_in_order_and_from_a_cursor(store: Store, work, clock) -> None:
    assert (store.feed(0), store.feed_head()) == ([], 0)
    for number in range(5):
        clock.pass_s(1)
        work.tag(f"u{number}", document=work.body(n=number))
    events = store.feed(0)
    assert [event.cursor for event in events] == [1, 2, 3, 4, 5]
    assert [event.upload_id for event in events] == [f"u{number}" for number in range(5)]
    assert events[4].at == clock()
    assert events[4].document == work.body(n=4)
    assert store.feed(2, limit=2) == events[2:4]
    assert store.feed(5) == []
    assert store.feed_head() == 5


def test_an_event_carries_the_document_of_its_time(store: Store, work) -> None:
    work.tag(document=work.body(n=1))
    work.tag(request_hash="h2", document=work.body(n=2))
    assert [(event.event, event.document["n"]) for event in store.feed(0)] == [("tagged", 1), ("retagged", 2)]


def test_a_reader_never_passes_an_event_that_is_yet_to_be_committed(store: Store, work) -> None:
    """One commit is held open after it took its number; a second one must not become readable before it."""
    slow, quick = work.start("slow"), work.start("quick")
    finished, let_go = threading.Event(), threading.Event()

    def hold() -> None:
        with store.commit(slow.attempt_id) as transaction:
            transaction.finish(work.body())
            finished.set()
            assert let_go.wait(30)

    with ThreadPoolExecutor(2) as pool:
        held = pool.submit(hold)
        assert finished.wait(30)
        second = pool.submit(work.finish, quick)
        seen = [event.upload_id for _ in range(20) for event in store.feed(0) if not threading.Event().wait(0.02)]
        assert seen == []
        assert not second.done()
        let_go.set()
        held.result(30)
        second.result(30)
    assert [(event.cursor, event.upload_id) for event in store.feed(0)] == [(1, "slow"), (2, "quick")]


def test_following_readers_see_every_event_once_while_many_commit(store: Store, work) -> None:
    writers, each = 4, 15
    stop = threading.Event()

    def write(writer: int) -> None:
        for number in range(each):
            work.tag(f"w{writer}-{number}")

    def follow(_: int) -> list[int]:
        cursors: list[int] = []
        while not stop.is_set() or store.feed(cursors[-1] if cursors else 0, 1):
            cursors += [event.cursor for event in store.feed(cursors[-1] if cursors else 0, 7)]
        return cursors

    with ThreadPoolExecutor(writers + 2) as pool:
        readers = [pool.submit(follow, reader) for reader in range(2)]
        for done in [pool.submit(write, writer) for writer in range(writers)]:
            done.result(120)
        stop.set()
        for reader in readers:
            assert reader.result(60) == list(range(1, writers * each + 1))


def test_a_consumers_position_never_goes_back(store: Store) -> None:
    assert store.position("a") == 0
    store.advance("a", 7)
    store.advance("a", 5)
    store.advance("b", 1)
    assert (store.position("a"), store.position("b")) == (7, 1)
