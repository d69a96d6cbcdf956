"""What a process that tags builds for sound, by its settings: see `workers.build`."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path

import torch

from models.protocol import Encoder, Tagger
from models.registry.weights import list_weights
from models.sounds.events import EventsTagger
from models.sounds.hub import HubEncoder
from models.sounds.musicnn import MusicEncoder
from models.sounds.outline import OutlineEncoder
from models.sounds.speech import SpeechTagger
from models.sounds.whisper import WEIGHTS, LanguageEncoder, Whisper, WordsEncoder
from workers.settings import ModelSettings


def encoders(models: ModelSettings, device: torch.device) -> dict[str, Callable[[], Encoder]]:
    """Makers of encoders by name, beside those that every node has. They raise `WeightsMissing`."""
    made: dict[str, Callable[[], Encoder]] = {
        "outline": OutlineEncoder,
        "musicnn": partial(MusicEncoder, models.weights, device=device, max_wait_s=models.max_wait_ms / 1000),
    }
    if models.sound_hub is not None:
        made["sound-hub"] = partial(HubEncoder, models.sound_hub, device=device, max_wait_s=models.max_wait_ms / 1000)
    if tells_language(models):
        network = cache(lambda: Whisper(models.weights))
        made["whisper"] = lambda: LanguageEncoder(network())
        if models.transcript:
            made["words"] = lambda: WordsEncoder(network())
    return made


def taggers(models: ModelSettings) -> list[Tagger]:
    """The heads whose inputs depend on settings."""
    language = tells_language(models)
    return [
        EventsTagger(hub=models.sound_hub is not None),
        SpeechTagger(language=language, transcript=language and models.transcript),
    ]


def tells_language(models: ModelSettings) -> bool:
    """Whether Whisper is to run: as set, or where all that it needs is there."""
    if models.language != "auto":
        return models.language == "on"
    engines = all(importlib.util.find_spec(name) is not None for name in ("ctranslate2", "tokenizers"))
    return engines and _installed(models.weights)


def _installed(weights: Path) -> bool:
    return any(known.entry.name == WEIGHTS and known.state == "installed" for known in list_weights(weights))
