import numpy as np
import pytest

from models.soundid import features
from models.soundid.features import BIN_STEPS, BINS, BINS_PER_OCTAVE, LOUDEST, LOWEST_HZ, QUERY_RANK, bounded, extract


def test_a_plucked_note_peaks_at_its_frequency_and_moment(make):
    wave = np.zeros(32_000, dtype=np.float32)
    note = make["tone"](987.0, 0.5, np.asarray([0.3]), 5.0)
    wave[16_000 : 16_000 + len(note)] = note
    peaks = extract(wave).peaks
    strongest = peaks.where(peaks.ranks == 0)
    expected = BINS_PER_OCTAVE * np.log2(987.0 / LOWEST_HZ)
    # A frame's number is that of its first sample, 64 ms before its middle.
    near = np.abs(strongest.bins / BIN_STEPS - expected) < 0.5
    assert near.any()
    assert 92 <= strongest.times[near][0] <= 105


def test_order_types_and_quota(tracks):
    for wave in tracks.values():
        peaks = extract(wave).peaks
        assert (peaks.times.dtype, peaks.bins.dtype, peaks.ranks.dtype) == (np.uint32, np.uint16, np.uint8)
        assert (np.diff(peaks.times.astype(int)) >= 0).all()
        assert peaks.bins.max() <= BINS * BIN_STEPS
        assert peaks.ranks.max() < QUERY_RANK
        assert 30 < len(peaks) / 30 < 110


def test_no_zone_has_more_than_its_quota_in_any_half_second(make):
    loud = make["mix"](make["track"](3, 10), make["speech"](1, 10), -12)
    peaks = extract(loud).peaks
    zones = peaks.bins // BIN_STEPS * features.ZONES // BINS
    for zone in range(features.ZONES):
        times = peaks.times[zones == zone].astype(int)
        assert (times[QUERY_RANK:] - times[:-QUERY_RANK] > features.RANK_FRAMES).all()
    # Speech 12 dB louder sits in the lower zones: the upper two keep their share.
    assert (zones >= 3).mean() > 0.3


def test_an_excerpt_has_the_peaks_of_the_whole(tracks):
    wave = tracks["song-1"]
    whole = extract(wave).peaks
    part = extract(wave[160 * 500 : 160 * 1500]).peaks
    inner = {(t, b) for t, b in zip(whole.times - 500.0, whole.bins, strict=True) if 200 < t < 700}
    found = {(float(t), b) for t, b in zip(part.times, part.bins, strict=True)}
    assert len(inner & found) > 0.97 * len(inner)


def test_chunks_do_not_show(tracks, monkeypatch):
    wave = tracks["song-2"]
    whole = extract(wave)
    monkeypatch.setattr(features, "CHUNK_FRAMES", 700)
    pieces = extract(wave)
    same = {*zip(whole.peaks.times, whole.peaks.bins, strict=True)} & {
        *zip(pieces.peaks.times, pieces.peaks.bins, strict=True)
    }
    # Sums are rounded in another order; nothing else differs.
    assert len(same) >= 0.999 * max(len(whole.peaks), len(pieces.peaks))
    assert pieces.active_s == pytest.approx(whole.active_s, abs=0.05)


def test_quieter_is_the_same(tracks):
    loud, quiet = extract(tracks["song-4"]), extract(tracks["song-4"] * np.float32(0.25))
    same = {*zip(loud.peaks.times, loud.peaks.bins, strict=True)} & {
        *zip(quiet.peaks.times, quiet.peaks.bins, strict=True)
    }
    assert len(same) > 0.95 * len(loud.peaks)


@pytest.mark.parametrize("length", [0, 1, 2047, 2048, 2207, 2208, 5000])
def test_any_length(length):
    found = extract(np.random.default_rng(0).normal(size=length).astype(np.float32))
    assert found.frames == max(0, (length - features.WINDOW) // features.HOP + 1)
    assert (found.peaks.times < max(1, found.frames)).all()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e30])
def test_values_that_are_no_sound(value, tracks):
    wave = tracks["song-0"][:80_000].copy()
    wave[20_000:20_400] = value
    tame = bounded(wave)
    assert (tame.dtype, len(tame)) == (np.float32, 80_000)
    assert np.abs(tame).max() <= LOUDEST
    assert (tame[:20_000] == wave[:20_000]).all()
    assert (tame[20_400:] == wave[20_400:]).all()
    found = extract(tame)
    assert found.frames == (80_000 - features.WINDOW) // features.HOP + 1
    assert len(found.peaks) > 50
    assert np.isfinite(found.active_s)


def test_what_is_sound_is_left_as_it_is(tracks):
    assert np.shares_memory(bounded(tracks["song-0"]), tracks["song-0"])
    assert bounded(np.zeros((0,), np.float64)).dtype == np.float32


def test_steady_sounds_are_not_active(make):
    t = np.arange(160_000) / 16_000
    hum = sum(np.sin(2 * np.pi * 50 * k * t) / k for k in range(1, 30)) * 0.1
    steady = {
        "silence": np.zeros(160_000),
        "tone": 0.3 * np.sin(2 * np.pi * 440 * t),
        "chord": 0.1 * sum(np.sin(2 * np.pi * hz * t) for hz in (220, 277.2, 329.6)),
        "hum": hum + make["noise"](1, 10) * 0.01,
        "dither": make["noise"](2, 10, "white") * 3e-5,
        **{colour: make["noise"](3, 10, colour) for colour in ("white", "pink", "brown")},
    }
    for name, wave in steady.items():
        assert extract(np.asarray(wave, dtype=np.float32)).active_s < 0.5, name


def test_music_and_speech_are_active(tracks, make):
    assert all(extract(wave).active_s > 20 for wave in tracks.values())
    assert extract(make["speech"](5, 20)).active_s > 15


def test_memory_does_not_grow_with_the_square(make):
    import tracemalloc

    wave = np.resize(make["track"](9, 30), 16_000 * 300)
    tracemalloc.start()
    found = extract(wave)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(found.peaks) > 10_000
    assert peak < 120e6
