import math
import time

import librosa
import numpy as np
import pytest

from models.soundid.fingerprint import Fingerprint
from models.soundid.index import DiskIndex
from models.soundid.matcher import Matcher

RATE = 16_000


@pytest.fixture(scope="module")
def catalogue(songs):
    """Eight songs."""
    return songs


@pytest.fixture(scope="module")
def shared(tmp_path_factory, make):
    """Eight more that share one tempo, one key and one progression."""
    index = DiskIndex(tmp_path_factory.mktemp("shared"))
    waves = {f"shared-{seed}": make["track"](2000 + seed, 30, 120.0, True) for seed in range(8)}
    index.add((n, name, "song", None, Fingerprint.of(wave)) for n, (name, wave) in enumerate(waves.items(), start=1))
    return index, waves


def match(index, wave):
    return Matcher(index).match(Fingerprint.of(wave))


def only(matches, sound_id, offset_s, start=0.0, end=5.0):
    """The one match, right in identity, alignment (0.1 s) and range (a tail of rests or faint notes may lack)."""
    assert [found.sound_id for found in matches] == [sound_id], matches
    (found,) = matches
    assert found.offset_s - found.range[0] == pytest.approx(offset_s - start, abs=0.1)
    assert start - 0.1 <= found.range[0] <= start + 1.2
    assert end - 1.2 <= found.range[1] <= end + 0.1
    assert 0.5 <= found.score <= 1.0
    assert (found.speed, found.pitch_semitones) == (1.0, 0.0)
    return found


def cut(wave, start, seconds):
    return wave[int(start * RATE) : int((start + seconds) * RATE)]


CHANGES = {
    "as it is": lambda make, wave: wave,
    "12 dB quieter": lambda make, wave: wave * np.float32(0.25),
    "aac 32k": lambda make, wave: make["recode"](wave, "aac", "mp4", 32_000),
    "mp3 32k": lambda make, wave: make["recode"](wave, "libmp3lame", "mp3", 32_000),
    "opus 16k": lambda make, wave: make["recode"](wave, "libopus", "ogg", 16_000),
    "pink noise at 5 dB": lambda make, wave: make["mix"](wave, make["noise"](1, 5), 5),
    "a stranger's music at 0 dB": lambda make, wave: make["mix"](wave, make["track"](700, 5), 0),
    "speech at 0 dB": lambda make, wave: make["mix"](wave, make["speech"](7, 5), 0),
}


@pytest.mark.parametrize("change", CHANGES)
def test_five_seconds_from_the_middle_are_found(catalogue, tracks, make, change):
    for number, (name, wave) in enumerate(tracks.items()):
        # Not on the catalogue's frames, nor on one another's.
        start = 9.0 + 1.0 * number + 0.0037
        found = only(match(catalogue, CHANGES[change](make, cut(wave, start, 5.0))), name, start)
        assert (found.kind, found.title) == ("song", name.upper())
        if change == "as it is":
            assert found.score > 0.99


def retimed(matches, sound_id, offset_s, speed, semitones, end=None):
    """The one match, from the upload's start on, right in identity, speed (1 %), pitch and alignment (0.1 s)."""
    assert [found.sound_id for found in matches] == [sound_id], matches
    (found,) = matches
    assert found.speed == pytest.approx(speed, rel=0.01)
    assert found.pitch_semitones == pytest.approx(semitones, abs=0.2)
    assert found.offset_s - speed * found.range[0] == pytest.approx(offset_s, abs=0.1)
    assert 0.0 <= found.range[0] <= 1.2
    assert end is None or end - 1.2 <= found.range[1] <= end + 0.1
    assert 0.5 <= found.score <= 1.0


@pytest.mark.parametrize("speed", [0.8, 0.9, 1.1, 1.25])
def test_faster_or_slower_it_is_found(catalogue, tracks, make, speed):
    for number in (0, 2, 5, 7):
        start = 8.0 + number + 0.0037
        wave = make["played"](tracks[f"song-{number}"], start, 6.0 * speed, speed)
        retimed(match(catalogue, wave), f"song-{number}", start, speed, 12 * math.log2(speed), 6.0)


def test_faster_under_louder_speech_and_encoded_it_is_found(catalogue, tracks, make):
    for number in (1, 6):
        start = 8.0 + number + 0.0037
        wave = make["played"](tracks[f"song-{number}"], start, 10.0, 1.25)
        wave = make["recode"](make["mix"](wave, make["speech"](number, 8), -3), "aac", "mp4", 64_000)
        retimed(match(catalogue, wave), f"song-{number}", start, 1.25, 12 * math.log2(1.25))


