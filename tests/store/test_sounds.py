from __future__ import annotations

import re
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from store.store import SoundUseRow, Store, UnknownSound


def _copy(store: Store, last: int = 0) -> dict[str, bytes]:
    """A copy of the catalogue, read on from `last` in small steps as an index does it."""
    copy: dict[str, bytes] = {}
    while rows := store.sounds_after(last, 2):
        for row in rows:
            if row.fingerprint is None:
                copy.pop(row.sound_id, None)
            else:
                copy[row.sound_id] = row.fingerprint
        last = rows[-1].seq
    return copy


def test_adding_a_folder_twice_adds_nothing(store: Store) -> None:
    first = [store.add_sound("song", f"song {n}", 60.0, b"fp", f"sha{n}") for n in range(5)]
    second = [store.add_sound("song", f"renamed {n}", 60.0, b"other", f"sha{n}") for n in range(5)]
    assert [new for _, new in first] == [True] * 5
    assert [(sound_id, False) for sound_id, _ in first] == second
    assert len({sound_id for sound_id, _ in first}) == 5
    assert all(re.fullmatch(r"s_[a-z2-7]{16}", sound_id) for sound_id, _ in first)
    assert [sound.title for sound in store.list_sounds()] == [f"song {n}" for n in (4, 3, 2, 1, 0)]


def test_racing_additions_of_one_file_make_one_sound(store: Store) -> None:
    line = threading.Barrier(4)

    def add(_: int) -> tuple[str, bool]:
        line.wait()
        return store.add_sound("song", "t", 60.0, b"fp", "sha")

    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(add, range(4)))
    assert len({sound_id for sound_id, _ in answers}) == 1
    assert sorted(new for _, new in answers) == [False, False, False, True]


def test_sounds_are_listed_by_kind_and_part_of_title(store: Store, work) -> None:
    store.add_sound("song", "Blue 100% Moon", 60.0, b"a", "sha1")
    store.add_sound("effect", "blue whistle", 1.0, b"b", "sha2")
    with store.commit(work.start().attempt_id) as transaction:
        original = transaction.add_sound("original", "original sound of u1", 9.0, b"c", "u1")
        transaction.finish(work.body(), sound_uses=[SoundUseRow(original, 1.0, 0.0, 9.0)])
    assert [sound.title for sound in store.list_sounds(search="BLUE")] == ["blue whistle", "Blue 100% Moon"]
    assert [sound.title for sound in store.list_sounds(kind="song", search="0%")] == ["Blue 100% Moon"]
    assert store.list_sounds(search="_") == []
    assert len(store.list_sounds(limit=2)) == 2
    (found,) = store.list_sounds(kind="original")
    assert (found.sound_id, found.origin_upload_id, found.duration_s, found.uses) == (original, "u1", 9.0, 1)


def test_a_sound_of_no_known_kind_is_a_bug(store: Store) -> None:
    with pytest.raises(ValueError, match="podcast"):
        store.add_sound("podcast", "t", 60.0, b"fp", "sha")  # type: ignore[arg-type]


def test_a_merged_sounds_ids_go_on_working(store: Store, work) -> None:
    a, b, c = (work.song(title) for title in "abc")
    work.tag("u1", sounds=[a])
    work.tag("u2", sounds=[b])
    work.tag("u3", sounds=[c, c])
    store.merge_sounds(a, b)
    assert store.sound(a) == store.sound(b)
    assert store.sound(b).uses == 2
    store.merge_sounds(b, c)
    for alias in (a, b, c):
        assert store.sound(alias).sound_id == c
        assert sorted(use.upload_id for use in store.sound_uses(alias)) == ["u1", "u2", "u3", "u3"]
    assert store.sound(c).uses == 3
    assert [sound.sound_id for sound in store.list_sounds()] == [c]
    # A node whose index still had the alias commits it: the use is the whole's.
    work.tag("u4", sounds=[a])
    assert store.sound(c).uses == 4
    # The merged one's file is known under its new name.
    assert store.add_sound("song", "a", 60.0, b"a", "sha-a") == (c, False)


def test_merging_in_a_circle_ends(store: Store, work) -> None:
    a, b = work.song("a"), work.song("b")
    store.merge_sounds(a, b)
    store.merge_sounds(b, a)
    store.merge_sounds(a, a)
    assert store.sound(a).sound_id == b
    for pair in ((a, "s_nowhere"), ("s_nowhere", a)):
        with pytest.raises(UnknownSound, match="s_nowhere"):
            store.merge_sounds(*pair)


def test_a_removed_sound_is_gone_but_its_uses_are_not_lost(store: Store, work) -> None:
    a, b = work.song("a"), work.song("b")
    work.tag("u1", sounds=[a])
    store.merge_sounds(a, b)
    assert store.remove_sound(a)
    assert store.sound(a) is store.sound(b) is None
    assert store.list_sounds() == []
    assert not store.remove_sound(b)
    assert not store.remove_sound("s_nowhere")
    assert work.rows("SELECT fingerprint FROM sounds WHERE sound_id = :b", b=b) == [(None,)]
    assert len(work.rows("SELECT * FROM sound_uses")) == 1
    # The same files may come again, as new sounds.
    again, new = store.add_sound("song", "a", 60.0, b"a", "sha-a")
    assert new
    assert again not in (a, b)


def test_a_copy_follows_additions_merges_and_removals(store: Store, work) -> None:
    a, b, c, d = (work.song(title) for title in "abcd")
    assert _copy(store) == {a: b"a", b: b"b", c: b"c", d: b"d"}
    last = store.sounds_after(0)[-1].seq
    store.merge_sounds(a, b)
    store.remove_sound(c)
    e = work.song("e")
    changes = store.sounds_after(last)
    assert [(row.sound_id, row.fingerprint) for row in changes] == [(a, None), (c, None), (e, b"e")]
    assert store.sounds_after(changes[-1].seq) == []
    # A copy made from nothing agrees.
    assert _copy(store) == {b: b"b", d: b"d", e: b"e"}


def test_what_trends_is_used_more_than_before(store: Store, work, clock) -> None:
    rising, steady, falling, old, gone, alias = (
        work.song(title) for title in ("rising", "steady", "falling", "old", "gone", "alias")
    )
    work.tag("o1", sounds=[old])
    clock.pass_s(7200)
    for number, sound_id in enumerate([steady, falling, falling, rising, old]):
        work.tag(f"b{number}", sounds=[sound_id])
    clock.pass_s(3600)
    for number, sound_id in enumerate([steady, falling, rising, rising, alias, gone, gone, gone, gone]):
        work.tag(f"n{number}", sounds=[sound_id, sound_id])
    # An old upload that is tagged anew is no new use.
    work.tag("o1", "h2", sounds=[old])
    store.merge_sounds(alias, rising)
    store.remove_sound(gone)
    trends = store.trending(3600.0)
    assert [(trend.title, trend.uses, trend.before) for trend in trends] == [("rising", 3, 1)]
    assert trends[0].sound_id == rising
    assert store.trending(3600.0, limit=0) == []
