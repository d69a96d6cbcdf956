"""CPU time of each part of hearing, for a clip of 15 s."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.signal import resample_poly

from models.protocol import WAVEFORM_RATE, Evidence
from models.sounds.events import EventsTagger
from models.sounds.key import find_key
from models.sounds.music import MusicTagger
from models.sounds.musicnn import MusicEncoder
from models.sounds.outline import OutlineEncoder
from models.sounds.silero import SpeechEncoder
from models.sounds.speech import SpeechTagger
from models.sounds.tempo import estimate_tempo
from models.sounds.whisper import LanguageEncoder, Whisper, WordsEncoder
from models.sounds.yamnet import SoundEncoder

from .recordings import RATE, floats, speech, tracks

SECONDS = 15
ROUNDS = 5
BEFORE = frozenset({"tempo", "yamnet", "silero"})
"""Parts that there were before the others came; their heads are too cheap to tell apart."""


def measure(weights: Path) -> list[dict[str, Any]]:
    """A row for each part, ms, and sums: before, now, and Whisper apart."""
    cpu = torch.device("cpu")
    whisper = Whisper(weights)
    encoders = {
        "yamnet": SoundEncoder(weights, device=cpu),
        "outline": OutlineEncoder(),
        "silero": SpeechEncoder(weights, device=cpu),
        "musicnn": MusicEncoder(weights, device=cpu),
        "whisper": LanguageEncoder(whisper),
        "words": WordsEncoder(whisper),
    }
    rows: dict[str, dict[str, float]] = {}
    for kind, sound in _clips().items():
        evidence = Evidence(SECONDS, np.zeros((0, 1, 1, 3), np.uint8), np.zeros(0), (), sound, has_audio=True)
        spent = {"tempo": _ms(lambda: estimate_tempo(sound)), "key": _ms(lambda: find_key(sound))}  # noqa: B023
        for name, encoder in encoders.items():
            spent[name] = _ms(lambda: encoder.encode(evidence))  # noqa: B023
            evidence = replace(evidence, encodings={**evidence.encodings, name: encoder.encode(evidence)})
        heads = (EventsTagger(), MusicTagger(), SpeechTagger(language=True))
        spent["heads"] = _ms(lambda: [head.tag(evidence) for head in heads])  # noqa: B023
        for name, value in spent.items():
            rows.setdefault(name, {})[kind] = value
    for encoder in encoders.values():
        encoder.close()
    apart = ("whisper", "words")
    sums = {
        "all before": [name for name in rows if name in BEFORE],
        "all now, without Whisper": [name for name in rows if name not in apart],
    }
    for title, names in sums.items():
        rows[title] = {kind: round(sum(rows[name][kind] for name in names), 1) for kind in ("music", "speech")}
    return [{"part": name, **row} for name, row in rows.items()]


def _clips() -> dict[str, np.ndarray]:
    track = next(iter(tracks(("ufoai-music",), 60.0).values()))
    raw = {"music": track[20 * RATE : (20 + SECONDS) * RATE], "speech": speech()[: SECONDS * RATE]}
    return {kind: resample_poly(floats(wave), WAVEFORM_RATE, RATE).astype(np.float32) for kind, wave in raw.items()}


def _ms(call: Callable[[], Any]) -> float:
    call()
    spent = []
    for _ in range(ROUNDS):
        start = time.process_time()
        call()
        spent.append(time.process_time() - start)
    return round(statistics.median(spent) * 1000, 1)
