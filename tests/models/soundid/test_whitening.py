import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.soundid import whitening
from models.soundid.features import RATE
from models.soundid.whitening import DECIMATION, LEVEL_S, SIGN_RATE, signs, unpacked, whiten

EDGE = int(0.5 * LEVEL_S * SIGN_RATE)
"""Nearer to an end than this, a level is the mean of what there is."""


@pytest.mark.parametrize("at", [4, 3000, 16_000, 16_001, 30_001, 39_000])
def test_nothing_is_delayed(at):
    wave = np.zeros(40_000, np.float32)
    wave[at] = 1.0
    white = whiten(wave)
    assert np.abs(white).argmax() == round(at / DECIMATION)
    assert white.max() == np.abs(white).max()


def test_every_band_says_as_much(make):
    # Bass 30 dB above treble: the spectrum is flat again.
    t = np.arange(10 * RATE) / RATE
    wave = sum(10 ** (-k / 13) * np.sin(2 * np.pi * 220 * k * t) for k in range(1, 11))
    wave = (0.1 * wave + 1e-4 * make["noise"](1, 10, "white")).astype(np.float32)
    spectrum = np.abs(np.fft.rfft(whiten(wave)[EDGE:-EDGE]))
    hz = np.fft.rfftfreq(len(whiten(wave)[EDGE:-EDGE]), 1 / SIGN_RATE)
    tones = [spectrum[np.abs(hz - 220 * k) < 5].max() for k in range(1, 11)]
    assert max(tones) < 2 * min(tones)


def test_an_excerpt_has_the_signs_of_the_whole(tracks):
    for wave in tracks.values():
        whole = unpacked(signs(wave), 0, len(wave) // DECIMATION)
        for first, seconds in ((9 * RATE + 1, 8), (4 * RATE + 5, 10)):
            first -= first % DECIMATION
            size = seconds * RATE // DECIMATION
            part = unpacked(signs(wave[first : first + seconds * RATE]), 0, size)
            same = part == whole[first // DECIMATION :][:size]
            assert same[EDGE:-EDGE].mean() > 0.9
            assert same.mean() > 0.8


def test_another_recording_has_other_signs(tracks):
    one, other = (unpacked(signs(tracks[name]), 0, 100_000) for name in ("song-0", "song-1"))
    assert (one == other).mean() == pytest.approx(0.5, abs=0.03)


def test_chunks_do_not_show(tracks, monkeypatch):
    whole = whiten(tracks["song-2"])
    monkeypatch.setattr(whitening, "CHUNK_FRAMES", 100)
    # Sums are rounded in another order; nothing else differs.
    assert whiten(tracks["song-2"]) == pytest.approx(whole, abs=1e-3)


def test_level_does_not_matter(tracks):
    usual = signs(tracks["song-4"])
    for gain in (0.05, 4.0):
        other = signs(tracks["song-4"] * np.float32(gain))
        assert np.bitwise_count(usual ^ other).sum() < 0.001 * 8 * len(usual)


def test_turned_over_it_is_the_opposite(tracks):
    assert (whiten(-tracks["song-5"]) == -whiten(tracks["song-5"])).all()


@pytest.mark.parametrize("length", [0, 1, 2, 3, 4, 128, 129, 511, 512, 767, 768, 1537, 5000])
def test_any_length(length):
    wave = np.random.default_rng(0).normal(size=length).astype(np.float32)
    white = whiten(wave)
    assert (white.dtype, len(white)) == (np.float32, -(-length // DECIMATION))
    assert np.isfinite(white).all()
    packed = signs(wave)
    assert (packed.dtype, len(packed)) == (np.uint8, -(-len(white) // 8))
    assert (unpacked(packed, 0, len(white)) == np.where(white > 0, 1, -1)).all()


def test_silence_and_the_loudest_are_finite(tracks):
    assert not whiten(np.zeros(RATE, np.float32)).any()
    loud = np.where(np.random.default_rng(1).random(RATE) < 0.5, -100, 100).astype(np.float32)
    assert np.isfinite(whiten(loud)).all()
    sudden = np.concatenate([np.zeros(RATE, np.float32), loud, tracks["song-0"][:RATE]])
    assert np.isfinite(whiten(sudden)).all()


@given(st.binary(max_size=12), st.integers(-70, 170), st.integers(-70, 170))
def test_unpacked_is_the_bits_and_nothing_outside(data, first, last):
    packed = np.frombuffer(data, np.uint8)
    found = unpacked(packed, first, last)
    assert found.dtype == np.float32
    bits = np.unpackbits(packed)
    expected = [(2.0 * bits[at] - 1.0 if 0 <= at < len(bits) else 0.0) for at in range(first, last)]
    assert found.tolist() == expected
