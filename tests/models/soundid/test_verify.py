from dataclasses import replace

import librosa
import numpy as np
import pytest

from models.soundid.acceptance import AGREES, AGREES_SHARE
from models.soundid.features import BIN_STEPS, BINS, Peaks
from models.soundid.fingerprint import Fingerprint
from models.soundid.proposals import AS_IT_IS, STEPS_PER_SEMITONE, Alignment
from models.soundid.verify import Grid, explain, extend, verify

SECONDS = 8.0


def start_of(number):
    return 9.0 + number + 0.0037


def true(number, tempo=1.0, semitones=0.0):
    return Alignment(number, tempo, semitones * STEPS_PER_SEMITONE, 100 * start_of(number), 0.0, AS_IT_IS)


def grid_of(wave):
    fingerprint = Fingerprint.of(wave)
    return Grid(fingerprint.peaks, fingerprint.frames)


@pytest.mark.parametrize(
    ("number", "tempo", "semitones"), [(3, 0.9, 0), (4, 0.9, 0), (4, 1.1, 0), (4, 1.0, 2), (6, 1.0, 2), (1, 1.0, -2)]
)
def test_peaks_agree_where_only_the_tempo_or_the_pitch_was_changed(songs, tracks, make, number, tempo, semitones):
    wave = make["played"](tracks[f"song-{number}"], start_of(number), SECONDS)
    if semitones:
        wave = librosa.effects.pitch_shift(wave, sr=16_000, n_steps=semitones)
    else:
        wave = librosa.effects.time_stretch(wave, rate=tempo)
    grid = grid_of(wave)
    right = true(number, tempo, semitones)
    evidence = verify(songs.view(), grid, right, 0, grid.frames)
    assert evidence.gain > AGREES
    assert evidence.share > AGREES_SHARE
    assert 0 <= evidence.begin < evidence.end <= grid.frames
    assert evidence.end - evidence.begin > 0.7 * grid.frames
    for wrong in (replace(right, offset=right.offset + 9), replace(right, steps=right.steps + STEPS_PER_SEMITONE)):
        other = verify(songs.view(), grid, wrong, 0, grid.frames)
        assert other is None or other.gain < 0.3 * evidence.gain


def test_elsewhere_and_in_other_sounds_they_do_not(songs, tracks, make):
    for number in (1, 4):
        grid = grid_of(make["played"](tracks[f"song-{number}"], start_of(number), SECONDS))
        wrong = [replace(true(number), offset=true(number).offset + by) for by in (-333, -9, 9, 151)]
        wrong += [replace(true(number), steps=by * STEPS_PER_SEMITONE) for by in (-2, 1, 3)]
        wrong += [replace(true(number), sound=other) for other in range(8) if other != number]
        for alignment in wrong:
            evidence = verify(songs.view(), grid, alignment, 0, grid.frames)
            assert evidence is None or evidence.gain < AGREES or evidence.share < AGREES_SHARE


def test_where_there_are_peaks_everywhere_they_say_less(songs, tracks, make):
    # The same peaks of the sound are there; but in a crowd they would be by chance as well.
    fingerprint = Fingerprint.of(make["played"](tracks["song-4"], start_of(4), SECONDS))
    alone = verify(songs.view(), Grid(fingerprint.peaks, fingerprint.frames), true(4), 0, fingerprint.frames)
    rng = np.random.default_rng(0)
    size = 6000
    crowd = Peaks(
        np.concatenate([fingerprint.peaks.times, rng.integers(0, fingerprint.frames, size).astype(np.uint32)]),
        np.concatenate([fingerprint.peaks.bins, rng.integers(0, BINS * BIN_STEPS, size).astype(np.uint16)]),
        np.zeros(len(fingerprint.peaks) + size, np.uint8),
    )
    crowded = Grid(crowd, fingerprint.frames)
    assert verify(songs.view(), crowded, true(4), 0, fingerprint.frames).gain < 0.5 * alone.gain
    for wrong in (replace(true(4), offset=true(4).offset + 151), replace(true(4), sound=2)):
        evidence = verify(songs.view(), crowded, wrong, 0, fingerprint.frames)
        assert evidence is None or evidence.gain < 0.3 * AGREES


def test_what_is_outside_of_the_sound_says_nothing(songs, tracks):
    grid = grid_of(tracks["song-0"][:80_000])
    for offset in (1e6, -1e6):
        assert verify(songs.view(), grid, replace(true(0), offset=offset), 0, grid.frames) is None
    assert verify(songs.view(), grid_of(np.zeros(0, np.float32)), true(0), 0, 800) is None


def test_a_range_is_followed_to_its_ends(songs, tracks, make):
    for number in (2, 5):
        there = make["played"](tracks[f"song-{number}"], start_of(number), 12.0)
        wave = np.concatenate([make["speech"](number, 5.0), there, make["speech"](50 + number, 5.0)])
        alignment = replace(true(number), offset=true(number).offset - 500)
        grid = grid_of(wave)
        evidence = verify(songs.view(), grid, alignment, 700, 1100)
        followed = extend(songs.view(), grid, alignment, evidence)
        assert followed.gain > evidence.gain
        assert followed.begin == pytest.approx(500, abs=60)
        assert followed.end == pytest.approx(1700, abs=60)


def test_what_is_explained_is_found_no_more(songs, tracks, make):
    first = make["played"](tracks["song-2"], start_of(2), SECONDS)
    grid = grid_of(make["mix"](first, make["played"](tracks["song-6"], start_of(6), SECONDS), 0))
    before = {number: verify(songs.view(), grid, true(number), 0, grid.frames) for number in (2, 6)}
    assert min(evidence.gain for evidence in before.values()) > AGREES
    drawn = grid.all.copy()
    explain(songs.view(), grid, true(2), 0, grid.frames)
    assert 0.2 < grid.explained.mean() < 0.9
    assert (grid.all == drawn).all()
    assert not (grid.rest & ~grid.all).any()
    again = verify(songs.view(), grid, true(2), 0, grid.frames)
    assert again is None or again.gain < 0.2 * before[2].gain
    # The other keeps most of what it has.
    assert verify(songs.view(), grid, true(6), 0, grid.frames).gain > 0.4 * before[6].gain
