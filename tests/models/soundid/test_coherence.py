from dataclasses import replace

import numpy as np
import pytest

from models.soundid.acceptance import COHERENT as OPERATING_POINTS
from models.soundid.coherence import MIN_BLOCKS, Waveform, at_its_highest
from models.soundid.fingerprint import Fingerprint
from models.soundid.index import DiskIndex
from models.soundid.proposals import AS_IT_IS, Alignment

SECONDS = 6.0
FRAMES = 100 * SECONDS
COHERENT = max(OPERATING_POINTS)
BAR = 200
"""Frames of a bar at 120 beats a minute."""


def start_of(number):
    """Not on the catalogue's frames, nor on its samples."""
    return 9.0 + number + 0.0037


def true(number, speed=1.0, before_s=0.0):
    return Alignment(number, speed, 0.0, 100 * (start_of(number) - speed * before_s), 0.0, AS_IT_IS)


def heard(wave):
    return Waveform(Fingerprint.of(wave).signs)


def test_the_same_recording_under_noise_as_loud_is_far_beyond_doubt(songs, tracks, make):
    for number, wave in enumerate(tracks.values()):
        noisy = make["mix"](make["played"](wave, start_of(number), SECONDS), make["noise"](number, SECONDS), 0)
        found = heard(noisy).coherence(songs.view(), true(number), 0, FRAMES)
        assert found.nats > 2 * COHERENT
        assert found.strength > 5.0
        assert found.alignment.tempo == pytest.approx(1.0, abs=1e-4)
        assert found.alignment.offset == pytest.approx(100 * start_of(number), abs=0.05)


def test_turned_over_or_under_louder_speech_it_still_is(songs, tracks, make):
    for number in (0, 4):
        wave = make["played"](tracks[f"song-{number}"], start_of(number), SECONDS)
        for changed in (-wave, make["mix"](wave, make["speech"](number, SECONDS), -6)):
            found = heard(changed).coherence(songs.view(), true(number), 0, FRAMES)
            assert found.nats > 1.5 * COHERENT
            assert found.strength > 3.0


@pytest.mark.parametrize("speed", [0.8, 1.25])
def test_at_another_speed_it_still_is(songs, tracks, make, speed):
    for number in (1, 6):
        fast = make["played"](tracks[f"song-{number}"], start_of(number), SECONDS, speed)
        found = heard(fast).coherence(songs.view(), true(number, speed), 0, FRAMES / speed)
        assert found.nats > 2 * COHERENT
        assert found.alignment.tempo == pytest.approx(speed, rel=1e-4)


@pytest.mark.parametrize("by", [5e-4, -5e-4, 2e-3])
def test_a_tempo_that_is_a_little_off_is_found(songs, tracks, make, by):
    for number, wave in enumerate(tracks.values()):
        upload = heard(make["played"](wave, start_of(number), SECONDS))
        wrong = replace(true(number), tempo=1.0 + by, offset=100 * start_of(number) - by * FRAMES / 2 + 0.5)
        found = upload.coherence(songs.view(), wrong, 0, FRAMES).alignment
        assert found.tempo == pytest.approx(1.0, abs=1e-4)
        # In the middle of it, to less than a sample of the signs.
        assert found.tempo * 300 + found.offset == pytest.approx(100 * start_of(number) + 300, abs=0.019)


def test_strangers_with_the_same_beat_key_and_chords_are_not(tmp_path, make):
    index = DiskIndex(tmp_path)
    index.add(
        (n, f"shared-{n}", "song", None, Fingerprint.of(make["track"](2000 + n, 20, 120.0, True))) for n in range(1, 4)
    )
    nats = []
    for seed in range(4):
        upload = heard(make["track"](1000 + seed, 8, 120.0, True))
        for number in range(3):
            for bar in range(6):
                here = Alignment(number, 1.0, 0.0, float(BAR * bar), 0.0, AS_IT_IS)
                nats.append(upload.coherence(index.view(), here, 0, 800).nats)
    assert max(nats) < COHERENT
    assert np.median(nats) < 0.5 * COHERENT


