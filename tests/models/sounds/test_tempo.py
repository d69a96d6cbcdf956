from __future__ import annotations

import pickle
import subprocess
import sys
import time

import numpy as np
import pytest

from models.sounds.tempo import TempoObserver, estimate_tempo

RATE = 16_000


def drum(bpm: float, seconds: float = 15.0, noise: float = 0.0) -> np.ndarray:
    rng = np.random.default_rng(0)
    sound = noise * rng.standard_normal(int(seconds * RATE))
    hit = np.exp(-np.arange(1600) / 300) * np.sin(2 * np.pi * 180 * np.arange(1600) / RATE)
    for beat in np.arange(0.1, seconds - 0.1, 60 / bpm):
        at = int(beat * RATE)
        sound[at : at + 1600] += hit[: len(sound) - at]
    return sound.astype(np.float32)


@pytest.mark.parametrize("bpm", [70, 85, 92.5, 100, 113, 128, 140, 160])
@pytest.mark.parametrize("noise", [0.0, 0.05])
def test_a_drum_has_its_tempo(bpm: float, noise: float) -> None:
    found, confidence = estimate_tempo(drum(bpm, noise=noise))
    assert found == pytest.approx(bpm, rel=0.01)
    assert confidence > 0.3


@pytest.mark.parametrize(
    "sound",
    [
        np.zeros(0, np.float32),
        np.zeros(15 * RATE, np.float32),
        drum(120, seconds=3.0),
        np.sin(np.arange(15 * RATE) * 0.1).astype(np.float32),
        np.full(15 * RATE, np.nan, np.float32),
        np.ones(15 * RATE, np.float32),
    ],
)
def test_no_tempo(sound: np.ndarray) -> None:
    assert estimate_tempo(sound) == (None, 0.0)


def test_noise_has_no_confidence() -> None:
    assert estimate_tempo(np.random.default_rng(0).standard_normal(15 * RATE).astype(np.float32))[1] < 0.15


@pytest.mark.slow
def test_agrees_with_librosa() -> None:
    import librosa

    for bpm in (90, 124):
        sound = drum(bpm, noise=0.02) + 0.3 * np.roll(drum(bpm * 2, noise=0.01), 777)
        onsets = librosa.onset.onset_strength(y=sound, sr=RATE, hop_length=128, n_fft=1024)
        theirs = librosa.feature.tempo(onset_envelope=onsets, sr=RATE, hop_length=128)[0]
        assert estimate_tempo(sound)[0] == pytest.approx(theirs, rel=0.02)


def test_observer_is_cheap_and_picklable() -> None:
    observer = pickle.loads(pickle.dumps(TempoObserver))()
    sound = drum(128)
    observer.result(sound)
    started = time.process_time()
    found = observer.result(sound)
    assert time.process_time() - started < 0.2
    assert found == {"tempo_bpm": pytest.approx(128, rel=0.01), "confidence": pytest.approx(0.9, abs=0.1)}


def test_the_decoders_process_need_not_import_torch_or_librosa() -> None:
    code = "import sys, models.sounds.music; print(sorted({'torch', 'librosa', 'numba'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
