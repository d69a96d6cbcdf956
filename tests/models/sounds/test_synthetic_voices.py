from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from models.sounds.synthetic_voices import (
    NOBODY,
    PERSON,
    POOLED,
    SyntheticVoices,
    load_synthetic_voices,
    row,
    save_synthetic_voices,
)
from models.sounds.whisper import LanguageEncoder
from models.sounds.whisper_languages import LANGUAGES

ENGLISH, TURKISH = LANGUAGES.index("en"), LANGUAGES.index("tr")


def fitted(bias: dict[str, float]) -> SyntheticVoices:
    labels = (PERSON, NOBODY, "tr")
    return SyntheticVoices(
        "whisper-base@2",
        labels,
        np.zeros((POOLED + len(LANGUAGES), len(labels)), np.float32),
        np.array([bias.get(label, 0.0) for label in labels], np.float32),
    )


def heard(language: int, probability: float) -> np.ndarray:
    probabilities = np.full(len(LANGUAGES), (1 - probability) / (len(LANGUAGES) - 1), np.float32)
    probabilities[language] = probability
    return row(np.zeros(POOLED, np.float32), probabilities)[None]


def test_whisper_keeps_its_word_on_people():
    found = fitted({PERSON: 20.0}).languages(heard(ENGLISH, 0.7))
    assert found.shape == (1, 99)
    assert found[0, ENGLISH] == pytest.approx(0.7, abs=1e-3) and found.sum() == pytest.approx(1.0, abs=1e-3)


def test_a_synthesiser_is_not_taken_for_what_whisper_takes_it_for():
    found = fitted({"tr": 20.0}).languages(heard(ENGLISH, 0.9))
    assert found[0, TURKISH] == pytest.approx(1.0, abs=1e-3) and found[0, ENGLISH] < 1e-3


def test_nobody_has_a_language():
    assert fitted({NOBODY: 20.0}).languages(heard(ENGLISH, 0.9)).sum() < 1e-3


def test_doubt_is_shared():
    found = fitted({}).languages(heard(ENGLISH, 0.9))
    assert found[0, ENGLISH] == pytest.approx(0.3, abs=1e-2) and found[0, TURKISH] == pytest.approx(1 / 3, abs=1e-2)


def test_broken_rows_are_no_crash():
    rows = heard(ENGLISH, 0.9)
    rows[0, :10], rows[0, -5:], rows[0, -6] = np.nan, np.nan, np.inf
    found = fitted({}).languages(rows)
    assert np.isfinite(found).all() and found.min() >= 0.0 and found.max() <= 1.0
    assert fitted({}).languages(rows[:0]).shape == (0, 99)
    with pytest.raises(ValueError, match="not \\[1, 7\\]"):
        fitted({}).languages(rows[:, :7])


def test_what_is_written_is_read(tmp_path: Path):
    path = tmp_path / "voices.safetensors"
    made = fitted({"tr": 1.5})
    save_synthetic_voices(made, path, {"data": "a test's"})
    again = load_synthetic_voices(path)
    assert again.labels == made.labels and again.encoder == made.encoder
    assert np.array_equal(again.bias, made.bias) and again.weight.shape == made.weight.shape


def test_what_does_not_fit_is_refused(tmp_path: Path):
    path = tmp_path / "voices.safetensors"
    tensors = {"weight": np.zeros((3, 2), np.float16), "bias": np.zeros(2, np.float32)}
    save_file(tensors, path, metadata={"format": "0", "labels": "a b", "encoder": "e"})
    with pytest.raises(ValueError, match="format"):
        load_synthetic_voices(path)
    other = tmp_path / "other.safetensors"
    save_file(tensors, other, metadata={"format": "1", "labels": "a b", "encoder": "e"})
    with pytest.raises(ValueError, match="fit"):
        load_synthetic_voices(other)


def test_the_packaged_one_is_for_this_encoder():
    packaged = load_synthetic_voices()
    assert packaged.encoder == LanguageEncoder.version
    assert {PERSON, NOBODY} < set(packaged.labels)
    assert set(packaged.labels) - {PERSON, NOBODY} <= set(LANGUAGES)
    assert len(packaged.labels) > 50
