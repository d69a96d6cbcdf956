"""Languages as synthetic voices speak them.

Whisper was trained on people. Of a formant synthesiser (eSpeak NG, which speaks a hundred languages) it takes many
languages for others, and is sure of some of them. What its encoder makes of such a voice tells them apart all the
same: a linear map of the encoder's output and of Whisper's own guess says whether a person speaks, or a synthesiser
and in which language, or nobody in any. Whisper keeps its word on people:
`p(language) = p(synthesiser speaks it) + p(person) * Whisper's probability`.

`synthetic_voices.safetensors` is written by `python -m benchmarks.voices`; its metadata says on what data.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors.numpy import save_file

from ..serving.packaged import read_packaged
from ..serving.scores import softmax
from .whisper_languages import LANGUAGES

FITTED = Path(__file__).with_name("synthetic_voices.safetensors")
FORMAT = "1"
"""1: first version."""
POOLED = 1024
"""Means and standard deviations over time of the encoder's 512 channels."""
FLOOR = 1e-4
"""Added to a probability before the logarithm."""
LOUDEST = 60.0
"""No channel and no logarithm is further from 0: the exponential of more is no single-precision number."""
PERSON, NOBODY = "(person)", "(nobody)"
"""Labels beside the languages'. Nobody: babble, reversed or vocoded speech, laughter: no language to be told."""

Rows = npt.NDArray[np.float32]


@dataclass(frozen=True)
class SyntheticVoices:
    """Immutable, so safe to share between threads."""

    encoder: str
    """`name@version` of the encoder that it was fitted on."""
    labels: tuple[str, ...]
    """Languages of `LANGUAGES` by their codes, `PERSON` and `NOBODY`."""
    weight: Rows
    """[POOLED + 99, labels]"""
    bias: Rows
    """[labels]"""

    def shares(self, heard: npt.NDArray[Any]) -> Rows:
        """[n, labels] of rows as `row` makes them; each sums to 1.

        Raises:
            ValueError: the rows are not those that this was fitted on.
        """
        if heard.ndim != 2 or heard.shape[1] != len(self.weight):
            raise ValueError(f"synthetic voices are told from rows [n, {len(self.weight)}], not {list(heard.shape)}")
        return softmax(_sound(heard) @ self.weight + self.bias)

    def languages(self, heard: npt.NDArray[Any]) -> Rows:
        """Probabilities [n, 99] of `LANGUAGES`; what is missing to 1 is nobody's."""
        shares = self.shares(heard)
        found = np.clip(np.exp(_sound(heard)[:, POOLED:]) - FLOOR, 0.0, 1.0)
        found *= shares[:, [self.labels.index(PERSON)]]
        for column, label in enumerate(self.labels):
            if label in LANGUAGES:
                found[:, LANGUAGES.index(label)] += shares[:, column]
        return np.asarray(found, np.float32)


def _sound(heard: npt.NDArray[Any]) -> Rows:
    """Rows without what is no number: one broken channel must not spread over every language."""
    return np.clip(np.nan_to_num(np.asarray(heard, np.float32)), -LOUDEST, LOUDEST)


def row(pooled: Rows, probabilities: Rows) -> Rows:
    """What is kept of a sound: [POOLED] of the encoder and the logarithms of Whisper's 99 probabilities."""
    return np.concatenate([pooled, np.log(probabilities + FLOOR)]).astype(np.float32)


@lru_cache(maxsize=2)
def load_synthetic_voices(path: Path = FITTED) -> SyntheticVoices:
    """Read what was fitted. One of another format is a bug, and raises `ValueError`."""
    metadata, tensors = read_packaged(path, FORMAT)
    labels = tuple(metadata["labels"].split(" "))
    if tensors["weight"].shape != (POOLED + len(LANGUAGES), len(labels)) or tensors["bias"].shape != (len(labels),):
        raise ValueError(f"{path.name}: its tensors do not fit its labels")
    return SyntheticVoices(metadata["encoder"], labels, tensors["weight"], tensors["bias"])


def save_synthetic_voices(fitted: SyntheticVoices, path: Path, notes: Mapping[str, str]) -> None:
    """Write it, the weights in half precision, with how it came about."""
    metadata = {"format": FORMAT, "encoder": fitted.encoder, "labels": " ".join(fitted.labels), **notes}
    save_file({"weight": fitted.weight.astype(np.float16), "bias": fitted.bias}, path, metadata=metadata)
    load_synthetic_voices.cache_clear()
