from __future__ import annotations

import itertools
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest
from sqlalchemy import text

from store.store import LeaseLost, SoundUseRow, Store, StoreUnavailable, TagRow, UnknownSound

ROOT = Path(__file__).parents[2]
TABLES = ("documents", "tags", "tagger_states", "sound_uses", "outbox", "sounds")
CHILD = """
import os, sys
from store.store import SoundUseRow, Store, TagRow
store = Store.open(sys.argv[1])
attempt = store.admit("u1", {"media": "m"}, "h1", owner="child", lease_s=60)
with store.commit(attempt.attempt_id) as transaction:
    transaction.lock_sounds()
    sound_id = transaction.add_sound("original", "t", 5.0, b"fp", "u1")
    tags = [TagRow("topics", "net@1", "cat", 0.9, [])]
    transaction.finish({"outcome": "ok", "models": {"topics": "net@1"}}, tags, [SoundUseRow(sound_id, 1.0, 0.0, 5.0)])
    if sys.argv[2] == "die":
        os._exit(9)
"""


def _counts(work) -> dict[str, int]:
    return {table: work.rows(f"SELECT count(*) FROM {table}")[0][0] for table in TABLES}


@pytest.mark.parametrize("fate", ["die", "live"])
def test_a_commit_is_whole_or_not_at_all(url: str, work, fate: str) -> None:
    child = subprocess.run([sys.executable, "-c", CHILD, url, fate], cwd=ROOT, env=os.environ, check=False)
    assert child.returncode == (9 if fate == "die" else 0)
    assert _counts(work) == dict.fromkeys(TABLES, 0 if fate == "die" else 1)
    assert work.store.status("u1").state == ("running" if fate == "die" else "done")
    # Numbers that the dead one was given are given again: no reader saw them.
    work.tag("u2")
    assert work.store.feed_head() == (1 if fate == "die" else 2)


def test_an_exception_in_the_block_undoes_everything(store: Store, work) -> None:
    attempt = work.start()
    with pytest.raises(ZeroDivisionError), store.commit(attempt.attempt_id) as transaction:
        transaction.add_sound("original", "t", 5.0, b"fp", "u1")
        transaction.finish(work.body())
        raise ZeroDivisionError
    assert _counts(work) == dict.fromkeys(TABLES, 0)
    assert store.heartbeat(attempt.attempt_id, 60)


def test_a_block_that_forgets_to_finish_commits_nothing(store: Store, work) -> None:
    attempt = work.start()
    with pytest.raises(RuntimeError, match="finish"), store.commit(attempt.attempt_id) as transaction:
        transaction.add_sound("original", "t", 5.0, b"fp", "u1")
    assert store.sounds_after(0) == []
    with pytest.raises(RuntimeError, match="once"), store.commit(attempt.attempt_id) as transaction:
        transaction.finish(work.body())
        transaction.finish(work.body())


def test_a_lease_cannot_be_lost_inside_a_commit(store: Store, work, clock) -> None:
    attempt = work.start(lease_s=60)
    clock.pass_s(61)
    others: list[object] = []
    with store.commit(attempt.attempt_id) as transaction:
        thread = threading.Thread(target=lambda: others.append((store.claim_due(3), work.admit())))
        thread.start()
        thread.join(0.3)
        transaction.finish(work.body())
    thread.join(10)
    assert [type(admission).__name__ for _, admission in others] == ["Done"]
    assert others[0][0] == []