@pytest.mark.parametrize("rate", [0.9, 1.1])
def test_only_faster_or_slower_it_is_found(catalogue, tracks, make, rate):
    # Peaks alone tell, and the stretching blurs them: not every sound is found so, see the benchmark.
    for number in (1, 4, 7):
        wave = make["played"](tracks[f"song-{number}"], 4.0037, 20.0)
        retimed(match(catalogue, librosa.effects.time_stretch(wave, rate=rate)), f"song-{number}", 4.0037, rate, 0.0)


@pytest.mark.parametrize("semitones", [-2, 2])
def test_only_higher_or_lower_it_is_found(catalogue, tracks, make, semitones):
    for number in (1, 4, 6):
        wave = make["played"](tracks[f"song-{number}"], 4.0037, 20.0)
        changed = librosa.effects.pitch_shift(wave, sr=RATE, n_steps=semitones)
        retimed(match(catalogue, changed), f"song-{number}", 4.0037, 1.0, semitones)


def test_turned_over_it_is_found(catalogue, tracks):
    for number, (name, wave) in enumerate(tracks.items()):
        found = only(match(catalogue, -cut(wave, 7.0037 + number, 5.0)), name, 7.0037 + number)
        assert found.score > 0.9


def test_what_is_left_out_is_not_found(catalogue, tracks, make):
    matcher = Matcher(catalogue)
    plain = Fingerprint.of(cut(tracks["song-3"], 8.0, 6.0))
    fast = Fingerprint.of(make["played"](tracks["song-3"], 8.0, 7.5, 1.25))
    assert [found.sound_id for found in matcher.match(plain, as_it_is=True)] == ["song-3"]
    assert matcher.match(plain, without={"song-3"}) == []
    assert [found.sound_id for found in matcher.match(fast)] == ["song-3"]
    assert matcher.match(fast, as_it_is=True) == []


def test_strangers_are_not_found(catalogue, make):
    strangers = [make["track"](500 + seed, 10) for seed in range(10)]
    strangers += [make["track"](1000 + seed, 10, 120.0, True) for seed in range(6)]
    strangers += [make["speech"](seed, 8) for seed in range(6)]
    strangers += [make["mix"](make["track"](600 + seed, 10), make["speech"](seed, 10), 0) for seed in range(4)]
    assert [match(catalogue, wave) for wave in strangers] == [[]] * len(strangers)


def test_strangers_with_the_same_beat_key_and_chords_are_not_found(shared, make):
    index, _ = shared
    # To the sample the same beat, chords and tuning: as near as strangers come.
    found = [match(index, make["track"](1000 + seed, 12, 120.0, True)) for seed in range(22)]
    assert found == [[]] * len(found)


def test_among_kin_the_right_one_is_found(shared, make):
    index, waves = shared
    for name, wave in waves.items():
        matches = match(index, make["mix"](cut(wave, 12.0037, 5.0), make["noise"](3, 5), 10))
        assert [found.sound_id for found in matches] == [name]
        assert matches[0].offset_s - matches[0].range[0] == pytest.approx(12.0037, abs=0.1)


def test_noise_tones_hum_and_silence_are_nothing(catalogue, make):
    t = np.arange(RATE * 10) / RATE
    waves = [make["noise"](seed, 10, colour) for seed in range(4) for colour in ("white", "pink", "brown")]
    waves += [0.3 * np.sin(2 * np.pi * hz * t) for hz in (100, 440, 1000, 3000)]
    waves += [0.1 * sum(np.sin(2 * np.pi * 50 * k * t) / k for k in range(1, 30)), np.zeros(RATE * 10), np.zeros(0)]
    waves += [0.3 * np.sin(2 * np.pi * (100 * t + 150 * t * t)), 0.3 * np.sin(2 * np.pi * 440 * t) * (t % 0.5 < 0.25)]
    for wave in waves:
        assert match(catalogue, np.asarray(wave, dtype=np.float32)) == []


def test_two_sounds_one_after_the_other(catalogue, tracks):
    wave = np.concatenate([cut(tracks["song-2"], 4.0, 7.0), cut(tracks["song-5"], 15.0, 6.0)])
    first, second = match(catalogue, wave)
    only([first], "song-2", 4.0, 0.0, 7.0)
    only([second], "song-5", 15.0, 7.0, 13.0)


def test_two_sounds_at_once(catalogue, tracks, make):
    wave = make["mix"](cut(tracks["song-0"], 5.0, 10.0), cut(tracks["song-6"], 12.0, 10.0), 0)
    found = {matched.sound_id: matched for matched in match(catalogue, wave)}
    assert set(found) == {"song-0", "song-6"}
    only([found["song-0"]], "song-0", 5.0, 0.0, 10.0)
    only([found["song-6"]], "song-6", 12.0, 0.0, 10.0)


