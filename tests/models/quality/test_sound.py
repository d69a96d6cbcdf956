import json
import math
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyloudnorm
import pytest
from scipy.signal import butter, resample, sosfilt

from models.quality.sound import SoundMeasures

Hear = Callable[..., dict[str, Any]]


def _music(rate: int, seconds: float = 6.0, channels: int = 2, seed: int = 0) -> np.ndarray:
    """Something like music: decaying chords with partials and breath over silence, [channels, samples]."""
    rng = np.random.default_rng(seed)
    length = int(rate * 0.5)
    times = np.arange(length) / rate
    wave = np.zeros((channels, int(rate * seconds)))
    for start in range(0, wave.shape[1] - length + 1, length):
        tone = rng.choice([110.0, 146.8, 220.0, 329.6])
        partials = np.arange(1, min(16, int(0.45 * rate / tone)))
        note = (np.sin(2 * np.pi * tone * partials[:, None] * times) / partials[:, None]).sum(axis=0)
        note = note + rng.normal(0.0, 0.3, (channels, length)) * np.exp(-18.0 * times)
        wave[:, start : start + length] = note * np.exp(-8.0 * times)
    return (wave / np.abs(wave).max() * 0.5).astype(np.float32)


@pytest.mark.parametrize("rate", [8_000, 22_050, 44_100, 48_000, 96_000, 192_000])
@pytest.mark.parametrize("channels", [1, 2])
def test_loudness_is_pyloudnorms(hear: Hear, rate: int, channels: int) -> None:
    samples = _music(rate, 3.0, channels)
    expected = pyloudnorm.Meter(rate).integrated_loudness(samples.T.astype(np.float64))
    assert hear(samples, rate)["loudness_lufs"] == pytest.approx(expected, abs=0.1)


def test_gating_is_pyloudnorms(hear: Hear) -> None:
    samples = np.concatenate([_music(48_000), np.zeros((2, 96_000)), 0.02 * _music(48_000)], axis=1)
    expected = pyloudnorm.Meter(48_000).integrated_loudness(samples.T.astype(np.float64))
    assert hear(samples, 48_000)["loudness_lufs"] == pytest.approx(expected, abs=0.1)


def test_5_1_leaves_the_low_frequency_channel_out(hear: Hear) -> None:
    samples = np.concatenate([_music(48_000, channels=1, seed=seed) for seed in range(6)])
    expected = pyloudnorm.Meter(48_000).integrated_loudness(samples[[0, 1, 2, 4, 5]].T.astype(np.float64))
    assert hear(samples, 48_000)["loudness_lufs"] == pytest.approx(expected, abs=0.1)


@pytest.mark.parametrize("block", [64, 1000, 1024, 48_000, 10**9])
def test_the_blocks_length_changes_nothing(hear: Hear, block: int) -> None:
    samples = _music(48_000, 3.3)
    whole, blocks = hear(samples, 48_000), hear(samples, 48_000, block)
    for name in ("loudness_lufs", "true_peak_dbtp", "clipping_share", "seconds"):
        assert blocks[name] == pytest.approx(whole[name], abs=0.02)


def test_reference_tone(hear: Hear) -> None:
    """BS.1770: a 997 Hz sine at full scale on one channel reads -3.01 LUFS."""
    times = np.arange(48_000 * 3) / 48_000
    tone = np.sin(2 * np.pi * 997.0 * times)[None]
    assert hear(tone, 48_000)["loudness_lufs"] == pytest.approx(-3.01, abs=0.1)


@pytest.mark.parametrize("rate", [44_100, 48_000])
def test_true_peak_lies_between_the_samples(hear: Hear, rate: int) -> None:
    # A quarter of the rate at 45 degrees: every sample is at 0.707 of the peak.
    times = np.arange(rate) / rate
    fade = np.minimum(1.0, np.arange(rate) / 4000) * np.minimum(1.0, np.arange(rate)[::-1] / 4000)
    tone = 0.5 * fade * np.sin(2 * np.pi * rate / 4 * times + np.pi / 4)
    measures = hear(tone[None], rate)
    assert measures["true_peak_dbtp"] == pytest.approx(20 * math.log10(0.5), abs=0.3)


def test_true_peak_is_an_exact_interpolations(hear: Hear) -> None:
    samples = sosfilt(butter(8, 9_000, fs=48_000, output="sos"), _music(48_000, 2.0, 1))
    exact = 20 * math.log10(np.abs(resample(samples[0].astype(np.float64), samples.shape[1] * 8)).max())
    assert hear(samples, 48_000)["true_peak_dbtp"] == pytest.approx(exact, abs=0.4)


def test_clipping_grows_with_the_gain_and_survives_turning_down(hear: Hear) -> None:
    samples = _music(44_100)
    shares, quiet = [], []
    for gain in (1.0, 3.0, 5.0, 8.0, 16.0):
        clipped = np.clip(gain * samples, -1.0, 1.0)
        shares.append(hear(clipped, 44_100)["clipping_share"])
        quiet.append(hear(0.3 * clipped, 44_100)["clipping_share"])
    assert shares[0] == quiet[0] == 0.0
    assert shares == sorted(shares) and len(set(shares)) == 5
    assert quiet[2:] == pytest.approx(shares[2:], rel=0.3)


