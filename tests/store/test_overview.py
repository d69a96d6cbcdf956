from __future__ import annotations

import pytest

from store.store import Store


def test_status_follows_an_upload(store: Store, work, clock) -> None:
    assert store.status("u1") is None
    attempt = work.start(queue="backfill")
    status = store.status("u1")
    assert (status.state, status.attempts, status.revision, status.outcome) == ("running", 1, 0, None)
    assert (status.queue, status.updated_at) == ("backfill", clock())
    work.finish(attempt, work.body(outcome="corrupt", reason="no header"))
    status = store.status("u1")
    assert (status.state, status.revision, status.outcome, status.reason) == ("done", 1, "corrupt", "no header")


def test_counts_are_by_state_and_by_outcome(store: Store, work, clock) -> None:
    assert store.counts() == {"queued": 0, "running": 0, "done": 0, "quarantined": 0}
    store.register("q", {"media": "m"}, "h")
    work.start("r")
    for number in range(3):
        work.tag(f"d{number}", document=work.body(outcome="ok" if number else "corrupt"))
    work.start("x")
    clock.pass_s(61)
    assert {due.upload_id for due in store.claim_due(max_attempts=1)} == {"r", "x"}
    assert store.quarantine("x", "h1", work.body(outcome="quarantined"))
    counts = {"queued": 2, "running": 0, "done": 3, "quarantined": 1, "corrupt": 1, "ok": 2}
    assert store.counts() == counts
    # What is asked for anew is no longer done, though its document is there.
    store.requeue("d1")
    assert store.counts() == counts | {"queued": 3, "done": 2, "ok": 1}


def test_refused_messages_are_kept_but_not_for_ever(store: Store, clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("store.overview.REFUSALS_KEPT", 3)
    for number in range(5):
        store.refuse(f'{{"n": {number}, "x": "\x00"}}', "media: missing")
    kept = store.refusals()
    assert [message for _, message, _ in kept] == [f'{{"n": {number}, "x": ""}}' for number in (4, 3, 2)]
    assert kept[0] == (clock(), '{"n": 4, "x": ""}', "media: missing")
    assert len(store.refusals(limit=1)) == 1
