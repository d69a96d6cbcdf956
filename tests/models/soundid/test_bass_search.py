from dataclasses import replace

import numpy as np
import pytest

from models.soundid import bass_search
from models.soundid.bass import WORD, bass
from models.soundid.bass_search import PROPOSED, CountedBits
from models.soundid.bass_search import search as searched
from models.soundid.disk_view import KeptBass
from models.soundid.fingerprint import Fingerprint
from models.soundid.matcher import Matcher

RATE = 16_000
MOST = 10**6
PLACES = [(song, start) for song in range(8) for start in (4.0, 11.3, 19.7)]


def search(line, made, low, high):
    return searched(line, made, low, high, CountedBits())


def over(make, seconds, seed):
    """Two voices: nothing of them is below 80 Hz."""
    return make["speech"](40 + seed, seconds) + make["speech"](60 + seed, seconds)


def test_the_counts_of_bits_are_the_correlation():
    rng = np.random.default_rng(0)
    signs = rng.integers(0, 2, (2000, 2)) * 2 - 1
    line, asked = signs @ [1, 1j], (rng.integers(0, 2, (400, 2)) * 2 - 1) @ [1, 1j]
    packed = [
        np.packbits((np.stack([x.real, x.imag], axis=1) > 0).reshape(-1), bitorder="little") for x in (line, asked)
    ]
    words = np.resize(packed[0], 8 * (2000 // WORD)).view("<u8").astype(np.uint64)
    query = np.unpackbits(packed[1], bitorder="little")[:800]
    turned = np.stack([1 - query[1::2], query[::2]], axis=1).reshape(-1)
    forms = np.stack([bass_search._shifted(query), bass_search._shifted(turned)])
    power, shift = bass_search._powers(words, forms)
    size = forms.shape[1] * WORD
    assert size > 400 - 2 * WORD
    for place in (0, 1, 17, len(power) - 1):
        each = []
        for by in range(WORD):
            part = asked[WORD - 1 - by :][:size]
            each.append(abs(np.vdot(part, line[place * WORD :][:size])) ** 2)
        assert power[place] == pytest.approx(max(each))
        assert each[shift[place]] == pytest.approx(max(each))


def test_what_voices_hide_is_found_wherever_it_is(songs, tracks, make):
    line = songs.view().bass(MOST)
    found = exact = 0
    for song, start in PLACES:
        wave = tracks[f"song-{song}"][int(start * RATE) :][: 5 * RATE]
        made = bass(make["mix"](wave, over(make, 5.0, song), -9.0))
        heard = search(line, made, 0, 500)
        assert len(heard) <= PROPOSED
        assert [one.power for one in heard] == sorted((one.power for one in heard), reverse=True)
        found += bool(heard) and heard[0].sound == song
        exact += any(one.sound == song and one.offset == pytest.approx(100 * start, abs=1.0) for one in heard)
    assert found >= 0.9 * len(PLACES)
    assert exact >= 0.6 * len(PLACES)  # of loops, another round is as good


def test_a_later_part_of_an_upload(songs, tracks, make):
    wave = np.concatenate([make["speech"](1, 5.0), tracks["song-2"][7 * RATE : 12 * RATE]])
    heard = search(songs.view().bass(MOST), bass(wave), 500, 1000)
    assert (heard[0].sound, heard[0].offset) == (2, pytest.approx(200, abs=1.0))


def test_a_sound_may_begin_or_end_within_the_upload(make):
    # Nothing in them is repeated; nothing is before the first of the line, nor after the last.
    waves = [make["noise"](seed, 30.0, "brown") for seed in range(4)]
    parts = [bass(wave) for wave in waves]
    line = KeptBass(np.concatenate(parts), np.arange(4), np.cumsum([0, *map(len, parts)]))
    rest = make["noise"](9, 2.0, "brown")
    for sound, wave in enumerate(waves):
        before = search(line, bass(np.concatenate([rest, wave[: 4 * RATE]])), 0, 600)
        assert [(one.sound, one.offset) for one in before] == [(sound, pytest.approx(-200, abs=1.0))]
        after = search(line, bass(np.concatenate([wave[-4 * RATE :], rest])), 0, 600)
        assert [(one.sound, one.offset) for one in after] == [(sound, pytest.approx(2600, abs=1.0))]


def test_strangers_hardly_stand_out(songs, make):
    line = songs.view().bass(MOST)
    for seed in range(4):
        for wave in (make["speech"](80 + seed, 5.0), make["noise"](seed, 5.0), make["track"](900 + seed, 5.0)):
            assert all(one.power < 3 for one in search(line, bass(wave), 0, 500))


def test_too_little_has_nothing(songs, tracks):
    line = songs.view().bass(MOST)
    made = bass(tracks["song-1"])
    assert search(line, made, 100, 250) == []
    assert search(line, made[:0], 0, 500) == []
    none = np.zeros(0, np.int64)
    assert search(KeptBass(made[:0], none, np.zeros(1, np.int64)), made, 0, 500) == []
    # A catalogue that is shorter than the upload.
    short = KeptBass(made[100:110], np.zeros(1, np.int64), np.asarray([0, 10]))
    assert all(one.sound == 0 for one in search(short, made, 0, 800))


def test_the_matcher_finds_more_by_it(songs, tracks, make, monkeypatch):
    asked = []
    for song, start in PLACES:
        wave = tracks[f"song-{song}"][int(start * RATE) :][: 5 * RATE]
        asked.append((song, Fingerprint.of(make["mix"](wave, over(make, 5.0, song), -15.0))))

    def right(made):
        named = [(song, [use.sound_id for use in Matcher(songs).match(one)]) for song, one in made]
        assert all(names in ([], [f"song-{song}"]) for song, names in named)
        return sum(bool(names) for _, names in named)

    with_it = right(asked)
    without = [(song, replace(one, bass=one.bass[:0])) for song, one in asked]
    assert with_it >= right(without) + 3
