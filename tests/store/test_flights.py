from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from store.store import Store


def test_one_has_it_until_its_lease_runs_out_or_it_is_given_up(store: Store, clock) -> None:
    assert store.take_flight("sweeper", "a", 20)
    assert store.take_flight("sweeper", "a", 20), "its holder keeps it"
    assert not store.take_flight("sweeper", "b", 20)
    assert store.take_flight("other", "b", 20), "another job is another's"
    clock.pass_s(21)
    assert store.take_flight("sweeper", "b", 20)
    assert not store.take_flight("sweeper", "a", 20)
    store.end_flight("sweeper", "a")
    assert not store.take_flight("sweeper", "a", 20), "only its holder gives it up"
    store.end_flight("sweeper", "b")
    assert store.take_flight("sweeper", "a", 20)


def test_of_many_that_ask_at_once_one_gets_it(store: Store) -> None:
    with ThreadPoolExecutor(8) as pool:
        got = list(pool.map(lambda number: store.take_flight("job", f"n{number}", 60), range(8)))
    assert sum(got) == 1
