from dataclasses import replace

import numpy as np
import pytest

from models.soundid.bass import WORD
from models.soundid.bass_search import PROPOSED, CountedBits, asked, search
from models.soundid.bass_votes import REACH, VOTES, _powers_at, voted
from models.soundid.fingerprint import Fingerprint
from models.soundid.matcher import POSTINGS, Matcher
from models.soundid.proposals import AS_IT_IS, Ballot, cast, cells
from models.soundid.view import BassTable

RATE = 16_000
PLACES = [(song, start) for song in range(8) for start in (4.0, 11.3, 19.7)]


class LastSecond(CountedBits):
    """As if the catalogue were far longer than what is compared everywhere."""

    most_words = 4


def hidden(make, tracks, song, start, ratio_db):
    """5 s of a song under two voices, so much louder than it."""
    over = make["speech"](40 + song, 5.0) + make["speech"](60 + song, 5.0)
    return Fingerprint.of(make["mix"](tracks[f"song-{song}"][int(start * RATE) :][: 5 * RATE], over, ratio_db))


def test_powers_are_those_of_the_whole_line(songs, tracks, make):
    (table,) = songs.view().bass_tables()
    question = asked(hidden(make, tracks, 3, 4.0, 0.0).bass, 0, 500)
    by_shift = np.ascontiguousarray(question.forms.transpose(2, 0, 1))
    everywhere = CountedBits()(songs.view().bass(10**6), question.forms, 10**6)
    for place, power, shift in list(zip(everywhere.places, everywhere.power, everywhere.shift, strict=True))[:5]:
        sample = (place - question.forms.shape[1] - 1) * WORD + 1 + shift
        found, best = _powers_at(table.words, by_shift, np.asarray([sample - REACH]), 2 * REACH + 1)
        assert (found[0], best[0]) == (power, sample)


def test_what_few_peaks_vote_for_is_found_exactly(songs, tracks, make):
    view = songs.view()
    voted_for = found = exact = 0
    for song, start in PLACES:
        made = hidden(make, tracks, song, start, -9.0)
        ballot = cast(view, made.peaks, AS_IT_IS, POSTINGS)
        sounds, offsets = cells(ballot, VOTES)
        if not ((sounds == song) & (abs(offsets - 100 * start) < 5)).any():
            continue
        voted_for += 1
        heard = voted(view.bass_tables(), ballot, made.bass, 0, 500)
        assert len(heard) <= PROPOSED
        found += bool(heard) and heard[0].sound == song
        exact += any(one.sound == song and one.offset == pytest.approx(100 * start, abs=1.0) for one in heard)
    assert voted_for >= 10  # else this tests nothing
    assert found >= 0.8 * voted_for
    assert exact >= 0.6 * voted_for  # of loops, another round is as good


def test_it_is_told_apart_by_tables(songs, tracks, make):
    (whole,) = songs.view().bass_tables()
    cut = int(whole.ends[3])
    parts = [
        BassTable(whole.words[:cut], 0, whole.ends[:4]),
        BassTable(whole.words[cut:], 3, whole.ends[3:] - cut),
    ]
    for song in (1, 6):
        made = hidden(make, tracks, song, 11.3, 0.0)
        ballot = cast(songs.view(), made.peaks, AS_IT_IS, POSTINGS)
        in_parts = voted(parts, ballot, made.bass, 0, 500)
        assert in_parts[0].sound == song
        assert in_parts[0] == voted([whole], ballot, made.bass, 0, 500)[0]


def test_a_sound_without_bass_is_not_heard(songs, tracks, make):
    (whole,) = songs.view().bass_tables()
    made = hidden(make, tracks, 4, 11.3, 0.0)
    ballot = cast(songs.view(), made.peaks, AS_IT_IS, POSTINGS)
    ends = whole.ends.copy()
    ends[5:] -= ends[5] - ends[4]
    words = np.concatenate([whole.words[: whole.ends[4]], whole.words[whole.ends[5] :]])
    assert all(one.sound != 4 for one in voted([BassTable(words, 0, ends)], ballot, made.bass, 0, 500))


def test_nothing_to_compare(songs, tracks, make):
    made = hidden(make, tracks, 2, 4.0, 0.0)
    ballot = cast(songs.view(), made.peaks, AS_IT_IS, POSTINGS)
    none = Ballot(AS_IT_IS, np.zeros(0, np.int32), np.zeros(0), np.zeros(0, np.int32), 0.0)
    tables = songs.view().bass_tables()
    assert voted(tables, none, made.bass, 0, 500) == []
    assert voted((), ballot, made.bass, 0, 500) == []
    assert voted(tables, ballot, made.bass, 0, 100) == []


def test_beyond_what_is_compared_everywhere_the_matcher_finds_by_votes(songs, tracks, make):
    makings = [(song, hidden(make, tracks, song, start, -15.0)) for song, start in PLACES]

    def right(prints):
        named = [(song, [use.sound_id for use in Matcher(songs, LastSecond()).match(one)]) for song, one in prints]
        assert all(names in ([], [f"song-{song}"]) for song, names in named)
        return sum(bool(names) for _, names in named)

    assert len(songs.view().bass(LastSecond.most_words).words) <= 4
    assert search(songs.view().bass(4), makings[0][1].bass, 0, 500, CountedBits()) == []
    assert right(makings) > right([(song, replace(one, bass=one.bass[:0])) for song, one in makings])
