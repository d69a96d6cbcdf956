import threading
import time

from tasks.leases import LeaseKeeper


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
    with keeper.holding(7):
        assert keeper.held() == [7]
        assert twice.wait(5)
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
    with keeper.holding(1):
        assert recovered.wait(5)
    keeper.stop()