def test_tones_and_square_waves_are_not_clipped(hear: Hear) -> None:
    times = np.arange(48_000) / 48_000
    sine = 0.7 * np.sin(2 * np.pi * 440.3 * times)[None]
    assert hear(sine, 48_000)["clipping_share"] == 0.0
    assert hear(0.4 * np.sign(sine), 48_000)["clipping_share"] == 0.0


@pytest.mark.parametrize(
    ("source", "low", "high"), [(8_000, 3_300, 4_400), (16_000, 7_000, 8_500), (32_000, 14_000, 16_500)]
)
def test_bandwidth_of_a_source_at_a_lower_rate(hear: Hear, source: int, low: int, high: int) -> None:
    # White bursts have all the band that their rate allows.
    rng = np.random.default_rng(1)
    samples = rng.normal(0.0, 0.1, (1, source * 4)) * np.repeat(rng.random(40), source // 10)
    raised = resample(samples, 48_000 * 4, axis=1)
    assert low <= hear(raised, 48_000)["bandwidth_hz"] <= high
    full = rng.normal(0.0, 0.1, (1, 48_000 * 4))
    assert hear(full, 48_000)["bandwidth_hz"] > 22_000


def test_snr_follows_the_noise(hear: Hear) -> None:
    rng = np.random.default_rng(2)
    samples = _music(48_000)
    noise = rng.normal(0.0, 1.0, samples.shape)
    snr = [hear(samples + noise * 10 ** (level / 20), 48_000)["snr_db"] for level in (-70, -60, -50, -40, -30, -20)]
    assert snr == sorted(snr, reverse=True)
    power = float(np.mean(sosfilt(butter(4, 150, "high", fs=48_000, output="sos"), samples) ** 2))
    assert snr[3] == pytest.approx(10 * math.log10(power) + 40, abs=4.0)


def test_silence(hear: Hear) -> None:
    measures = hear(np.zeros((2, 48_000)), 48_000)
    assert all(measures[name] is None for name in ("loudness_lufs", "true_peak_dbtp", "bandwidth_hz", "snr_db"))
    assert measures["clipping_share"] == 0.0


@pytest.mark.parametrize("samples", [1, 10, 500, 9_600])
def test_a_click_is_measured_whole(hear: Hear, samples: int) -> None:
    measures = hear(np.full((1, samples), 0.5), 48_000)
    json.dumps(measures, allow_nan=False)
    assert measures["true_peak_dbtp"] is not None


def test_what_is_not_sound_does_no_harm(hear: Hear) -> None:
    samples = _music(48_000)
    samples[0, ::997] = np.nan
    samples[1, 5], samples[1, 7], samples[1, 9] = np.inf, -np.inf, 3e38
    json.dumps(hear(samples, 48_000), allow_nan=False)
    observer = SoundMeasures()
    for native, rate in (
        (np.zeros((2, 0)), 48_000),
        (np.zeros((0, 5)), 48_000),
        (np.ones((1, 5)), 0),
        (np.ones((1, 5)), -3),
    ):
        observer.sound(SimpleNamespace(native=native.astype(np.float32), sample_rate=rate, time_s=0.0))
    assert observer.result(np.zeros(0, np.float32)) == {}


def test_a_stream_that_changes_its_form_goes_on() -> None:
    observer = SoundMeasures()
    for rate, channels in ((44_100, 2), (48_000, 1), (8_000, 64)):
        block = np.repeat(_music(rate, 2.0, 1), channels, axis=0)
        observer.sound(SimpleNamespace(native=block, sample_rate=rate, time_s=0.0))
    measures = observer.result(np.zeros(0, np.float32))
    assert measures["seconds"] == pytest.approx(6.0, abs=0.01)
    assert measures["channels"] == 8


def test_budget_of_a_short_clip(hear: Hear) -> None:
    """15 s of 48 kHz stereo: measured 0.08 s of one core; the bar leaves room for a loaded machine."""
    samples = np.tile(_music(48_000, 5.0), 3)
    hear(samples[:, :48_000], 48_000)
    before = time.process_time()
    hear(samples, 48_000)
    assert time.process_time() - before < 0.4


def test_curve_has_a_bound_and_the_right_times(hear: Hear) -> None:
    samples = np.concatenate([np.zeros((1, 8_000 * 40)), _music(8_000, 40.0, 1)], axis=1)
    curves = hear(samples, 8_000)["curves"]
    times, levels = np.array(curves["times_s"]), np.array(curves["momentary_lufs"])
    assert len(times) == len(levels) <= 256 and np.all(np.diff(times) > 0)
    assert np.all(levels[times < 39] == -70.0) and np.all(levels[times > 41] > -40.0)
