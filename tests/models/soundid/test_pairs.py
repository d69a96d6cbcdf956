import numpy as np
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from models.soundid.features import BIN_STEPS, BINS, REFERENCE_RANK, Peaks
from models.soundid.pairs import (
    BAND_CELL,
    BETWEEN_WORTH,
    EDGE,
    FAN_OUT,
    HASH_BITS,
    INTERVAL_CELL,
    LIKELY_BETWEEN,
    LIKELY_RANK,
    MAX_GAP,
    MAX_INTERVAL,
    MIN_GAP,
    RANK_WORTH,
    catalogue_pairs,
    query_pairs,
)

HIGHEST = BINS * BIN_STEPS
MOST_INTERVAL = MAX_INTERVAL * BIN_STEPS


def peaks_of(times, bins):
    return Peaks(np.asarray(times, np.uint32), np.asarray(bins, np.uint16), np.zeros(len(times), np.uint8))


def catalogued(*points):
    return catalogue_pairs(peaks_of(*zip(*points, strict=True))).hashes.tolist()


def asked(*points):
    times, bins = (np.asarray(column, np.float64) for column in zip(*points, strict=True))
    return set(query_pairs(times, bins, np.zeros(len(times), np.uint8)).hashes.tolist())


def test_a_catalogue_pairs_each_peak_with_the_nearest_after_it(fingerprints):
    peaks = fingerprints["song-0"].reference
    made = catalogue_pairs(peaks)
    assert (made.hashes.dtype, made.anchors.dtype) == (np.uint32, np.int32)
    assert (np.diff(made.anchors) >= 0).all()
    assert made.hashes.max() < 2**HASH_BITS
    times, bins = peaks.times.astype(int), peaks.bins.astype(int)
    for first in range(len(peaks)):
        partners = [
            second
            for second in range(first + 1, min(len(peaks), first + 200))
            if MIN_GAP <= times[second] - times[first] <= MAX_GAP and abs(bins[second] - bins[first]) <= MOST_INTERVAL
        ]
        expected = [
            code
            for second in partners[:FAN_OUT]
            for code in catalogued((times[first], bins[first]), (times[second], bins[second]))
        ]
        assert made.hashes[made.anchors == first].tolist() == expected
    assert np.bincount(made.anchors).max() == FAN_OUT


def test_a_query_has_what_a_catalogue_has(fingerprints):
    peaks = fingerprints["song-1"].reference
    made = catalogue_pairs(peaks)
    query = query_pairs(peaks.times.astype(np.float64), peaks.bins.astype(np.float64), peaks.ranks)
    assert (query.hashes.dtype, query.anchors.dtype) == (np.uint32, np.int32)
    assert (np.diff(query.anchors) >= 0).all()
    assert query.hashes.max() < 2**HASH_BITS
    there = {*zip(query.hashes.tolist(), query.anchors.tolist(), strict=True)}
    assert {*zip(made.hashes.tolist(), made.anchors.tolist(), strict=True)} <= there


def test_a_pair_hashes_by_band_interval_and_gap_not_by_time():
    base = catalogued((10, 400), (30, 480))
    assert len(base) == 1
    assert catalogued((500, 400), (520, 480)) == base
    changed = [
        ((10, 440), (30, 520)),  # band
        ((10, 400), (30, 496)),  # interval
        ((10, 400), (36, 480)),  # gap
    ]
    for points in changed:
        assert catalogued(*points) != base
        assert not asked(*points) & {*base}
    # A query that is played later, between two frames, asks for the same.
    assert asked((500.25, 400), (520.25, 480)) == asked((10, 400), (30, 480)) > {*base}


def test_what_is_too_near_too_far_or_too_wide_is_no_pair():
    for gap, interval, there in (
        (MIN_GAP - 1, 80, False),
        (MIN_GAP, 80, True),
        (MAX_GAP, 80, True),
        (MAX_GAP + 1, 80, False),
        (20, MOST_INTERVAL, True),
        (20, -MOST_INTERVAL, True),
        (20, MOST_INTERVAL + 1, False),
        (20, -MOST_INTERVAL - 1, False),
    ):
        points = ((10, 400), (10 + gap, 400 + interval))
        assert len(catalogued(*points)) == there
        assert bool(asked(*points)) == there


