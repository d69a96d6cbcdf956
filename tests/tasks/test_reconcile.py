from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.signal import resample_poly

from models.soundid.fingerprint import Fingerprint
from store.store import Store
from tasks.reconcile import reconcile
from tasks.sound_library import SoundLibrary

RATE = 16_000


@pytest.fixture
def store(tmp_path: Path):
    opened = Store.open(f"sqlite:///{tmp_path}/store.db")
    yield opened
    opened.close()


@pytest.fixture
def library(tmp_path: Path) -> SoundLibrary:
    return SoundLibrary(tmp_path / "index")


def music(seed: int, seconds: float = 12.0) -> np.ndarray:
    """Notes at random times and pitches, of random phases: nothing that two seeds share."""
    rng = np.random.default_rng(seed)
    wave = np.zeros(int((seconds + 2) * RATE))
    for _ in range(int(8 * seconds)):
        t = np.arange(int(rng.uniform(0.1, 0.6) * RATE)) / RATE
        note = sum(np.sin(2 * np.pi * (k * rng.uniform(100, 900) * t + rng.random())) / k for k in (1, 2, 3))
        at = int(rng.uniform(0, seconds) * RATE)
        wave[at : at + len(t)] += note * np.exp(-5 * t)
    wave = wave[: int(seconds * RATE)]
    return (0.5 * wave / np.abs(wave).max()).astype(np.float32)


def add(store: Store, kind: str, wave: np.ndarray) -> str:
    fingerprint = Fingerprint.of(wave)
    if kind != "original":
        return store.add_sound(kind, kind, fingerprint.duration_s, fingerprint.to_bytes(), f"{wave.sum():.9f}")[0]
    from store.sounds import insert_sound

    with store._database.write() as connection:
        return insert_sound(
            connection,
            store._database.now(connection),
            kind="original",
            title="original",
            duration_s=fingerprint.duration_s,
            fingerprint=fingerprint.to_bytes(),
        )[0]


def root(store: Store, sound_id: str) -> str:
    return store.sound(sound_id).sound_id


def test_what_two_uploads_registered_at_once_becomes_the_older(store, library) -> None:
    wave = music(1)
    rng = np.random.default_rng(0)
    first = add(store, "original", wave)
    second = add(store, "original", wave[2 * RATE :] * 0.4 + 0.02 * rng.normal(size=len(wave) - 2 * RATE))
    other = add(store, "original", music(2))
    assert reconcile(store, library) == 1
    assert root(store, second) == root(store, first) == first
    assert root(store, other) == other
    assert store.uncompared_sounds(10) == []
    # The copy of the catalogue follows: the alias is asked for no more.
    library.sync(store)
    assert {match.sound_id for match in library.match(Fingerprint.of(wave))} == {first}


@pytest.mark.parametrize("speed", [(1, 1), (5, 4)])
def test_a_song_that_comes_later_takes_over_its_originals(store, library, speed) -> None:
    song = music(3, 40.0)
    played = resample_poly(song[5 * RATE : 20 * RATE], speed[1], speed[0]).astype(np.float32)
    original = add(store, "original", played)
    mostly_other = add(store, "original", np.concatenate([music(4, 12.0), song[: 5 * RATE]]))
    assert reconcile(store, library) == 0
    known = add(store, "song", song)
    assert reconcile(store, library) == 1
    assert root(store, original) == known
    assert root(store, mostly_other) == mostly_other


def test_songs_are_never_merged_and_a_broken_one_holds_nothing_up(store, library) -> None:
    wave = music(5)
    one, two = add(store, "song", wave), add(store, "song", wave[100:])
    assert reconcile(store, library) == 0
    assert (root(store, one), root(store, two)) == (one, two)


def test_nothing_to_do_costs_nothing(store, library, monkeypatch) -> None:
    monkeypatch.setattr(library, "sync", lambda source: pytest.fail("it looked"))
    assert reconcile(store, library) == 0
