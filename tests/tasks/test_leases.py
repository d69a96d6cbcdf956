import threading
import time

import pytest

from tasks.leases import LeaseKeeper, NodeStopping


def test_what_is_held_is_renewed_and_what_is_let_go_is_not() -> None:
    renewed: list[int] = []
    twice = threading.Event()

    def renew(attempt_id: int) -> bool:
        renewed.append(attempt_id)
        if renewed.count(7) >= 2:
            twice.set()
        return True

    keeper = LeaseKeeper(renew, lease_s=0.06)
    keeper.start()
    keeper.hold(7)
    assert keeper.held() == [7]
    assert twice.wait(5)
    keeper.let_go(7)
    count = len(renewed)
    time.sleep(0.1)
    assert len(renewed) <= count + 1
    keeper.stop()


def test_a_store_that_is_away_does_not_end_the_renewing() -> None:
    calls = 0
    recovered = threading.Event()

    def renew(attempt_id: int) -> bool:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise ConnectionError("away")
        recovered.set()
        return True

    keeper = LeaseKeeper(renew, lease_s=0.06)
    keeper.start()
    keeper.hold(1)
    assert recovered.wait(5)
    keeper.stop()


def test_a_stopping_node_takes_nothing_and_knows_all_that_it_took() -> None:
    keeper = LeaseKeeper(lambda attempt_id: True, lease_s=60)
    taking, go_on = threading.Event(), threading.Event()

    def take() -> None:
        with keeper.taking():
            taking.set()
            go_on.wait(5)
            keeper.hold(1)

    taker = threading.Thread(target=take)
    taker.start()
    assert taking.wait(5)
    closer = threading.Thread(target=keeper.close)
    closer.start()
    closer.join(0.1)
    assert closer.is_alive(), "what is being taken must be seen"
    go_on.set()
    closer.join(5)
    taker.join(5)
    assert keeper.held() == [1]
    with pytest.raises(NodeStopping), keeper.taking():
        pass


def test_an_attempt_that_hangs_is_let_go() -> None:
    renewed = threading.Event()
    keeper = LeaseKeeper(lambda attempt_id: not renewed.set(), lease_s=0.06, longest_s=0.0)
    keeper.start()
    keeper.hold(1)
    assert not renewed.wait(0.2)
    keeper.stop()
