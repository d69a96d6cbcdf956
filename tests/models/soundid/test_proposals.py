import math
from dataclasses import dataclass

import numpy as np
import pytest

from models.soundid.features import Peaks
from models.soundid.fingerprint import Fingerprint
from models.soundid.proposals import (
    AS_IT_IS,
    BEST,
    CELL_FRAMES,
    MIN_VOTES,
    STEPS_PER_SEMITONE,
    Playing,
    _vote,
    bank,
    propose,
    surprise,
)

MOST = 600_000


@dataclass
class Watched:
    """A view that notes how many postings were read."""

    view: object
    read: int = 0

    def lookup(self, hashes, most, worth=None):
        found = self.view.lookup(hashes, most, worth)
        self.read += len(found.rows)
        return found

    def lengths(self, sounds):
        return self.view.lengths(sounds)

    @property
    def frames(self):
        return self.view.frames


def off(alignment, start_s, speed, frames):
    """By how many frames of the sound the alignment is wrong in the middle of the upload."""
    middle = 0.5 * frames
    return alignment.tempo * middle + alignment.offset - (100 * start_s + speed * middle)


def test_as_it_is_the_right_sound_and_place_come_first(songs, tracks, make):
    for number, wave in enumerate(tracks.values()):
        start = 9.0 + number + 0.0037
        query = Fingerprint.of(make["played"](wave, start, 6.0))
        first, *others = propose(songs.view(), query.peaks, AS_IT_IS, MOST)
        assert (first.sound, first.tempo, first.steps, first.playing) == (number, 1.0, 0.0, AS_IT_IS)
        assert abs(off(first, start, 1.0, query.frames)) <= CELL_FRAMES
        gains = [first.gain, *(other.gain for other in others)]
        assert gains == sorted(gains, reverse=True)
        assert len(gains) <= BEST
        # Its own other places are far behind, strangers further.
        assert first.gain > 3 * max(other.gain for other in others)


@pytest.mark.parametrize("speed", [0.8, 0.9, 1.1, 1.25])
def test_faster_or_slower_it_is_proposed_first_under_the_nearest_playing(songs, tracks, make, speed):
    view = songs.view()
    for number in (1, 6):
        start = 9.0 + number + 0.0037
        query = Fingerprint.of(make["played"](tracks[f"song-{number}"], start, 6.0, speed))
        found = [proposed[0] for playing in bank() if (proposed := propose(view, query.peaks, playing, MOST))]
        best = max(found, key=lambda alignment: alignment.gain)
        assert best.sound == number
        assert best.playing.resampled
        nearest = min(
            (playing for playing in bank() if playing.resampled),
            key=lambda playing: abs(math.log(playing.tempo / speed)),
        )
        assert best.playing == nearest
        assert (best.tempo, best.steps) == (nearest.tempo, nearest.semitones * STEPS_PER_SEMITONE)
        # The tempo is half a step off at most: in the middle of the upload the place is right all the same.
        assert abs(off(best, start, speed, query.frames)) <= 2 * CELL_FRAMES
        as_it_is = propose(view, query.peaks, AS_IT_IS, MOST)
        assert all(best.gain > 3 * alignment.gain for alignment in as_it_is)


def test_the_bank_leaves_no_gap():
    speeds = sorted(playing.tempo for playing in (*bank(), AS_IT_IS) if playing.resampled)
    assert speeds[0] <= 0.8
    assert speeds[-1] >= 1.25
    assert max(np.diff(np.log(speeds))) < 0.031
    assert len({*bank()}) == len(bank())
    assert AS_IT_IS not in bank()
    tempi = [playing for playing in bank() if not playing.resampled and playing.semitones == 0]
    pitches = [playing for playing in bank() if not playing.resampled and playing.tempo == 1]
    assert len(tempi) + len(pitches) + len(speeds) - 1 == len(bank())


def test_a_plain_change_of_speed_is_told_from_others():
    assert AS_IT_IS.resampled
    assert Playing(1.1, 12 * math.log2(1.1)).resampled
    assert not Playing(1.1, 0.0).resampled
    assert not Playing(1.0, 1.0).resampled
    assert not Playing(1.1, -12 * math.log2(1.1)).resampled


