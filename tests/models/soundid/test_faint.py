import numpy as np
import pytest

from models.soundid.coherence import Waveform
from models.soundid.faint import JUDGED, faint
from models.soundid.fingerprint import Fingerprint
from models.soundid.matcher import POSTINGS, Matcher
from models.soundid.proposals import AS_IT_IS, MIN_GAIN, cast, propose

RATE = 16_000
PLACES = [(song, start) for song in range(8) for start in (4.0, 11.3, 19.7)]


def hidden(make, tracks, song, start, ratio_db):
    """5 s of a song under two voices and noise, each so much louder than it."""
    wave = tracks[f"song-{song}"][int(start * RATE) :][: 5 * RATE]
    over = make["speech"](40 + song, 5.0) + make["speech"](60 + song, 5.0) + make["noise"](song, 5.0)
    return make["mix"](wave, over, ratio_db)


def faintly(songs, made):
    ballot = cast(songs.view(), made.peaks, AS_IT_IS, POSTINGS)
    return faint(songs.view(), ballot, Waveform(made.signs), 0, made.frames)


def test_what_hardly_a_pair_votes_for_stands_out_by_phase(songs, tracks, make):
    lost = found = exact = 0
    for song, start in PLACES:
        made = Fingerprint.of(hidden(make, tracks, song, start, -12))
        voted = propose(songs.view(), made.peaks, AS_IT_IS, POSTINGS)
        if any(one.sound == song and one.gain >= MIN_GAIN and abs(one.offset - 100 * start) < 8 for one in voted):
            continue
        lost += 1
        standing_out = faintly(songs, made)
        assert len(standing_out) <= JUDGED
        mine = [one.offset for one in standing_out if one.sound == song]
        found += bool(mine)
        exact += any(offset == pytest.approx(100 * start, abs=0.5) for offset in mine)
    assert lost >= 8  # else this tests nothing
    assert found >= 0.5 * lost
    assert exact >= 3  # of loops, another round is as good


def test_the_matcher_finds_more_by_it(songs, tracks, make, monkeypatch):
    asked = [(song, Fingerprint.of(hidden(make, tracks, song, start, -12))) for song, start in PLACES]

    def right():
        named = [[use.sound_id for use in Matcher(songs).match(made)] for _, made in asked]
        assert all(names in ([], [f"song-{song}"]) for (song, _), names in zip(asked, named, strict=True))
        return sum(map(bool, named))

    with_it = right()
    monkeypatch.setattr("models.soundid.matcher.faint", lambda *_: [])
    assert with_it >= right() + 3


def test_strangers_do_not_stand_out(songs, make):
    for seed in range(4):
        for wave in (make["speech"](80 + seed, 5.0), make["noise"](seed, 5.0), make["track"](900 + seed, 5.0)):
            matches = Matcher(songs).match(Fingerprint.of(wave))
            assert matches == []


def test_a_block_that_is_too_short_has_nothing(songs, make):
    made = Fingerprint.of(make["speech"](1, 5.0))
    ballot = cast(songs.view(), made.peaks, AS_IT_IS, POSTINGS)
    assert faint(songs.view(), ballot, Waveform(made.signs), 0, 20) == []
    none = cast(songs.view(), made.peaks.where(np.zeros(0, dtype=np.int64)), AS_IT_IS, POSTINGS)
    assert faint(songs.view(), none, Waveform(made.signs), 0, 500) == []