def test_a_sound_used_twice_has_two_ranges(catalogue, tracks, make):
    wave = np.concatenate(
        [cut(tracks["song-3"], 10.0, 5.0), make["speech"](3, 4) * np.float32(0.5), cut(tracks["song-3"], 2.0, 6.0)]
    )
    first, second = match(catalogue, wave)
    only([first], "song-3", 10.0, 0.0, 5.0)
    only([second], "song-3", 2.0, 9.0, 15.0)


def test_a_range_ends_where_the_sound_does(catalogue, tracks, make):
    wave = np.concatenate([make["speech"](1, 6), cut(tracks["song-1"], 3.0, 8.0), make["speech"](2, 6)])
    (found,) = match(catalogue, wave)
    assert found.range == pytest.approx((6.0, 14.0), abs=0.6)
    assert found.offset_s == pytest.approx(3.0 + found.range[0] - 6.0, abs=0.1)


def test_a_long_upload_is_one_use(catalogue, tracks):
    (found,) = match(catalogue, tracks["song-4"])
    assert found.range == pytest.approx((0.0, 30.0), abs=0.6)
    assert found.offset_s == pytest.approx(0.0, abs=0.1)


def test_an_original_is_registered_and_found_again(tmp_path, make):
    index = DiskIndex(tmp_path)
    clip = make["mix"](make["speech"](41, 8), make["track"](41, 8), 3)
    fingerprint = Fingerprint.of(clip)
    assert Matcher(index).match(fingerprint) == []
    assert fingerprint.recognisable
    matcher = Matcher(index)
    # What is kept of it is what crossed the store as bytes.
    index.add([(1, "s_original", "original", None, Fingerprint.from_bytes(fingerprint.to_bytes()))])
    again = make["recode"](cut(clip, 1.5, 5.0) * np.float32(0.3), "aac", "mp4", 48_000)
    (found,) = matcher.match(Fingerprint.of(make["mix"](again, make["noise"](5, 5), 15)))
    assert (found.sound_id, found.kind, found.title) == ("s_original", "original", None)
    assert found.offset_s - found.range[0] == pytest.approx(1.5, abs=0.1)
    assert matcher.match(Fingerprint.of(make["speech"](42, 8))) == []


def test_a_copy_in_the_catalogue_is_not_named_beside_it(tmp_path, tracks, fingerprints, make):
    index = DiskIndex(tmp_path)
    copy = Fingerprint.of(make["recode"](tracks["song-0"], "libmp3lame", "mp3", 64_000))
    index.add([(1, "master", "song", None, fingerprints["song-0"]), (2, "copy", "song", None, copy)])
    matches = match(index, cut(tracks["song-0"], 8.0, 6.0))
    assert [found.sound_id for found in matches] == ["master"]


def test_a_removed_sound_is_not_found(tmp_path, tracks, fingerprints):
    index = DiskIndex(tmp_path)
    index.add((n, name, "song", None, fp) for n, (name, fp) in enumerate(fingerprints.items(), start=1))
    matcher = Matcher(index)
    query = Fingerprint.of(cut(tracks["song-7"], 10.0, 5.0))
    assert [found.sound_id for found in matcher.match(query)] == ["song-7"]
    index.remove("song-7")
    assert matcher.match(query) == []


def test_loops_are_bounded_and_found(tmp_path, make):
    bar = make["track"](77, 2.0, 120.0)
    loop = np.tile(bar, 60)
    index = DiskIndex(tmp_path)
    index.add([(1, "loop", "song", None, Fingerprint.of(loop))])
    query = Fingerprint.of(np.tile(bar, 30))
    began = time.process_time()
    matches = Matcher(index).match(query)
    assert time.process_time() - began < 20.0
    assert {found.sound_id for found in matches} == {"loop"}
    # One use, wherever in the loop it is said to begin: by a whole number of bars.
    covered = sum(found.range[1] - found.range[0] for found in matches)
    assert covered == pytest.approx(60.0, abs=3.0)
    for found in matches:
        away = (found.offset_s - found.range[0]) % 2.0
        assert min(away, 2.0 - away) < 0.1


def test_minutes_are_bounded(catalogue, make):
    wave = np.concatenate([make["track"](900 + seed, 30) for seed in range(8)])
    fingerprint = Fingerprint.of(wave)
    began = time.process_time()
    assert Matcher(catalogue).match(fingerprint) == []
    assert time.process_time() - began < 10.0


def test_the_same_question_has_the_same_answer(catalogue, tracks):
    fingerprint = Fingerprint.of(cut(tracks["song-1"], 3.3, 9.0))
    matcher = Matcher(catalogue)
    assert matcher.match(fingerprint) == matcher.match(fingerprint)
