import threading

import numpy as np
import pytest
import torch

from models.soundid import bass_matmul
from models.soundid.bass import bass
from models.soundid.bass_matmul import MatrixProducts
from models.soundid.bass_search import CountedBits, search
from models.soundid.disk_view import KeptBass
from models.soundid.fingerprint import Fingerprint
from models.soundid.matcher import Matcher

RATE = 16_000
CPU = torch.device("cpu")
DEVICES = [CPU, *([torch.device("cuda")] if torch.cuda.is_available() else [])]


@pytest.fixture(params=DEVICES, ids=str)
def device(request):
    return request.param


def asked(seed, samples):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 2**64, (2, samples, 32), dtype=np.uint64)


@pytest.mark.parametrize("words", [7, 19, 31])
def test_it_says_what_counting_says(device, songs, words, monkeypatch):
    monkeypatch.setattr(bass_matmul, "CHUNK", 100)
    line, forms = songs.view().bass(10**6), asked(words, words)
    one, other = CountedBits()(line, forms, 50), MatrixProducts(device)(line, forms, 50)
    assert one.all == other.all == len(line.words) + words + 1
    assert (one.power == other.power).all()
    by_place = {
        int(place): (power, int(shift))
        for place, power, shift in zip(one.places, one.power, one.shift, strict=True)
        if power > one.power[-1]  # of those that are equal any may be left out
    }
    assert len(by_place) > 20
    assert (
        by_place.items()
        <= {
            int(place): (power, int(shift))
            for place, power, shift in zip(other.places, other.power, other.shift, strict=True)
        }.items()
    )


def test_more_is_asked_for_than_there_is(device, songs):
    line = songs.view().bass(10**6)
    for compare in (CountedBits(), MatrixProducts(device)):
        found = compare(line, asked(1, 9), 10**9)
        assert sorted(found.places.tolist()) == list(range(found.all))


def test_the_matcher_answers_the_same(device, songs, tracks, make):
    for song in range(8):
        wave = tracks[f"song-{song}"][5 * RATE : 10 * RATE]
        over = make["speech"](40 + song, 5.0) + make["speech"](60 + song, 5.0)
        made = Fingerprint.of(make["mix"](wave, over, -12.0))
        assert Matcher(songs, MatrixProducts(device)).match(made) == Matcher(songs).match(made)


def test_another_line_takes_the_place_of_the_last(device, tracks):
    compare = MatrixProducts(device)
    for name in ("song-1", "song-2", "song-1"):
        made = bass(tracks[name])
        line = KeptBass(made, np.zeros(1, np.int64), np.asarray([0, len(made)]))
        heard = search(line, bass(tracks[name][4 * RATE : 10 * RATE]), 0, 600, compare)
        assert heard[0].offset == pytest.approx(400, abs=1)


def test_many_threads(device, songs, tracks):
    line, compare = songs.view().bass(10**6), MatrixProducts(device)
    found = {}

    def ask(song):
        found[song] = search(line, bass(tracks[f"song-{song}"][4 * RATE : 9 * RATE]), 0, 500, compare)[0].sound

    threads = [threading.Thread(target=ask, args=[song]) for song in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {song: song for song in range(8)}


def test_where_there_is_no_room_the_cpu_does_it(device, songs, monkeypatch, caplog):
    def full(*_, **__):
        raise torch.OutOfMemoryError("full")

    compare = MatrixProducts(device)
    line, forms = songs.view().bass(10**6), asked(3, 19)
    monkeypatch.setattr(torch.nn.functional, "conv1d", full)
    assert (compare(line, forms, 20).power == CountedBits()(line, forms, 20).power).all()
    assert "no room" in caplog.text