def vote(sounds, shift, anchors):
    keys, votes, _ = _vote(
        np.asarray(sounds, np.int32), np.asarray(shift, np.float64), np.asarray(anchors, np.int32), MIN_VOTES
    )
    return sorted(zip((keys >> 24).tolist(), votes.tolist(), strict=True))


def test_a_peak_has_one_vote():
    many = 10 * MIN_VOTES
    assert vote([3] * many, [40.5] * many, [7] * many) == []
    assert vote([3] * many, [40.5] * many, range(many)) == [(3, many)]
    assert vote([3] * many, [40.5] * many, np.arange(many) // 2) == [(3, many // 2)]
    # For each sound anew.
    anchors = [at for at in range(many) for _ in range(2)]
    assert vote([1, 2] * many, [40.5] * 2 * many, anchors) == [(1, many), (2, many)]


def test_votes_for_neighbouring_cells_are_one_and_for_others_are_not():
    few = MIN_VOTES - 2
    at = np.arange(2 * few)
    beside = np.where(at < few, CELL_FRAMES - 0.1, CELL_FRAMES + 0.1)
    assert vote([0] * 2 * few, beside, at) == [(0, 2 * few)] * 2
    # Both name the earlier cell.
    keys, *_ = _vote(np.zeros(2 * few, np.int32), beside, at.astype(np.int32), MIN_VOTES)
    alone, *_ = _vote(np.zeros(2 * few, np.int32), np.full(2 * few, 0.5), at.astype(np.int32), MIN_VOTES)
    assert keys.tolist() == alone.tolist() * 2
    assert vote([0] * 2 * few, np.where(at < few, 0.5, 2 * CELL_FRAMES + 0.5), at) == []
    # Also before the sound's beginning, and where one sound's cells end and the next one's begin.
    assert vote([0] * 2 * few, np.where(at < few, -0.1, 0.1), at) == [(0, 2 * few)] * 2
    assert vote(np.where(at < few, 0, 1), [0.5] * 2 * few, at) == []


def test_many_cells_are_counted_as_few_are():
    rng = np.random.default_rng(0)
    size = 60_000
    sounds, cells = rng.integers(0, 40, size), rng.integers(-400, 400, size)
    order = np.lexsort((cells, sounds))
    found = vote(sounds[order], (cells[order] + 0.5) * CELL_FRAMES, np.arange(size))
    counts = np.zeros((40, 802), int)
    np.add.at(counts, (sounds, cells + 401), 1)
    both = counts[:, :-1] + counts[:, 1:]
    assert max(votes for _, votes in found) == both.max()
    for sound in range(40):
        assert max(votes for number, votes in found if number == sound) == both[sound].max()


def test_only_so_many_postings_are_read(songs, fingerprints):
    query = fingerprints["song-2"]
    every = Watched(songs.view())
    best = propose(every, query.peaks, AS_IT_IS, MOST)[0]
    for most in (0, 1, 500, every.read // 2, every.read - 1):
        view = Watched(songs.view())
        found = propose(view, query.peaks, AS_IT_IS, most)
        assert view.read <= most
    # Without the most frequent hashes it says the same.
    assert 0.5 * every.read < view.read < every.read
    assert (found[0].sound, found[0].offset) == (best.sound, best.offset) == (2, pytest.approx(0, abs=CELL_FRAMES))


def test_nothing_asked_nothing_proposed(songs):
    assert (
        propose(songs.view(), Peaks(*(np.zeros(0, kind) for kind in (np.uint32, np.uint16, np.uint8))), AS_IT_IS, MOST)
        == []
    )
    one = Peaks(np.asarray([5], np.uint32), np.asarray([400], np.uint16), np.zeros(1, np.uint8))
    assert propose(songs.view(), one, AS_IT_IS, MOST) == []


def test_surprise_is_none_at_or_below_what_is_expected():
    counts, expected = np.asarray([0, 3, 5, 10, 20]), np.asarray([5.0, 5.0, 5.0, 5.0, 5.0])
    found = surprise(counts, expected)
    assert found[:3].tolist() == [0.0, 0.0, 0.0]
    assert found[3:] == pytest.approx([10 * math.log(2) - 5, 20 * math.log(4) - 15])