def test_no_peaks_and_peaks_moved_out_of_the_bands():
    none = np.zeros(0)
    assert (
        len(query_pairs(none, none, np.zeros(0, np.uint8)).hashes) == len(catalogue_pairs(peaks_of([], [])).hashes) == 0
    )
    assert asked((10, -0.5), (30, 40)) == asked((10, HIGHEST), (30, HIGHEST - 40)) == set()
    for place in (0.0, 0.5, HIGHEST - 0.5):
        codes = asked((10, place), (30, place))
        assert codes
        assert max(codes) < 2**HASH_BITS


def test_a_crowd_grows_the_table_and_changes_nothing_before_it():
    rng = np.random.default_rng(0)
    few = (np.sort(rng.uniform(0, 200, 40)), rng.uniform(0, HIGHEST - 1, 40))
    crowd = (np.sort(rng.uniform(1000, 1100, 400)), rng.uniform(600, 700, 400))
    few, crowd = ((*columns, rng.integers(0, 15, len(columns[0])).astype(np.uint8)) for columns in (few, crowd))
    made = query_pairs(*(np.concatenate(column) for column in zip(few, crowd, strict=True)))
    before, after = query_pairs(*few), query_pairs(*crowd)
    assert len(after.hashes) > 4 * 128 * 440
    assert (made.hashes == np.concatenate([before.hashes, after.hashes])).all()
    assert (made.anchors == np.concatenate([before.anchors, after.anchors + 40])).all()


BAND_SLACK = EDGE * BAND_CELL * BIN_STEPS
INTERVAL_SLACK = EDGE * INTERVAL_CELL * BIN_STEPS
GAP_SLACK = 1.5
"""One frame, and the rounding of the query's."""
UPWARDS = 1.0
"""A catalogue's values are whole steps: none lies less than a step below the upper edge of its cell."""


def within(down, up):
    # Not up to the last digit: the sums are rounded.
    return st.floats(-0.999 * down, 0.999 * up)


@settings(max_examples=400)
@given(
    st.integers(MIN_GAP, MAX_GAP),
    st.integers(0, HIGHEST - 1),
    st.integers(-MOST_INTERVAL, MOST_INTERVAL),
    within(GAP_SLACK, GAP_SLACK),
    within(BAND_SLACK, BAND_SLACK + UPWARDS),
    within(INTERVAL_SLACK, INTERVAL_SLACK + UPWARDS),
)
def test_a_query_has_the_hash_of_a_pair_that_jitter_moved(gap, band, interval, by_gap, by_band, by_interval):
    second = band + interval
    assume(0 <= second < HIGHEST)
    moved = (5.0, band + by_band), (5.0 + gap + by_gap, band + by_band + interval + by_interval)
    # What jitter moves over the limits of a pair is none.
    assume(0 <= moved[0][1] < HIGHEST and abs(interval + by_interval) <= MOST_INTERVAL)
    assume(MIN_GAP <= int(gap + by_gap + 0.5) <= MAX_GAP)
    assert {*catalogued((5, band), (5 + gap, second))} <= asked(*moved)


def test_what_a_pair_is_worth():
    times, bins = np.asarray([10.0, 40.0, 70.0]), np.asarray([404.0, 420.0, 404.0])
    strong = query_pairs(times, bins, np.zeros(3, np.uint8))
    assert strong.worth.dtype == np.float32
    assert strong.worth.max() == 1.0
    # Each pair's own cell is worth the most, and no two cells of it are one.
    assert (strong.worth > 0).all()
    weak = query_pairs(times, bins, np.asarray([0, 0, LIKELY_RANK + 2], np.uint8))
    assert (weak.hashes == strong.hashes).all()
    assert set(np.unique(weak.worth / strong.worth).tolist()) == {1.0, np.float32(RANK_WORTH**2)}


def test_strong_peaks_between_make_a_pair_unlikely_and_weak_ones_do_not():
    times, bins = np.arange(10.0, 80.0, 7.0), np.full(10, 404.0)
    for rank, expected in ((0, BETWEEN_WORTH ** (8 - LIKELY_BETWEEN)), (REFERENCE_RANK, 1.0)):
        ranks = np.full(10, rank, np.uint8)
        ranks[[0, -1]] = 0
        made = query_pairs(times, bins, ranks)
        last = query_pairs(times[[0, -1]], bins[[0, -1]], ranks[[0, -1]])
        worth = dict(zip(made.hashes[made.anchors == 0].tolist(), made.worth[made.anchors == 0].tolist(), strict=True))
        shares = [worth[code] / alone for code, alone in zip(last.hashes.tolist(), last.worth.tolist(), strict=True)]
        assert np.allclose(shares, expected)
