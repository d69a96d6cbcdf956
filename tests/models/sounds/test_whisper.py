from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from models.protocol import Encoding, Evidence
from models.registry import weights
from models.sounds.audioset import indices
from models.sounds.speech import SpeechTagger, spoken_language
from models.sounds.synthetic_voices import POOLED
from models.sounds.whisper import (
    LanguageEncoder,
    Whisper,
    WordsEncoder,
    joined,
    log_mel,
    spoken,
    windows,
)
from models.sounds.whisper_languages import LANGUAGES
from tests.models.conftest import decoded

RATE = 16_000


def heard(seconds: float, ranges: list[tuple[float, float]]) -> dict[str, Encoding]:
    voice, events = (
        np.zeros((int(seconds / 0.032), 1), np.float32),
        np.zeros((int(seconds / 0.48) + 1, 521), np.float32),
    )
    for start, end in ranges:
        voice[int(start / 0.032) : int(end / 0.032)] = 0.9
        events[int(start / 0.48) : int(end / 0.48) + 1, indices(["Speech"])] = 0.9
    return {
        "silero": Encoding("silero-vad@1", np.arange(len(voice)) * 0.032, 0.032, voice[:, :0], voice),
        "yamnet": Encoding("yamnet@2", np.arange(len(events)) * 0.48, 0.48, events[:, :0], events),
    }


def evidence(sound: np.ndarray, ranges: list[tuple[float, float]]) -> Evidence:
    none = np.zeros((0, 1, 1, 3), np.uint8)
    seconds = len(sound) / RATE
    return Evidence(seconds, none, np.zeros(0), (), sound.astype(np.float32), encodings=heard(seconds, ranges))


def test_little_speech_is_not_worth_a_look() -> None:
    assert spoken(evidence(np.zeros(10 * RATE), [(2.0, 2.6)])) == []
    assert len(spoken(evidence(np.zeros(10 * RATE), [(2.0, 2.6), (5.0, 5.7)]))) == 2


def test_windows_hold_thirty_seconds_and_all_speech() -> None:
    parts = windows([(0.0, 10.0), (12.0, 27.0), (30.0, 95.0)])
    assert [sum(end - start for start, end in part) for part in parts] == [25.0, 30.0, 30.0, 5.0]
    assert windows([]) == []


def test_speech_is_joined_without_what_is_between() -> None:
    sound = np.zeros(10 * RATE, np.float32)
    sound[2 * RATE : 3 * RATE] = 0.5
    sound[6 * RATE : 7 * RATE] = np.nan
    found = joined(sound, [(2.0, 3.0), (6.0, 7.0)], 30.0)
    assert len(found) == round(2.4 * RATE)
    assert (found[:RATE] == 0.5).all() and np.isfinite(found).all()
    assert len(joined(sound, [(0.0, 10.0)], 3.0)) == 3 * RATE


def test_log_mel_has_whispers_shape_and_range() -> None:
    mel = log_mel(np.sin(np.arange(2 * RATE) * 0.3).astype(np.float32))
    assert mel.shape == (80, 3000) and mel.dtype == np.float32
    assert mel.max() - mel.min() == pytest.approx(2.0)  # 8 decades of power, divided by 4
    assert len(set(LANGUAGES)) == 99


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("espeak-ng") is None, reason="espeak-ng is not installed")
def test_the_real_network_tells_languages_and_writes_words(weights_dir: Path) -> None:
    weights.pull(weights_dir, ["whisper-base"])
    network = Whisper(weights_dir)
    tagger = SpeechTagger(language=True, transcript=True)
    for language, text, word in (
        ("en", "The train to London leaves in ten minutes.", "train"),
        ("it", "Il treno per Milano parte subito.", "subito"),
    ):
        command = ["espeak-ng", "-v", language, "-s", "140", "--stdout", text]
        sound = decoded(subprocess.run(command, check=True, capture_output=True).stdout)
        given = evidence(sound, [(0.0, len(sound) / RATE)])
        for encoder in (LanguageEncoder(network), WordsEncoder(network)):
            given = Evidence(**{**vars(given), "encodings": {**given.encodings, encoder.name: encoder.encode(given)}})
        told = tagger.tag(given)
        assert told["language"] == language
        assert word in told["transcript"].lower()
    nobody = LanguageEncoder(network).encode(evidence(np.zeros(5 * RATE), []))
    assert nobody.scores.shape == (0, 99)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("espeak-ng") is None, reason="espeak-ng is not installed")
def test_a_synthetic_voice_is_known_and_said_the_same_again_from_what_is_kept(weights_dir: Path) -> None:
    weights.pull(weights_dir, ["whisper-base"])
    network = Whisper(weights_dir)
    encoder = LanguageEncoder(network)
    text = "God morgon, tåget till Stockholm avgår från spår fyra om tio minuter. Igår gick vi längs floden."
    command = ["espeak-ng", "-v", "sv", "-s", "140", "--stdout", text]
    sound = decoded(subprocess.run(command, check=True, capture_output=True).stdout)
    told = encoder.encode(evidence(sound, [(0.0, len(sound) / RATE)]))
    alone = np.exp(told.embeddings[0, POOLED:])
    assert LANGUAGES[int(alone.argmax())] != "sv", "Whisper alone takes it for another"
    assert LANGUAGES[int(told.scores[0].argmax())] == "sv"
    kept = told.embeddings.astype(np.float16).astype(np.float32)
    assert np.array_equal(encoder.scores_of(kept), told.scores)
    backwards = evidence(sound[::-1].copy(), [(0.0, len(sound) / RATE)])
    told = encoder.encode(backwards)
    assert spoken_language(told) is None
    backwards = Evidence(**{**vars(backwards), "encodings": {**backwards.encodings, "whisper": told}})
    assert len(WordsEncoder(network).encode(backwards).scores) == 0
