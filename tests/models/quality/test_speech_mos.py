"""How good speech sounds: only of speech, worse with noise behind it, and told in the document."""

from pathlib import Path

import numpy as np
import pytest

from models.protocol import Encoding, Evidence
from models.quality.speech_mos import LEAST_S, WINDOW_S, SpeechMosEncoder, opinion, windows
from models.quality.tagger import SOUND, QualityTagger
from models.registry import weights
from models.sounds.audioset import indices
from tasks.contract import Quality

RATE = 16_000
SIZE = round(WINDOW_S * RATE)


def spoken(sound: np.ndarray, until_s: float) -> Evidence:
    """Somebody speaks from the first moment to `until_s`, as Silero and YAMNet would say."""
    seconds = len(sound) / RATE
    voice, events = (
        np.zeros((int(seconds / 0.032), 1), np.float32),
        np.zeros((int(seconds / 0.48) + 1, 521), np.float32),
    )
    voice[: int(until_s / 0.032)] = 0.9
    events[: int(until_s / 0.48) + 1, indices(["Speech"])] = 0.9
    return Evidence(
        seconds,
        np.zeros((0, 1, 1, 3), np.uint8),
        np.zeros(0),
        (),
        sound.astype(np.float32),
        has_audio=True,
        encodings={
            "silero": Encoding("silero-vad@1", np.arange(len(voice)) * 0.032, 0.032, voice[:, :0], voice),
            "yamnet": Encoding("yamnet@2", np.arange(len(events)) * 0.48, 0.48, events[:, :0], events),
        },
    )


def test_windows_cover_speech_of_any_length() -> None:
    ramp = np.arange(SIZE, dtype=np.float32) / SIZE
    (short,) = windows(ramp[: SIZE // 2])
    assert len(short) == SIZE and (short[: SIZE // 2] == ramp[: SIZE // 2]).all() and short[SIZE // 2] == ramp[0]
    (exact,) = windows(ramp)
    assert (exact == ramp).all()
    first, second = windows(np.concatenate([ramp, ramp[:100]]))
    assert (first == ramp).all() and second[-1] == ramp[99] and len(second) == SIZE
    assert np.abs(windows(np.full(SIZE, 7.0, np.float32))[0]).max() == 1.0


def test_nothing_is_said_of_what_was_not_listened_to() -> None:
    none = np.zeros((0, 3), np.float32)
    assert (
        opinion(None) is None and opinion(Encoding("dnsmos-p835@1", np.zeros(0), WINDOW_S, none[:, :0], none)) is None
    )


def test_the_document_says_it_and_bad_speech_is_named() -> None:
    rows = np.array([[3.0, 1.5, 1.6], [3.2, 1.7, 1.8]], np.float32)
    said = Encoding("dnsmos-p835@1", np.zeros(2), WINDOW_S, rows[:, :0], rows)
    heard = {SOUND: {"seconds": 5.0, "loudness_lufs": -16.0, "bandwidth_hz": 15_000.0}}
    evidence = Evidence(
        5.0, np.zeros((0, 1, 1, 3), np.uint8), np.zeros(0), (), np.zeros(0, np.float32), has_audio=True,
        observations=heard, encodings={"dnsmos": said},
    )  # fmt: skip
    section = Quality.model_validate(QualityTagger().tag(evidence))
    assert section.sound is not None and section.sound.speech is not None
    assert section.sound.speech.model_dump() == {"signal": 3.1, "background": 1.6, "overall": 1.7}
    assert "speech that is hard to listen to" in section.explanation


@pytest.mark.slow
def test_the_real_network_hears_noise_behind_speech(weights_dir: Path) -> None:
    weights.pull(weights_dir, ["dnsmos"])
    encoder = SpeechMosEncoder(weights_dir)
    rng = np.random.default_rng(0)
    time = np.arange(4 * RATE) / RATE
    # A voice's pitch and formants, in syllables: enough for the network to call noise behind it noise.
    voice = sum(np.sin(2 * np.pi * 120 * n * time) / n for n in range(1, 20)) * (np.sin(2 * np.pi * 4 * time) > 0)
    voice = 0.1 * voice / np.abs(voice).max()
    said = [
        encoder.encode(spoken(voice + level * rng.standard_normal(len(time)), 4.0)).scores for level in (0.0, 0.01, 0.1)
    ]
    assert all(one.shape == (1, 3) and (one >= 1).all() and (one <= 5).all() for one in said)
    assert said[0][0, 1] > said[1][0, 1] > said[2][0, 1]
    assert encoder.encode(spoken(voice, LEAST_S / 2)).scores.shape == (0, 3)
    assert encoder.encode(spoken(np.zeros(0), 0.0)).scores.shape == (0, 3)
