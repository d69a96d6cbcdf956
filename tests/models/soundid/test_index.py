import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from models.soundid.disk_view import affordable
from models.soundid.features import Peaks
from models.soundid.fingerprint import Fingerprint
from models.soundid.index import DiskIndex
from models.soundid.manifest import MANIFEST, SUFFIX
from models.soundid.segment import MAX_BUCKET, IndexCorrupt, Segment, SoundEntry
from models.soundid.segment_file import rows_of, write_segment
from models.soundid.view import MAX_POSTINGS
from models.soundid.whitening import SIGN_RATE

ROOT = Path(__file__).parents[3]


def small(seed, peaks=60):
    """A fingerprint of random peaks: cheap, and with hashes of its own."""
    rng = np.random.default_rng(seed)
    times = np.cumsum(rng.integers(3, 9, peaks)).astype(np.uint32)
    bins = rng.integers(8, 1470, peaks).astype(np.uint16)
    frames = int(times[-1]) + 1
    signs = rng.integers(0, 256, int(frames / 100 * SIGN_RATE) // 8).astype(np.uint8)
    bass = rng.integers(0, 2**64, -(-frames // 25), dtype=np.uint64)
    duration = frames / 100
    return Fingerprint(Peaks(times, bins, np.zeros(peaks, np.uint8)), signs, frames, *[duration] * 3, bass)


def sound(number, seed=None):
    return (number, f"s_{number}", "song", f"Title {number} é", small(number if seed is None else seed))


def held(index):
    """Everything an index holds of its sounds, by sound id: entry, peaks, signs and bass."""
    view = index.view()
    line = view.bass(10**6)
    bass = {int(s): line.words[a:b].tolist() for s, (a, b) in zip(line.sounds, pairwise(line.starts), strict=True)}
    answer = {}
    first = 0
    for segment, gone in zip(view.segments, view.gone, strict=True):
        for number in range(len(segment)):
            if number not in gone:
                entry = view.entry(first + number)
                times, bins = view.peaks(first + number)
                signs = view.signs(first + number).tolist()
                answer[entry.sound_id] = (entry, times.tolist(), bins.tolist(), signs, bass[first + number])
        first += len(segment)
    return answer


def found(index, fingerprint):
    """Ids of the sounds that hold all hashes of a fingerprint at their times."""
    view = index.view()
    hits = view.lookup(fingerprint.hashes)
    right = hits.times == fingerprint.times[hits.rows]
    return {
        view.entry(int(number)).sound_id
        for number in np.unique(hits.sounds)
        if len(np.unique(hits.rows[right & (hits.sounds == number)])) == len(fingerprint.hashes)
    }


def test_empty(tmp_path):
    index = DiskIndex(tmp_path / "new" / "folder")
    assert (len(index), index.last_seq, "s_1" in index) == (0, 0, False)
    assert len(index.view().lookup(np.asarray([1, 2], np.uint32)).rows) == 0
    assert index.add([]) == 0
    assert not index.remove("s_1")
    index.compact()


def test_lookup_gives_what_went_in(tmp_path):
    index = DiskIndex(tmp_path)
    assert index.add(sound(number) for number in range(1, 30)) == 29
    for number in (1, 15, 29):
        assert f"s_{number}" in index
        assert found(index, small(number)) == {f"s_{number}"}
    assert found(index, small(999)) == set()
    entry, times, bins, signs, bass = held(index)["s_7"]
    assert entry == SoundEntry(7, "s_7", "song", "Title 7 é", small(7).frames)
    assert times == small(7).reference.times.tolist()
    assert bins == small(7).reference.bins.tolist()
    assert signs == small(7).signs.tolist()
    assert bass == small(7).bass.tolist()


def test_the_bass_of_what_came_last(tmp_path):
    index = DiskIndex(tmp_path)
    assert index.view().bass(1000).starts.tolist() == [0]
    for number in range(1, 7):
        index.add([sound(number)])
    index.remove("s_5")
    view = index.view()
    assert len(view.segments) > 1

    def named(line):
        parts = [line.words[begin:end].tolist() for begin, end in pairwise(line.starts)]
        return {view.entry(int(n)).sound_id: part for n, part in zip(line.sounds, parts, strict=True) if n >= 0}

    # What was removed takes its place until its segment is merged.
    room = sum(len(small(number).bass) for number in (3, 4, 5, 6))
    line = view.bass(room)
    assert named(line) == {f"s_{number}": small(number).bass.tolist() for number in (3, 4, 6)}
    assert line.starts[-1] == len(line.words) == room
    assert view.bass(room) is line
    assert set(named(view.bass(room - 1))) == {"s_4", "s_6"}
    assert set(named(view.bass(10**6))) == {"s_1", "s_2", "s_3", "s_4", "s_6"}


def test_a_sound_without_bass_is_left_out_of_it(tmp_path):
    index = DiskIndex(tmp_path)
    index.add([sound(1), (2, "s_2", "song", None, replace(small(2), bass=np.zeros(0, np.uint64))), sound(3)])
    line = index.view().bass(1000)
    assert (line.sounds.tolist(), int(line.starts[1])) == ([0, 1, 2], len(small(1).bass))
    assert np.diff(line.starts)[1] == 0


def test_postings_equal_a_plain_dictionary(tmp_path):
    index = DiskIndex(tmp_path)
    expected = {}
    for number in range(1, 13):
        index.add([sound(number)])
        fingerprint = small(number)
        for code, at in zip(fingerprint.hashes.tolist(), fingerprint.times.tolist(), strict=True):
            expected.setdefault(code, set()).add((f"s_{number}", at))
    view = index.view()
    asked = np.asarray([*expected, 5, 2**24 - 1], np.uint32)
    np.random.default_rng(0).shuffle(asked)
    hits = view.lookup(asked)
    answer = {}
    for row, number, at in zip(hits.rows, hits.sounds, hits.times, strict=True):
        answer.setdefault(int(asked[row]), set()).add((view.entry(int(number)).sound_id, int(at)))
    assert answer == expected


def test_reopened_and_merged_it_is_the_same(tmp_path):
    index = DiskIndex(tmp_path)
    for number in range(1, 60):
        index.add([sound(number)])
    assert index.stats()["segments"] <= 8
    before = held(index)
    assert len(before) == 59
    assert held(DiskIndex(tmp_path)) == before
    index.compact()
    assert index.stats()["segments"] == 1
    assert held(index) == before
    assert held(DiskIndex(tmp_path)) == before
    index.verify()
    assert len(list(tmp_path.glob("*"))) == 3  # manifest, lock, segment


def test_adding_again_changes_nothing_and_a_new_number_replaces(tmp_path):
    index = DiskIndex(tmp_path)
    index.add([sound(1), sound(2)])
    stamp = (tmp_path / MANIFEST).stat().st_ino
    assert index.add([sound(1), sound(2)]) == 0
    assert (tmp_path / MANIFEST).stat().st_ino == stamp
    assert index.add([(5, "s_1", "effect", None, small(50))]) == 1
    assert len(index) == 2
    assert index.last_seq == 5
    assert found(index, small(1)) == set()
    assert found(index, small(50)) == {"s_1"}
    assert held(index)["s_1"][0].kind == "effect"


def test_removed_is_not_found_and_goes_when_compacted(tmp_path):
    index = DiskIndex(tmp_path)
    index.add(sound(number) for number in range(1, 11))
    assert index.remove("s_4", seq=12)
    assert not index.remove("s_4")
    assert index.last_seq == 12
    assert "s_4" not in index
    assert found(index, small(4)) == set()
    assert found(DiskIndex(tmp_path), small(5)) == {"s_5"}
    size = index.stats()["postings"]
    index.compact()
    assert index.stats()["postings"] == size - len(small(4).hashes)
    assert set(held(index)) == {f"s_{number}" for number in range(1, 11) if number != 4}
    for number in (1, 2, 3, 5, 6, 7, 8, 9, 10):
        index.remove(f"s_{number}")
    assert len(index) == 0
    assert found(index, small(1)) == set()
    index.add([sound(4)])
    assert found(index, small(4)) == {"s_4"}


def test_a_page_of_changes_is_one_step(tmp_path):
    index = DiskIndex(tmp_path)
    index.add([sound(1), sound(2)])
    inode = (tmp_path / MANIFEST).stat().st_ino
    assert index.update([sound(3), sound(5)], [(4, "s_1"), (6, "s_never")]) == (2, 1)
    assert (tmp_path / MANIFEST).stat().st_ino != inode
    assert index.view().generation == 2
    assert (set(held(index)), index.last_seq) == ({"s_2", "s_3", "s_5"}, 6)


def test_a_reader_sees_what_a_writer_adds_and_keeps_its_view(tmp_path):
    writer, reader = DiskIndex(tmp_path), DiskIndex(tmp_path)
    writer.add([sound(1)])
    old = reader.view()
    assert found(reader, small(1)) == {"s_1"}
    assert not reader.reload()
    writer.add([sound(2)])
    assert reader.reload()
    assert found(reader, small(2)) == {"s_2"}
    # The first segment was merged away and unlinked; the view that holds it still answers.
    assert old.entry(0).sound_id == "s_1"
    assert len(old.lookup(small(1).hashes).rows) >= len(small(1).hashes)
    again = DiskIndex.recreate(tmp_path)
    assert len(again) == len(reader) == len(writer) == 0


def test_many_threads_read_while_one_writes(tmp_path):
    index = DiskIndex(tmp_path)
    index.add([sound(1)])
    stop, errors = threading.Event(), []

    def read():
        while not stop.is_set():
            try:
                assert "s_1" in found(index, small(1))
            except BaseException as error:
                errors.append(error)
                return

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    for number in range(2, 40):
        index.add([sound(number)])
        if number % 10 == 0:
            index.remove(f"s_{number - 1}")
            index.compact()
    stop.set()
    for thread in threads:
        thread.join()
    assert errors == []


WRITER = """
import sys
sys.path.insert(0, {root!r}); sys.path.insert(0, {here!r})
from test_index import DiskIndex, small, sound
index = DiskIndex({path!r})
small(0).hashes  # compiles, where that is not kept from before
print("ready", flush=True)
number = int(sys.argv[1])
while True:
    number += 1
    index.add([sound(number)])
    print(number, flush=True)
    if number % 5 == 0:
        index.remove(f"s_{{number - 2}}")
        print(-(number - 2), flush=True)
    if number % 7 == 0:
        index.compact()
"""


def _write_until_killed(path, after_s, start=0):
    code = textwrap.dedent(WRITER).format(root=str(ROOT), here=str(Path(__file__).parent), path=str(path))
    process = subprocess.Popen([sys.executable, "-c", code, str(start)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    time.sleep(after_s)
    process.send_signal(signal.SIGKILL)
    said = [int(line) for line in process.stdout.read().split() if line.lstrip("-").isdigit()]
    process.wait()
    return said


def test_other_processes_read_while_one_writes(tmp_path):
    reader = DiskIndex(tmp_path)
    reader.add([sound(100_000)])
    errors = []
    done = threading.Event()

    def read():
        while not done.is_set():
            try:
                assert found(reader, small(100_000)) == {"s_100000"}
            except BaseException as error:
                errors.append(error)
                return

    thread = threading.Thread(target=read)
    thread.start()
    said = _write_until_killed(tmp_path, 1.0)
    done.set()
    thread.join()
    assert errors == []
    assert len(said) > 5
    assert f"s_{max(said)}" in reader


_CRASH = """
import os, random, sys, signal
sys.path.insert(0, {root!r}); sys.path.insert(0, {here!r})
from test_index import DiskIndex, small, sound
import models.soundid.index as module
small(0).hashes

path, cycles = {path!r}, int(sys.argv[1])
DiskIndex(path)
for cycle in range(cycles):
    child = os.fork()
    if child == 0:
        # Dies by SIGKILL right before its nth call that touches the disk.
        left = [random.Random(cycle).randint(1, 16)]
        def dying(call):
            def run(*args, **kwargs):
                left[0] -= 1
                if left[0] <= 0:
                    os.kill(os.getpid(), signal.SIGKILL)
                return call(*args, **kwargs)
            return run
        os.fsync = dying(os.fsync); os.rename = dying(os.rename); os.replace = dying(os.replace)
        os.unlink = dying(os.unlink); os.open = dying(os.open)
        module.write_segment = dying(module.write_segment)
        index = DiskIndex(path)
        while True:
            number = index.last_seq + 1
            index.add([sound(number)])
            if number % 3 == 0:
                index.compact()
    os.waitpid(child, 0)
    index = DiskIndex(path)
    index.verify()
    last = index.last_seq
    assert len(index) == last, (cycle, len(index), last)
    for number in {{1, last - 1, last}} if last > 1 else set():
        from test_index import found
        assert found(index, small(number)) == {{f"s_{{number}}"}}, (cycle, number)
print("last", DiskIndex(path).last_seq)
"""


def _crash(path, cycles):
    code = textwrap.dedent(_CRASH).format(root=str(ROOT), here=str(Path(__file__).parent), path=str(path))
    run = subprocess.run([sys.executable, "-c", code, str(cycles)], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    return int(run.stdout.split()[-1])


def test_killed_at_any_step_it_is_the_old_or_the_new(tmp_path):
    assert _crash(tmp_path, 30) > 5
    index = DiskIndex(tmp_path)
    index.add([sound(10_000)])
    # What the killed left behind was swept.
    assert len(list(tmp_path.glob(f"*{SUFFIX}*"))) == index.stats()["segments"]


@pytest.mark.slow
def test_killed_often(tmp_path):
    _crash(tmp_path, 400)


def test_killed_at_any_moment_nothing_said_is_lost(tmp_path):
    alive = set()
    last = 0
    for cycle in range(4):
        for number in _write_until_killed(tmp_path, 0.15 + 0.1 * cycle, last):
            if number < 0:
                alive.discard(-number)
            else:
                alive.add(number)
                last = max(last, number)
        index = DiskIndex(tmp_path)
        index.verify()
        here = {int(name[2:]) for name in held(index)}
        # What was said is there; of what was not, the last step at most was done.
        assert len(alive ^ here) <= 1, (cycle, alive ^ here)
        alive, last = here, index.last_seq


def _one(tmp_path):
    index = DiskIndex(tmp_path)
    index.add(sound(number) for number in range(1, 6))
    return next(tmp_path.glob(f"*{SUFFIX}"))


@pytest.mark.parametrize("size", [0, 7, 200, 2000])
def test_a_cut_segment_says_how_to_mend(tmp_path, size):
    path = _one(tmp_path)
    os.truncate(path, size)
    with pytest.raises(IndexCorrupt, match="tagfarm sounds rebuild"):
        DiskIndex(tmp_path)
    index = DiskIndex.recreate(tmp_path)
    assert index.add([sound(3)]) == 1


def test_a_missing_segment_says_how_to_mend(tmp_path):
    _one(tmp_path).unlink()
    with pytest.raises(IndexCorrupt, match="tagfarm sounds rebuild"):
        DiskIndex(tmp_path)


@pytest.mark.parametrize(
    "manifest",
    [
        "",
        "{",
        "[]",
        "null",
        '{"format": 2}',
        '{"format": 1, "generation": 1, "last_seq": 1, "segments": [{"name": "../x.segment", "gone": []}]}',
        '{"format": 1, "generation": 1, "last_seq": 1, "segments": [{"name": "x", "gone": []}]}',
    ],
)
def test_a_broken_or_future_manifest_says_how_to_mend(tmp_path, manifest):
    _one(tmp_path)
    (tmp_path / MANIFEST).write_text(manifest)
    with pytest.raises(IndexCorrupt, match="tagfarm sounds rebuild"):
        DiskIndex(tmp_path)


def test_a_future_segment_is_refused(tmp_path):
    path = _one(tmp_path)
    data = path.read_bytes()
    assert b'"format":"3"' in data
    path.write_bytes(data.replace(b'"format":"3"', b'"format":"4"'))
    with pytest.raises(IndexCorrupt, match="format 4"):
        DiskIndex(tmp_path)


def test_flipped_bytes_never_crash_a_reader(tmp_path):
    path = _one(tmp_path)
    data = path.read_bytes()
    rng = np.random.default_rng(1)
    refused = 0
    for _ in range(300):
        body = bytearray(data)
        for at in rng.integers(0, len(body), 3):
            body[at] = rng.integers(256)
        path.write_bytes(bytes(body))
        try:
            index = DiskIndex(tmp_path)
            found(index, small(2))
            held(index)
            index.verify()
        except IndexCorrupt:
            refused += 1
    # The checksum sees what the tables' shape does not; the rest hit padding or the same byte.
    assert refused > 285


def test_a_crowded_bucket_is_bounded_and_counted(tmp_path):
    times = np.arange(0, 6 * (MAX_BUCKET + 500), 6, dtype=np.uint32)
    peaks = Peaks(times, np.full(len(times), 400, np.uint16), np.zeros(len(times), np.uint8))
    frames = int(times[-1]) + 1
    fingerprint = Fingerprint(peaks, np.zeros(0, np.uint8), frames, frames / 100, 1.0, 1.0)
    index = DiskIndex(tmp_path)
    index.add([(1, "s_1", "song", None, fingerprint)])
    stats = index.stats()
    assert stats["dropped"] > 1000
    assert stats["postings"] + stats["dropped"] == len(fingerprint.hashes)
    hits = index.view().lookup(np.unique(fingerprint.hashes))
    assert np.bincount(hits.rows).max() == MAX_BUCKET
    # What is kept is spread over the whole sound.
    assert hits.times.max() > 0.95 * frames


def test_a_lookup_is_bounded(tmp_path):
    counts = np.asarray([10, MAX_POSTINGS, 20, MAX_POSTINGS // 2, MAX_POSTINGS // 2])
    assert counts[affordable(counts, MAX_POSTINGS)].tolist() == [10, 20, MAX_POSTINGS // 2]
    some = np.asarray([4, 9, 2])
    read = [some[affordable(some, most)].tolist() for most in (0, 1, 2, 5, 6, 14, 15, MAX_POSTINGS)]
    assert read == [[], [], [2], [2], [4, 2], [4, 2], [4, 9, 2], [4, 9, 2]]
    # Where the rarest are too many already, they are read from all over the query.
    assert (np.flatnonzero(affordable(np.ones(100, np.int64), 4)) // 25).tolist() == [0, 1, 2, 3]
    # A hash that is worth more may have more postings.
    worth = np.asarray([0.1, 1.0, 0.2], np.float32)
    read = [some[affordable(some, most, worth)].tolist() for most in (8, 9, 11, 14, 15)]
    assert read == [[], [9], [9, 2], [9, 2], [4, 9, 2]]
    index = DiskIndex(tmp_path)
    index.add([sound(1)])
    many = np.resize(small(1).hashes, 100_000).astype(np.uint32)
    assert len(index.view().lookup(many).rows) >= 100_000
    assert 1000 < len(index.view().lookup(many, 2000).rows) <= 2000


def test_opening_does_not_depend_on_the_size(tmp_path):
    rows = rows_of((SoundEntry(n, f"s_{n}", "song", None, small(n % 40).frames), small(n % 40)) for n in range(3000))
    write_segment(tmp_path / "big.segment", rows)
    began = time.perf_counter()
    segment = Segment(tmp_path / "big.segment")
    assert time.perf_counter() - began < 0.05
    assert (len(segment), segment.entry(2999).sound_id) == (3000, "s_2999")
    assert segment.find("s_1234") == [1234]


def test_titles_may_hold_anything(tmp_path):
    index = DiskIndex(tmp_path)
    titles = [None, "", "x" * 5000, 'quo"te\n\x00', "音楽 🎵", json.dumps(["a"])]
    index.add((number, f"s_{number}", "song", title, small(number)) for number, title in enumerate(titles, start=1))
    index.compact()
    assert [entry.title for entry, *_ in held(index).values()] == titles
