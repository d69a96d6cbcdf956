from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from store.ledger import RESEND_MAX_S, RESEND_S
from store.requests import FORGOTTEN_S
from store.store import Busy, Done, LeaseLost, Quarantined, Started, Store


def test_a_redelivered_message_changes_nothing(store: Store, work) -> None:
    work.tag(topics=["cat"])
    before = work.rows("SELECT * FROM uploads"), work.rows("SELECT * FROM attempts"), store.feed(0)
    assert work.admit() == Done()
    assert (work.rows("SELECT * FROM uploads"), work.rows("SELECT * FROM attempts"), store.feed(0)) == before
    assert store.status("u1").attempts == 1


def test_a_live_lease_keeps_others_out_until_it_ends(store: Store, work, clock) -> None:
    first = work.start(lease_s=60)
    clock.pass_s(59)
    busy = work.admit()
    assert isinstance(busy, Busy)
    assert (busy.lease_until - clock()).total_seconds() == 1
    clock.pass_s(2)
    second = work.start(owner="node2")
    assert (second.number, second.attempt_id != first.attempt_id) == (2, True)
    assert work.rows("SELECT ending FROM attempts ORDER BY attempt_id") == [("lost",), (None,)]


def test_of_racing_admissions_exactly_one_starts(store: Store, work) -> None:
    threads, uploads = 8, 15
    line = threading.Barrier(threads)
    for number in range(0, uploads, 2):  # an upload that is known already races in another way than a new one
        store.register(f"u{number}", {"media": "m"}, "h1")

    def race(_: int) -> list[str]:
        got = []
        for number in range(uploads):
            line.wait()
            got.append(type(work.admit(f"u{number}")).__name__)
        return got

    with ThreadPoolExecutor(threads) as pool:
        answers = list(pool.map(race, range(threads)))
    for upload in zip(*answers, strict=True):
        assert sorted(upload) == ["Busy"] * (threads - 1) + ["Started"]
    assert work.rows("SELECT count(*) FROM attempts") == [(uploads,)]


def test_a_heartbeat_renews_the_lease_and_tells_when_it_is_lost(store: Store, work, clock) -> None:
    attempt = work.start(lease_s=60)
    clock.pass_s(50)
    assert store.heartbeat(attempt.attempt_id, 60)
    clock.pass_s(50)
    assert isinstance(work.admit(), Busy)
    clock.pass_s(11)
    # Late, but nobody has taken it: it lives on.
    assert store.heartbeat(attempt.attempt_id, 60)
    clock.pass_s(61)
    work.start(owner="node2")
    assert not store.heartbeat(attempt.attempt_id, 60)


def test_a_zombie_writes_nothing(store: Store, work, clock) -> None:
    zombie = work.start(lease_s=60)
    clock.pass_s(61)
    heir = work.start(owner="node2")
    with pytest.raises(LeaseLost), store.commit(zombie.attempt_id) as transaction:
        transaction.finish(work.body(outcome="degraded"))
    assert store.document("u1") is None
    work.finish(heir)
    with pytest.raises(LeaseLost), store.commit(zombie.attempt_id):
        pass
    assert not store.fail(zombie.attempt_id, "late")
    assert not store.hand_back(zombie.attempt_id)
    assert [event.document["outcome"] for event in store.feed(0)] == ["ok"]
    assert store.status("u1").state == "done"


def test_the_sweeper_gets_what_a_silent_node_held_once(store: Store, work, clock) -> None:
    work.start(lease_s=60, queue="backfill", priority=2)
    assert store.claim_due(max_attempts=3) == []
    clock.pass_s(61)
    (due,) = store.claim_due(max_attempts=3)
    assert (due.upload_id, due.request, due.request_hash) == ("u1", {"media": "h1"}, "h1")
    assert (due.queue, due.priority, due.attempts, due.exhausted) == ("backfill", 2, 1, False)
    assert due.reason == "node1 fell silent"
    assert store.claim_due(max_attempts=3) == []
    assert work.start().number == 2


def test_a_message_that_is_lost_again_is_sent_again_ever_more_rarely(store: Store, work, clock) -> None:
    attempt = work.start()
    store.fail(attempt.attempt_id, "no network", retry_in_s=5)
    clock.pass_s(5)
    waits = []
    for _ in range(9):
        assert len(store.claim_due(max_attempts=3)) == 1
        waited = 0.0
        while not work.rows("SELECT 1 FROM uploads WHERE due_at <= :now", now=_bound(work, clock)):
            clock.pass_s(RESEND_S)
            waited += RESEND_S
        waits.append(waited)
    assert waits[:3] == [60, 120, 240]
    assert waits[-2:] == [RESEND_MAX_S, RESEND_MAX_S]
    assert work.start().number == 2


def _bound(work, clock):
    return clock().replace(tzinfo=None).isoformat(" ", "microseconds") if work.store._database.is_sqlite else clock()


