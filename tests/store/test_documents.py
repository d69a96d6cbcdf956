from __future__ import annotations

from store.store import Store, TagRow


def test_a_document_is_kept_as_it_was_given(store: Store, work, clock) -> None:
    document = work.body(
        topics=[{"topic": "animals/cat", "score": 0.93, "ranges": [[0.0, 4.5]]}], title="Äöü 🎵 \"'", n=1.0
    )
    work.tag(document=document, artifact="ab/cd/x.safetensors", country="IT")
    kept = store.kept("u1")
    assert kept.document == document
    assert list(kept.document) == list(document)
    assert (kept.artifact, kept.at, kept.cursor) == ("ab/cd/x.safetensors", clock(), 1)
    assert kept.request == {"media": "h1", "country": "IT"}
    assert store.document("u1") == document
    assert store.document("nobody") is store.kept("nobody") is None


def test_hostile_text_is_stored_without_what_a_database_cannot_hold(store: Store, work) -> None:
    hostile = "a\x00b\ud800c'; DROP TABLE uploads; --"
    work.tag(document=work.body(reason=hostile, nested=[{hostile: hostile}]), topics=[hostile], country=hostile)
    plain = "abc'; DROP TABLE uploads; --"
    assert store.document("u1")["nested"] == [{plain: plain}]
    assert work.rows("SELECT tag FROM tags") == [(plain,)]
    assert store.status("u1").reason == plain


def test_tags_uses_and_versions_are_those_of_the_latest_revision(store: Store, work) -> None:
    first, second = work.song("one"), work.song("two")
    work.tag(topics=["cat", "dog"], sounds=[first])
    document = work.body(models={"topics": "net@2"})
    work.tag(request_hash="h2", topics=["fox"], sounds=[second, second], document=document)
    assert work.rows("SELECT tag, version, ranges FROM tags")[0][0] == "fox"
    assert len(work.rows("SELECT * FROM tags")) == 1
    assert work.rows("SELECT sound_id FROM sound_uses") == [(second,), (second,)]
    assert work.rows("SELECT tagger, version FROM tagger_states") == [("topics", "net@2")]


def test_an_answer_that_says_nothing_new_is_no_event(store: Store, work) -> None:
    work.tag(document=work.body(attempts=1, timings_ms={"decode": 3}), artifact="old")
    store.requeue("u1")
    work.tag(document=work.body(attempts=2, timings_ms={"decode": 9}), artifact="new")
    kept = store.kept("u1")
    assert (kept.revision, kept.document["attempts"], kept.artifact) == (1, 2, "new")
    assert store.feed_head() == 1
    assert store.status("u1").state == "done"


def test_documents_are_found_by_what_is_in_them(store: Store, work) -> None:
    song = work.song()
    work.tag("u1", topics=["animals/cat"], country="IT")
    work.tag("u2", topics=["animals", "food"], sounds=[song])
    work.tag("u3", topics=["animals_x/cat"], document=work.body(outcome="corrupt"), country="IT")

    def found(**filters: object) -> list[str]:
        return [kept.upload_id for kept in store.documents(**filters)]

    assert found() == ["u3", "u2", "u1"]
    assert found(outcome="corrupt") == ["u3"]
    assert found(topic="animals") == ["u2", "u1"]
    assert found(topic="animals/cat") == ["u1"]
    assert found(topic="animals_") == []
    assert found(country="IT", outcome="ok") == ["u1"]
    assert found(sound=song) == ["u2"]
    other = work.song("whole")
    store.merge_sounds(song, other)
    assert found(sound=song) == found(sound=other) == ["u2"]
    assert found(sound="s_nowhere") == []


def test_documents_are_paged_without_loss_or_repetition(store: Store, work) -> None:
    for number in range(7):
        work.tag(f"u{number}")
    work.tag("u3", "h2", document=work.body(outcome="degraded"))
    pages: list[str] = []
    before = None
    while page := store.documents(before=before, limit=3):
        pages += [kept.upload_id for kept in page]
        before = page[-1].cursor
    assert pages == ["u3", "u6", "u5", "u4", "u2", "u1", "u0"]


def test_what_a_new_version_has_not_seen_is_found(store: Store, work) -> None:
    work.tag("u1", document=work.body(models={"topics": "net@2"}))
    work.tag("u2", document=work.body(models={"topics": "net@1"}))
    work.tag("u3", document=work.body(models={}))
    work.start("u4")
    assert store.outdated("topics", "net@2") == ["u2", "u3"]
    assert store.outdated("topics", "net@2", after="u2") == ["u3"]
    assert store.outdated("topics", "net@1", limit=1) == ["u1"]


def test_a_tag_without_ranges_is_one(store: Store, work) -> None:
    work.finish(work.start(), tags=[TagRow("layout", "grid@1", "single", 1.0, []), TagRow("topics", "n@1", "x", 1, [])])
    assert len(work.rows("SELECT * FROM tags")) == 2
