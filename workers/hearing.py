"""What a process that tags builds for sound, by its settings: see `workers.build`."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from functools import cache, partial
from pathlib import Path

import torch

from models.protocol import Encoder, Tagger
from models.quality import speech_mos
from models.quality.speech_mos import SpeechMosEncoder
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
    if judges_speech(models):
        made["dnsmos"] = partial(SpeechMosEncoder, models.weights)
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
    return _wanted(models.language, models.weights, WEIGHTS, ("ctranslate2", "tokenizers"))


def judges_speech(models: ModelSettings) -> bool:
    """Whether DNSMOS is to run: as set, or where all that it needs is there."""
    return _wanted(models.speech_quality, models.weights, speech_mos.WEIGHTS, ("onnxruntime",))


def _wanted(said: str, weights: Path, name: str, engines: Sequence[str]) -> bool:
    if said != "auto":
        return said == "on"
    there = all(importlib.util.find_spec(engine) is not None for engine in engines)
    return there and any(known.entry.name == name and known.state == "installed" for known in list_weights(weights))
