from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from store.store import NothingToRollBack, ShadowRow, Store


def meaning(store: Store, alias: str = "champion") -> int | None:
    (state,) = [state for state in store.aliases() if (state.tagger, state.alias) == ("topics", alias)]
    return state.number


def promote(store: Store, number: int | None, alias: str = "champion", share: float = 1.0):
    digest = None if number is None else f"digest{number}"
    return store.promote("topics", alias, number, digest, share, "Ada", f"try {number}")  # type: ignore[arg-type]


def test_an_alias_means_what_was_promoted_last(store: Store, clock) -> None:
    assert store.aliases() == []
    promote(store, 1)
    clock.pass_s(5)
    state = promote(store, 2)
    assert meaning(store) == 2
    assert (state.who, state.why, state.digest, state.at, state.action) == (
        "Ada",
        "try 2",
        "digest2",
        clock.now,
        "promote",
    )


def test_the_history_keeps_who_and_why(store: Store) -> None:
    promote(store, 1)
    store.rollback("topics", "champion", "Bob", "it says cat of everything")
    newest, first = store.alias_history("topics")
    assert (newest.action, newest.who, newest.why, newest.number) == (
        "rollback",
        "Bob",
        "it says cat of everything",
        None,
    )
    assert (first.action, first.number) == ("promote", 1)
    assert store.alias_history("events") == []


def test_rollbacks_go_back_further_and_further(store: Store) -> None:
    for number in (1, 2, 3):
        promote(store, number)
    found = [store.rollback("topics", "champion", "Ada", "").number for _ in range(3)]
    assert found == [2, 1, None]
    with pytest.raises(NothingToRollBack):
        store.rollback("topics", "champion", "Ada", "")
    assert meaning(store) is None


def test_after_a_rollback_a_promotion_goes_on_from_what_is_in_force(store: Store) -> None:
    promote(store, 1)
    promote(store, 2)
    store.rollback("topics", "champion", "Ada", "")
    promote(store, 3)
    assert store.rollback("topics", "champion", "Ada", "").number == 1


def test_what_was_never_set_cannot_be_rolled_back(store: Store) -> None:
    with pytest.raises(NothingToRollBack):
        store.rollback("topics", "champion", "Ada", "")
    assert store.aliases() == []


def test_the_same_promotion_twice_is_one_change(store: Store) -> None:
    assert promote(store, 1).change_id == promote(store, 1).change_id
    assert len(store.alias_history()) == 1


def test_taggers_and_aliases_are_apart(store: Store) -> None:
    promote(store, 1)
    promote(store, 2, "shadow", 0.1)
    store.promote("events", "champion", 7, "d", 1.0, "Ada", "")
    assert {(state.tagger, state.alias): (state.number, state.share) for state in store.aliases()} == {
        ("topics", "champion"): (1, 1.0),
        ("topics", "shadow"): (2, 0.1),
        ("events", "champion"): (7, 1.0),
    }
    with pytest.raises(ValueError, match="share"):
        promote(store, 2, "shadow", 0.0)


def test_promotions_at_once_are_one_after_the_other(store: Store) -> None:
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda number: promote(store, number), range(1, 9)))
    history = store.alias_history("topics")
    assert len({state.change_id for state in history}) == len(history) == 8
    assert meaning(store) == history[0].number
    for expected in history[1:]:
        assert store.rollback("topics", "champion", "Ada", "").number == expected.number


def test_a_shadows_answer_is_kept_apart(store: Store, work) -> None:
    attempt = work.start("u1")
    row = ShadowRow("topics", "head@2", "net@1", [{"topic": "a", "score": 0.9}], [])
    with store.commit(attempt.attempt_id) as transaction:
        transaction.keep_shadows([row, row])
        transaction.finish(work.body())
    (kept,) = store.shadow_answers("topics")
    assert (kept.upload_id, kept.row) == ("u1", row)
    assert store.shadow_answers("topics", "head@3") == store.shadow_answers("events") == []
    assert "head@2" not in str(store.document("u1"))
    assert "head@2" not in str(store.feed(after=0))


def test_what_a_version_said_is_read_back(store: Store, work, clock) -> None:
    begin = clock.now
    work.tag("u1", topics=["a", "b"])
    clock.pass_s(10)
    work.tag("u2", topics=[])
    second, first = store.spoken("topics", "net@1", begin)
    assert (first.upload_id, first.tags) == ("u1", (("a", 0.9), ("b", 0.9)))
    assert (second.upload_id, second.tags) == ("u2", ())
    assert [said.upload_id for said in store.spoken("topics", "net@1", clock.now)] == ["u2"]
    assert store.spoken("topics", "net@2", begin) == []
