from __future__ import annotations

from store.sounds import insert_sound
from store.store import Store, TagRow


def original(store: Store, name: str) -> str:
    with store._database.write() as connection:
        now = store._database.now(connection)
        values = {"title": name, "duration_s": 5.0, "fingerprint": name.encode()}
        return insert_sound(connection, now, kind="original", **values)[0]


def test_files_and_original_sounds_are_in_common(store: Store, work, clock) -> None:
    song = work.song()
    first = original(store, "one")
    born = clock.now
    clock.pass_s(60)
    second = original(store, "two")
    work.tag("u1", document=work.body(media={"sha256": "aa"}), sounds=[first, song])
    clock.pass_s(60)
    work.tag("u2", document=work.body(media={"sha256": "aa"}), sounds=[second, first, first])
    work.tag("u3", document=work.body(media={"sha256": None}))
    work.start("u4")
    found = store.in_common(["u1", "u2", "u3", "u4", "u9"])
    assert [one.key for one in found["u1"]] == [f"sound:{first}", "sha256:aa"]
    assert [one.key for one in found["u2"]] == [f"sound:{first}", f"sound:{second}", "sha256:aa"]
    assert found["u1"][0].born == found["u2"][0].born == born
    assert found["u1"][-1] == found["u2"][-1]
    assert found["u3"] == found["u4"] == found["u9"] == []
    # Two originals that turn out to be one are one in common.
    store.merge_sounds(second, first)
    assert [one.key for one in store.in_common(["u2"])["u2"]] == [f"sound:{first}", "sha256:aa"]


def test_artifacts_in_use_are_those_of_current_documents(store: Store, work) -> None:
    work.tag("u1", artifact="old", document=work.body(n=1))
    work.tag("u1", "h2", artifact="new", document=work.body(n=2))
    assert store.in_use(["old", "new", "none"]) == {"new"}


def test_a_version_that_says_the_same_is_no_event_but_is_named(store: Store, work) -> None:
    tags = [TagRow("topics", "net@1", "food", 0.5, [])]
    work.finish(work.start(), work.body(models={"topics": "net@1"}), tags=tags)
    store.requeue("u1")
    work.finish(work.start(), work.body(models={"topics": "net@2"}), tags=tags)
    assert store.feed_head() == 1
    assert store.document("u1")["models"] == {"topics": "net@2"}
    assert work.rows("SELECT version FROM tagger_states") == [("net@2",)]
