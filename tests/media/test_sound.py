from __future__ import annotations

from pathlib import Path

import av
import numpy as np

from media.sound import WAVEFORM_RATE, SoundTrack


def frame(rate: int, samples: int) -> av.AudioFrame:
    made = av.AudioFrame.from_ndarray(np.full((1, samples), 8000, np.int16), "s16", "mono")
    made.sample_rate = rate
    return made


def test_a_rate_that_no_resampler_takes_is_silence_and_is_told(tmp_path: Path) -> None:
    track = SoundTrack(tmp_path / "waveform", 600.0, lambda block: None)
    track.take(frame(2**31 - 1, 1000), 0.0)
    track.take(frame(WAVEFORM_RATE, WAVEFORM_RATE), None)
    waveform = track.close()
    assert track.refused == 1
    assert len(waveform) == WAVEFORM_RATE
    assert abs(float(np.median(waveform)) - 8000 / 32768) < 1e-3


def test_sound_goes_on_where_rates_change(tmp_path: Path) -> None:
    track = SoundTrack(tmp_path / "waveform", 600.0, lambda block: None)
    for rate in (8_000, 44_100, 16_000):
        track.take(frame(rate, rate), None)
    assert (track.refused, abs(len(track.close()) - 3 * WAVEFORM_RATE) < 50) == (0, True)