def test_two_nodes_with_the_same_sound_register_it_once(store: Store, work) -> None:
    """The second sees, under the lock, what the first has just added."""
    attempts = [work.start(f"u{number}") for number in range(4)]
    line = threading.Barrier(len(attempts))

    def register(attempt) -> None:
        line.wait()
        with store.commit(attempt.attempt_id) as transaction:
            transaction.lock_sounds()
            known = transaction.sounds_after(0, 10)
            sound_id = known[0].sound_id if known else transaction.add_sound("original", "t", 5.0, b"same", None)
            transaction.finish(work.body(), sound_uses=[SoundUseRow(sound_id, 1.0, 0.0, 5.0)])

    threads = [threading.Thread(target=register, args=[attempt]) for attempt in attempts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    (sound,) = store.list_sounds()
    assert sound.uses == 4


def test_a_transactions_own_sounds_are_not_offered_to_an_index(store: Store, work) -> None:
    known = work.song()
    with store.commit(work.start().attempt_id) as transaction:
        transaction.lock_sounds()
        transaction.add_sound("original", "t", 5.0, b"fp", "u1")
        assert [sound.sound_id for sound in transaction.sounds_after(0, 10)] == [known]
        transaction.finish(work.body())
    assert len(store.sounds_after(0)) == 2


def test_a_use_of_an_unknown_sound_is_told_with_the_cure(store: Store, work) -> None:
    attempt = work.start()
    with pytest.raises(UnknownSound, match=r"s_nowhere.*rebuild"):
        work.finish(attempt, sound_uses=[SoundUseRow("s_nowhere", 1.0, 0.0, 1.0)])
    assert store.document("u1") is None


def test_a_document_with_no_json_value_is_refused_alike(store: Store, work) -> None:
    attempt = work.start()
    with pytest.raises(Exception, match="JSON") as error:
        work.finish(attempt, work.body(score=float("nan")))
    assert not isinstance(error.value, StoreUnavailable)
    assert store.document("u1") is None


def test_an_attempt_commits_once(store: Store, work) -> None:
    attempt = work.start()
    work.finish(attempt, tags=[TagRow("topics", "net@1", "cat", 0.9, [])])
    with pytest.raises(LeaseLost):
        work.finish(attempt)
    assert store.feed_head() == 1


def test_a_connection_lost_before_the_commit_leaves_the_upload_to_be_done_again(url: str, store: Store, work) -> None:
    if store._database.is_sqlite:
        pytest.skip("SQLite has no connection to lose")
    attempt = work.start()
    with pytest.raises(StoreUnavailable), store.commit(attempt.attempt_id) as transaction:
        transaction.add_sound("original", "t", 5.0, b"fp", "u1")
        transaction.finish(work.body(), tags=[TagRow("topics", "net@1", "cat", 0.9, [])])
        pid = transaction._connection.execute(text("SELECT pg_backend_pid()")).scalar_one()
        work.rows("SELECT pg_terminate_backend(:pid)", pid=pid)
    assert _counts(work) == dict.fromkeys(TABLES, 0)
    # The attempt lives: the very same can try again.
    work.finish(attempt)
    assert [event.cursor for event in store.feed(0)] == [1]


def test_curating_does_not_wait_for_a_commit_that_uses_the_sounds(store: Store, work) -> None:
    if store._database.is_sqlite:
        pytest.skip("SQLite has one writer at a time")
    part, whole, other = (work.song(title) for title in ("part", "whole", "other"))
    attempt = work.start()
    with ThreadPoolExecutor(1) as pool, store.commit(attempt.attempt_id) as transaction:
        uses = [SoundUseRow(sound_id, 1.0, 0.0, 1.0) for sound_id in (part, whole, other)]
        transaction.finish(work.body(), sound_uses=uses)
        pool.submit(store.merge_sounds, part, whole).result(10)
        assert pool.submit(store.remove_sound, part).result(10)
    assert store.sound(whole) is None
    assert store.sound(other).uses == 1


def test_commits_merges_and_removals_at_once_never_stand_in_each_others_way(store: Store, work) -> None:
    """Each of them locks several rows; in the wrong order they would wait for each other for ever."""
    sounds = [work.song(str(number)) for number in range(8)]
    errors: list[BaseException] = []

    def guarded(action: Callable[[], object]) -> None:
        try:
            action()
        except BaseException as error:
            errors.append(error)

    def commit(worker: int) -> None:
        for number in range(12):
            upload_id = f"u{number % 4}-{worker}"
            attempt = work.start(upload_id, f"h{number}")
            with store.commit(attempt.attempt_id) as transaction:
                if number % 3 == 0:
                    transaction.lock_sounds()
                    transaction.add_sound("original", "t", 1.0, b"fp", upload_id)
                uses = [SoundUseRow(sound_id, 1.0, 0.0, 1.0) for sound_id in sounds[:: -1 if number % 2 else 1]]
                transaction.finish(work.body(n=number), sound_uses=uses)

    def curate() -> None:
        for one, other in itertools.pairwise(sounds):
            store.merge_sounds(one, other)
        store.remove_sound(sounds[0])

    actions = [partial(commit, worker) for worker in range(3)] + [curate]
    threads = [threading.Thread(target=guarded, args=[action]) for action in actions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert errors == []
    assert [event.cursor for event in store.feed(0)] == list(range(1, 37))
