import numpy as np
import pytest

import models.soundid.merge as module
from models.soundid.features import Peaks
from models.soundid.fingerprint import Fingerprint
from models.soundid.merge import merge
from models.soundid.segment import DTYPES, MAX_BUCKET, Segment, SoundEntry
from models.soundid.segment_file import rows_of, write_segment


def fingerprint(seed, peaks=80):
    rng = np.random.default_rng(seed)
    times = np.cumsum(rng.integers(3, 9, peaks)).astype(np.uint32)
    bins = rng.integers(8, 1470, peaks).astype(np.uint16)
    signs = rng.integers(0, 256, int(rng.integers(0, 90))).astype(np.uint8)
    bass = rng.integers(0, 2**64, int(rng.integers(0, 9)), dtype=np.uint64)
    return Fingerprint(Peaks(times, bins, np.zeros(peaks, np.uint8)), signs, int(times[-1]) + 1, 1.0, 1.0, 1.0, bass)


def entries(numbers):
    made = [(number, fingerprint(number)) for number in numbers]
    return [(SoundEntry(n, f"s_{n}", "song", f"Tïtle {n}", fp.frames), fp) for n, fp in made]


def written(path, sounds):
    write_segment(path, rows_of(sounds))
    return Segment(path)


def same(one, other):
    assert (one.dropped, one.checksum) == (other.dropped, other.checksum)
    for name in DTYPES:
        assert np.array_equal(one.tables()[name], other.tables()[name]), name


@pytest.mark.parametrize("chunk", [1, 500, 4_000_000])
@pytest.mark.parametrize(
    "gone",
    [
        [set(), set(), set()],
        [{0}, {1, 2, 6}, {4}],
        [{0, 1, 2, 3, 4}, set(), {0, 1}],
    ],
)
def test_merged_is_as_if_written_at_once(tmp_path, monkeypatch, chunk, gone):
    monkeypatch.setattr(module, "CHUNK", chunk)
    monkeypatch.setattr(module, "COPIED", 64)
    numbers = [range(0, 5), range(5, 20), range(20, 27)]
    parts = [written(tmp_path / f"{at}.segment", entries(some)) for at, some in enumerate(numbers)]
    merge(tmp_path / "merged", [(part, frozenset(out)) for part, out in zip(parts, gone, strict=True)])
    left = [number for some, out in zip(numbers, gone, strict=True) for at, number in enumerate(some) if at not in out]
    whole = written(tmp_path / "whole", entries(left))
    merged = Segment(tmp_path / "merged")
    same(merged, whole)
    merged.verify()
    assert {file.name for file in tmp_path.iterdir()} == {"0.segment", "1.segment", "2.segment", "merged", "whole"}


def test_wide_numbers_lie_where_they_should(tmp_path):
    for peaks in range(20, 40):
        sounds = [(SoundEntry(1, "x" * peaks, "song", None, 1000), fingerprint(peaks, peaks)) for _ in range(3)]
        merge(tmp_path / "merged", [(written(tmp_path / "one.segment", sounds), frozenset())])
        assert all(table.flags.aligned for table in Segment(tmp_path / "merged").tables().values())


def test_crowded_buckets_stay_bounded_and_what_is_dropped_is_counted(tmp_path):
    times = np.arange(0, 6 * (MAX_BUCKET // 2 + 500), 6, dtype=np.uint32)
    peaks = Peaks(times, np.full(len(times), 400, np.uint16), np.zeros(len(times), np.uint8))
    crowd = Fingerprint(peaks, np.zeros(0, np.uint8), int(times[-1]) + 1, 1.0, 1.0, 1.0)
    parts = [
        written(tmp_path / f"{n}.segment", [(SoundEntry(n, f"s_{n}", "song", None, crowd.frames), crowd)])
        for n in (1, 2)
    ]
    merge(tmp_path / "merged", [(part, frozenset()) for part in parts])
    merged = Segment(tmp_path / "merged")
    assert merged.ranges(np.unique(crowd.hashes))[1].max() == MAX_BUCKET
    assert merged.dropped > 100
    assert len(merged.postings) + merged.dropped == 2 * len(crowd.hashes)
    # Of both sounds the same share is left.
    first = (merged.postings < merged.starts[1]).sum()
    assert abs(first / len(merged.postings) - 0.5) < 0.01


def test_the_library_that_writes_segments_reads_a_merged_one(tmp_path):
    from safetensors.numpy import load_file

    merge(tmp_path / "merged", [(written(tmp_path / "one.segment", entries(range(3))), frozenset({1}))])
    loaded = load_file(tmp_path / "merged")
    tables = Segment(tmp_path / "merged").tables()
    assert set(loaded) == set(tables)
    assert all(np.array_equal(loaded[name], tables[name]) for name in tables)
