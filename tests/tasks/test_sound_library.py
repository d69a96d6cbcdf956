from __future__ import annotations

import numpy as np

from models.soundid.fingerprint import Fingerprint
from store.store import SoundRow
from tasks.sound_library import SoundLibrary


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