def test_racing_sweepers_share_the_work(store: Store, work, clock) -> None:
    for number in range(40):
        work.start(f"u{number}")
    clock.pass_s(61)
    with ThreadPoolExecutor(4) as pool:
        rounds = list(pool.map(lambda _: store.claim_due(max_attempts=3, limit=15), range(8)))
    claimed = [due.upload_id for due_now in rounds for due in due_now]
    assert sorted(claimed) == sorted(f"u{number}" for number in range(40))


def test_a_registered_upload_whose_message_never_comes_is_found(store: Store, work, clock) -> None:
    assert store.register("u1", {"media": "m", "country": "IT"}, "h1", queue="uploads", priority=7)
    assert store.status("u1").state == "queued"
    clock.pass_s(FORGOTTEN_S - 1)
    assert store.claim_due(max_attempts=3) == []
    clock.pass_s(2)
    (due,) = store.claim_due(max_attempts=3)
    assert (due.attempts, due.priority, due.reason) == (0, 7, "its message never arrived")
    work.tag()
    assert not store.register("u1", {"media": "m"}, "h1")
    assert work.admit() == Done()


def test_a_failed_attempt_is_due_when_it_asked_to_be(store: Store, work, clock) -> None:
    attempt = work.start()
    assert store.fail(attempt.attempt_id, "fetch: 503", retry_in_s=30)
    assert (store.status("u1").state, store.status("u1").reason) == ("queued", "fetch: 503")
    clock.pass_s(29)
    assert store.claim_due(max_attempts=3) == []
    clock.pass_s(1)
    (due,) = store.claim_due(max_attempts=3)
    assert (due.reason, due.attempts) == ("fetch: 503", 1)


def test_what_is_handed_back_is_due_at_once_and_does_not_count(store: Store, work) -> None:
    for _ in range(5):
        attempt = work.start()
        assert attempt.number == 1
        assert store.hand_back(attempt.attempt_id)
        (due,) = store.claim_due(max_attempts=1)
        assert (due.attempts, due.exhausted) == (0, False)


def test_exhausted_uploads_are_quarantined_and_stay_so_until_asked(store: Store, work, clock) -> None:
    for number in (1, 2):
        assert work.start().number == number
        clock.pass_s(61)
        (due,) = store.claim_due(max_attempts=2)
        assert due.exhausted == (number == 2)
    document = work.body(outcome="quarantined", reason="it killed two nodes")
    assert store.quarantine("u1", "h1", document)
    assert store.document("u1") == document
    assert store.status("u1").state == "quarantined"
    assert [event.event for event in store.feed(0)] == ["tagged"]
    clock.pass_s(10 * RESEND_MAX_S)
    assert store.claim_due(max_attempts=2) == []
    assert work.admit() == Quarantined("it killed two nodes")
    assert not store.quarantine("u1", "h1", document)
    # Asked for: it begins anew, and a good end is a change for the feed.
    assert store.requeue("u1")
    assert [due.exhausted for due in store.claim_due(max_attempts=2)] == [False]
    assert work.start().number == 1
    clock.pass_s(61)
    work.tag()
    assert [event.document["outcome"] for event in store.feed(0)] == ["quarantined", "ok"]


def test_an_exhausted_upload_that_was_taken_up_meanwhile_is_not_quarantined(store: Store, work, clock) -> None:
    work.start()
    clock.pass_s(61)
    (due,) = store.claim_due(max_attempts=1)
    attempt = work.start()
    assert not store.quarantine("u1", due.request_hash, work.body(outcome="quarantined"))
    work.finish(attempt)
    assert store.document("u1")["outcome"] == "ok"


def test_admission_can_refuse_attempts_beyond_the_last(store: Store, work, clock) -> None:
    work.start(max_attempts=1)
    clock.pass_s(61)
    assert isinstance(work.admit(max_attempts=1), Quarantined)
    (due,) = store.claim_due(max_attempts=1)
    assert due.exhausted
    assert work.rows("SELECT count(*) FROM attempts") == [(1,)]


def test_a_finished_upload_can_be_asked_for_anew(store: Store, work) -> None:
    work.tag()
    assert not store.requeue("nobody")
    assert store.requeue("u1", queue="backfill")
    assert not store.requeue("u1")
    (due,) = store.claim_due(max_attempts=3)
    assert due.queue == "backfill"
    assert isinstance(work.admit(), Started)


def test_nothing_counts_against_a_request_but_its_own_attempts(store: Store, work, clock) -> None:
    for _ in range(3):
        work.start()
        clock.pass_s(61)
    assert store.status("u1").attempts == 3
    assert work.start(request_hash="h2").number == 1


def test_an_attempt_knows_how_many_before_it_were_lost_with_their_nodes(store: Store, work, clock) -> None:
    assert work.start().lost == 0
    for lost in (1, 2):
        clock.pass_s(61)
        assert work.start().lost == lost
    third = work.start("u2")
    store.fail(third.attempt_id, "failed: X")
    assert work.start("u2").lost == 0, "it failed; its node lived on"
    clock.pass_s(61)
    assert work.start("u1", "another request").lost == 0
