import numpy as np
import pytest

from models.soundid.bass import BASS_RATE, WORD, bass
from models.soundid.features import RATE
from models.soundid.whitening import LEVEL_S

EDGE = int(0.5 * LEVEL_S * BASS_RATE)
"""Nearer to an end than this, a level is the mean of what there is."""


def bits(wave):
    """[samples, 2]: signs of the real and of the imaginary part."""
    made = np.unpackbits(bass(wave).astype("<u8").view(np.uint8), bitorder="little")
    return made.reshape(-1, 2)[: -(-len(wave) * int(BASS_RATE) // RATE)]


def alike(one, other):
    size = min(len(one), len(other))
    return (one[:size] == other[:size])[EDGE : size - EDGE].mean()


@pytest.mark.parametrize("by", [16, 640])
def test_an_excerpt_has_the_bits_of_the_whole(tracks, by):
    # The band's middle has turned a whole number of times.
    samples = by * RATE // int(BASS_RATE)
    for wave in tracks.values():
        assert alike(bits(wave)[by:], bits(wave[samples:])) > 0.97


@pytest.mark.parametrize("by", [0, 1, 7, 625])
def test_nothing_is_delayed(tracks, by):
    samples = by * RATE // int(BASS_RATE)
    for name in ("song-0", "song-5"):
        whole, later = (2.0 * bits(wave) - 1 for wave in (tracks[name], tracks[name][samples:]))
        size = len(later) - 20
        power = [
            abs(np.vdot((later @ [1, 1j])[10:size], (whole @ [1, 1j])[10 + by + lag :][: size - 10]))
            for lag in range(-8, 9)
        ]
        assert np.argmax(power) == 8


def test_what_is_above_the_bass_does_not_matter(tracks, make):
    for seed in range(3):
        voice = make["speech"](seed, 30.0)
        high = np.fft.rfft(voice)
        high[: int(130 * len(voice) / RATE)] = 0
        voice = np.fft.irfft(high, len(voice)).astype(np.float32)
        mixed = make["mix"](tracks[f"song-{seed}"], voice, -6.0)
        assert alike(bits(tracks[f"song-{seed}"]), bits(mixed)) > 0.95


def test_level_does_not_matter_and_turned_over_it_is_the_opposite(tracks):
    usual = bits(tracks["song-3"])
    assert alike(usual, bits(np.float32(0.1) * tracks["song-3"])) > 0.99
    assert alike(usual, bits(-tracks["song-3"])) == 0.0


def test_another_recording_has_another(tracks):
    assert alike(bits(tracks["song-1"]), bits(tracks["song-2"])) == pytest.approx(0.5, abs=0.06)


@pytest.mark.parametrize("length", [0, 1, 127, 128, 129, 4095, 4096, 4097, 100_003])
def test_any_length(length):
    wave = np.random.default_rng(0).normal(size=length).astype(np.float32)
    made = bass(wave)
    samples = -(-length * int(BASS_RATE) // RATE)
    assert (made.dtype, len(made)) == (np.uint64, -(-samples // WORD))
    assert (made == bass(wave)).all()


def test_silence_is_like_no_other_silence():
    one, other = bits(np.zeros(20 * RATE, np.float32)), bits(np.zeros(20 * RATE + 1, np.float32))
    assert one.mean() == pytest.approx(0.5, abs=0.05)
    assert alike(one, other) == pytest.approx(0.5, abs=0.05)
    assert alike(one[7:], one) == pytest.approx(0.5, abs=0.05)


def test_the_loudest_is_well(tracks):
    loud = np.where(np.random.default_rng(1).random(RATE) < 0.5, -100, 100).astype(np.float32)
    made = bits(np.concatenate([np.zeros(RATE, np.float32), loud, tracks["song-0"]]))
    assert made.mean() == pytest.approx(0.5, abs=0.1)