def test_other_places_of_the_sound_and_other_sounds_are_not(songs, tracks, make):
    for number in (2, 5):
        upload = heard(make["played"](tracks[f"song-{number}"], start_of(number), SECONDS))
        wrong = [replace(true(number), offset=100 * start_of(number) + by) for by in (-333, 150)]
        wrong += [replace(true(number), sound=other) for other in range(8) if other != number]
        wrong += [replace(true(number), tempo=1.02)]
        assert max(upload.coherence(songs.view(), one, 0, FRAMES).nats for one in wrong) < COHERENT
        # So near, notes that last overlap themselves: there is some evidence, but far from as strong.
        right = upload.coherence(songs.view(), true(number), 0, FRAMES)
        near = [replace(true(number), offset=100 * start_of(number) + by) for by in (-12, 7)]
        assert max(upload.coherence(songs.view(), one, 0, FRAMES).strength for one in near) < 0.5 * right.strength


def test_silence_and_what_is_too_short_say_nothing(songs, tracks, make):
    wave = make["played"](tracks["song-0"], start_of(0), SECONDS)
    short = 25 * (MIN_BLOCKS - 1)
    assert heard(wave).coherence(songs.view(), true(0), 0, short).nats == 0.0
    # Before the sound's beginning or after its end there is as little.
    for offset in (1e5, -1e5):
        found = heard(wave).coherence(songs.view(), replace(true(0), offset=offset), 0, FRAMES)
        assert (found.nats, found.alignment.offset) == (0.0, offset)
    for silent in (np.zeros(96_000, np.float32), np.zeros(0, np.float32)):
        assert heard(silent).coherence(songs.view(), true(0), 0, FRAMES).nats < COHERENT


@pytest.mark.parametrize("other", ["noise", "speech"])
@pytest.mark.parametrize("speed", [1.0, 1.25])
def test_a_stretch_ends_where_the_sound_does(songs, tracks, make, other, speed):
    for number in (0, 3, 7):
        there = make["played"](tracks[f"song-{number}"], start_of(number), 7.0, speed)
        wave = np.concatenate([make[other](number, 5.0), there, make[other](50 + number, 5.0)])
        here = true(number, speed, before_s=5.0)
        begin, end = heard(wave).stretch(songs.view(), here, 700.0, 900.0)
        assert begin == pytest.approx(500, abs=30)
        assert end == pytest.approx(500 + 700 / speed, abs=30)


def test_a_stretch_bridges_a_short_gap_and_ends_at_a_long_one(songs, tracks, make):
    for gap_s, reaches in ((0.4, 1000), (2.5, 400)):
        wave = make["played"](tracks["song-1"], start_of(1), 10.0).copy()
        wave[4 * 16_000 : int((4 + gap_s) * 16_000)] = make["noise"](1, gap_s) * 0.3
        begin, end = heard(wave).stretch(songs.view(), true(1), 100.0, 300.0)
        assert begin == pytest.approx(0, abs=30)
        assert end == pytest.approx(reaches, abs=30)


def test_a_stretch_stays_within_the_upload_and_the_sound(songs, tracks):
    begin, end = heard(tracks["song-4"]).stretch(songs.view(), replace(true(4), offset=0.0), 1000.0, 1500.0)
    assert (begin, end) == (pytest.approx(0, abs=30), pytest.approx(3000, abs=30))
    assert begin >= 0
    longer = np.concatenate([tracks["song-4"][-160_000:], tracks["song-5"][:80_000]])
    begin, end = heard(longer).stretch(songs.view(), replace(true(4), offset=2000.0), 200.0, 800.0)
    assert (begin, end) == (pytest.approx(0, abs=30), pytest.approx(1000, abs=30))


@pytest.mark.parametrize("beside", [-0.5, -0.3, 0.0, 0.2, 0.5])
@pytest.mark.parametrize("sign", [-1, 1])
def test_a_peak_between_two_samples_is_read_at_its_height(beside, sign):
    lags = np.arange(41)
    correlated = (sign * 7.0 * np.sinc(lags - 20 - beside)).astype(np.float32)
    assert at_its_highest(correlated, 20) == pytest.approx(sign * 7.0, rel=0.05)
    assert abs(at_its_highest(correlated, 26)) < 2.0
    # At the border there is less to interpolate from, but nothing breaks.
    assert np.isfinite(at_its_highest(correlated, 0))
