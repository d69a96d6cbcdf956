"""What happens when the same upload is asked for with another request."""

from __future__ import annotations

from datetime import timedelta

from store.store import Busy, Done, Started, Store


def test_a_changed_request_makes_a_new_revision(store: Store, work) -> None:
    work.tag(topics=["cat"])
    work.tag(request_hash="h2", topics=["dog"], document=work.body(outcome="degraded"))
    kept = store.kept("u1")
    assert (kept.revision, kept.document["outcome"], kept.request) == (2, "degraded", {"media": "h2"})
    assert [(event.event, event.document["outcome"]) for event in store.feed(0)] == [
        ("tagged", "ok"),
        ("retagged", "degraded"),
    ]
    assert work.rows("SELECT tag FROM tags") == [("dog",)]


def test_a_request_that_comes_while_the_one_before_is_in_work_waits_for_its_end(store: Store, work) -> None:
    attempt = work.start(request_hash="h1")
    assert isinstance(work.admit(request_hash="h2"), Busy)
    # The broker delivers the running one's message again: that must not push the newer one out.
    assert isinstance(work.admit(request_hash="h1"), Busy)
    work.finish(attempt)
    (due,) = store.claim_due(max_attempts=3)
    assert (due.request, due.attempts) == ({"media": "h2"}, 0)
    work.tag(request_hash="h2", document=work.body(outcome="degraded"))
    assert [event.document["outcome"] for event in store.feed(0)] == ["ok", "degraded"]
    assert work.rows("SELECT revision, request_hash FROM documents ORDER BY revision") == [(1, "h1"), (2, "h2")]
    assert work.admit(request_hash="h2") == Done()


def test_a_waiting_request_survives_every_other_end_of_the_one_before(store: Store, work, clock) -> None:
    ends = {
        "failed": lambda attempt: store.fail(attempt.attempt_id, "x", retry_in_s=3000),
        "handed": lambda attempt: store.hand_back(attempt.attempt_id),
        "silent": lambda attempt: clock.pass_s(61),
    }
    for name, end in ends.items():
        attempt = work.start(name, "h1")
        assert isinstance(work.admit(name, "h2"), Busy)
        end(attempt)
        (due,) = store.claim_due(max_attempts=1)
        assert (due.upload_id, due.request_hash, due.attempts, due.exhausted) == (name, "h2", 0, False)
        work.tag(name, "h2")


def test_a_new_message_takes_over_a_waiting_request_when_the_lease_has_run_out(store: Store, work, clock) -> None:
    work.start(request_hash="h1")
    work.admit(request_hash="h2")
    clock.pass_s(61)
    admission = work.admit(request_hash="h2", max_attempts=1)
    assert isinstance(admission, Started)
    assert admission.number == 1


def test_going_back_to_what_is_answered_needs_no_work(store: Store, work) -> None:
    work.tag(request_hash="h1")
    attempt = work.start(request_hash="h2")
    store.hand_back(attempt.attempt_id)
    assert work.admit(request_hash="h1") == Done()
    assert store.claim_due(max_attempts=3) == []
    assert store.kept("u1").request == {"media": "h1"}


def test_a_quarantined_answer_is_not_taken_for_one_when_the_request_comes_back(store: Store, work, clock) -> None:
    work.start(request_hash="h1")
    clock.pass_s(61)
    store.claim_due(max_attempts=1)
    assert store.quarantine("u1", "h1", work.body(outcome="quarantined"))
    attempt = work.start(request_hash="h2")
    store.hand_back(attempt.attempt_id)
    assert isinstance(work.admit(request_hash="h1"), Started)


def test_the_claimed_upload_time_is_kept_unless_it_lies_ahead_or_is_none(store: Store, work, clock) -> None:
    hour = timedelta(hours=1)
    claims = {
        "past": (clock() - hour).isoformat(),
        "future": (clock() + hour).isoformat(),
        "zulu": (clock() - hour).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "naive": "2025-01-01T00:00:00",
        "junk": "\x00yesterday",
        "none": None,
    }
    sound_id = work.song()
    for name, claim in claims.items():
        work.tag(name, sounds=[sound_id], uploaded_at=claim)
    used = {use.upload_id: use.used_at for use in store.sound_uses(sound_id)}
    assert used == {name: clock() - hour if name in ("past", "zulu") else clock() for name in claims}
