"""The recordings that sound identity is measured on: catalogue, strangers, twins, effects and voices of the corpus.

Decoded once to mono 16-bit at 44.1 kHz in the corpus's cache (`decoded-sounds`), mapped from there.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt

from .corpus import CorpusError, corpus_root, locate

RATE = 44_100
"""Sample rate of every recording here, Hz: what is done to them is done at the rate that platforms use."""
TRACK_S = 100.0
"""So much of each catalogue track is known, s."""
CATALOGUE = (
    "ufoai-music",
    "warzone2100-music",
    "wesnoth-1.16-music",
    "supertux-data",
    "hedgewars-data",
    "nexuiz-music",
    "singularity-music",
    "asterisk-moh-opsound-wav",
)
STRANGERS = ("planetblupi-music-ogg", "pingus-data", "hyperrogue-music")
EFFECTS = ("openttd-opensfx",)
EFFECT_S = (0.18, 3.8)
"""Shortest and longest effect, s."""
MIN_TRACK_S = 12.0
"""Shorter files are jingles, not tracks."""
SPEECH = ("asterisk-core-sounds-en-wav",)
TWINS = (
    ("warmux-data", "Olivier_Militon.-.Apnee", "Olivier_Militon.-.Apnee2"),
    ("warzone2100-music", "menu", "menu_enhanced"),
)
"""Two recordings of the same piece: source, and the two files' stems."""
SUFFIXES = {".ogg", ".oga", ".opus", ".mp3", ".wav", ".flac"}
VOICES = ("en-gb", "de", "fr-fr", "it", "es", "pt-br", "pl", "ru", "tr", "sv")
"""Voices of espeak-ng that join the babble."""
SENTENCES = (
    "Please leave your message after the tone and we will call you back as soon as possible.",
    "Yesterday we walked along the river until the rain began and everyone ran for the old bridge.",
    "There are seven different ways to cook an egg and he has burnt every one of them.",
    "Could you tell me when the next train to the coast leaves, and from which platform?",
)

Wave = npt.NDArray[np.float32]


def decode(path: Path, rate: int = RATE, seconds: float | None = None) -> Wave:
    """The beginning of a file (None: all of it), mono, nominally -1 to 1."""
    parts: list[npt.NDArray[Any]] = []
    with av.open(str(path), metadata_errors="replace") as source:
        resampler = av.AudioResampler("flt", "mono", rate)
        wanted = None if seconds is None else int(seconds * rate)
        for frame in source.decode(audio=0):
            parts += [again.to_ndarray().reshape(-1) for again in resampler.resample(frame)]
            if wanted is not None and sum(map(len, parts)) >= wanted:
                break
        else:
            parts += [again.to_ndarray().reshape(-1) for again in resampler.resample(None)]
    return np.concatenate([np.zeros(0), *parts])[:wanted].astype(np.float32)


def _decoded(path: Path, seconds: float | None) -> npt.NDArray[np.int16]:
    """`decode`, kept."""
    root = corpus_root()
    key = hashlib.sha256(f"{path.relative_to(root)} {seconds} {RATE}".encode()).hexdigest()[:20]
    place = root / "decoded-sounds" / f"{key}.npy"
    if not place.is_file():
        place.parent.mkdir(parents=True, exist_ok=True)
        # Two processes may decode the same file at the same moment.
        scratch = place.with_suffix(f".{os.getpid()}.tmp.npy")
        np.save(scratch, np.rint(np.clip(decode(path, RATE, seconds), -1, 1) * 32767).astype(np.int16))
        scratch.replace(place)
    return np.load(place, mmap_mode="r")  # type: ignore[no-any-return]


def floats(samples: npt.NDArray[np.int16]) -> Wave:
    """Samples as numbers from -1 to 1."""
    return np.asarray(samples, dtype=np.float32) / np.float32(32767)


def _files(names: Iterable[str]) -> Iterator[tuple[str, Path]]:
    for name in names:
        for path in sorted(locate(name).rglob("*")):
            if path.suffix.lower() in SUFFIXES and path.is_file():
                yield f"{name}/{path.stem}", path


def tracks(names: Sequence[str] = CATALOGUE, seconds: float | None = TRACK_S) -> dict[str, npt.NDArray[np.int16]]:
    """By source and name, the tracks of these sources. The same file twice is taken once, what cannot be read not."""
    found: dict[str, npt.NDArray[np.int16]] = {}
    seen: set[bytes] = set()
    for name, path in _files(names):
        try:
            wave = _decoded(path, seconds)
        except (av.FFmpegError, IndexError):
            continue
        digest = hashlib.sha256(wave.tobytes()).digest()
        if len(wave) >= MIN_TRACK_S * RATE and digest not in seen:
            seen.add(digest)
            found[name] = wave
    return found


def twins() -> list[tuple[npt.NDArray[np.int16], npt.NDArray[np.int16]]]:
    """Pairs of recordings of the same piece."""
    pairs = []
    for source, *stems in TWINS:
        by_stem = {path.stem.lower(): path for _, path in _files([source])}
        try:
            first, second = (_decoded(by_stem[stem.lower()], TRACK_S) for stem in stems)
        except KeyError as error:
            raise CorpusError(source, f"holds no {error}") from error
        pairs.append((first, second))
    return pairs


def effects() -> dict[str, npt.NDArray[np.int16]]:
    """By source and name, the named effects of the lengths that are asked."""
    found = {name: _decoded(path, None) for name, path in _files(EFFECTS)}
    low, high = (int(edge * RATE) for edge in EFFECT_S)
    return {name: wave for name, wave in found.items() if low <= len(wave) <= high and np.abs(wave[:]).max() > 300}


def joined(waves: Iterable[npt.NDArray[np.int16]]) -> npt.NDArray[np.int16]:
    """One after the other, each at the same level."""
    parts = []
    for wave in waves:
        level = float(np.std(wave)) or 1.0
        parts.append(np.clip(floats(wave) * (0.08 * 32767 / level), -1, 1))
    return np.rint(np.concatenate(parts) * 32767).astype(np.int16)


@cache
def speech() -> npt.NDArray[np.int16]:
    """Recorded prompts, one after the other."""
    return joined(_decoded(path, None) for _, path in _files(SPEECH) if "silence" not in path.parts)


@cache
def voices() -> npt.NDArray[np.int16]:
    """What espeak-ng says in several languages, one after the other."""
    program = shutil.which("espeak-ng")
    if program is None:
        raise CorpusError("espeak-ng", "not installed; on Debian: apt-get install espeak-ng")
    folder = corpus_root() / "spoken"
    folder.mkdir(parents=True, exist_ok=True)
    parts = []
    for voice in VOICES:
        for number, sentence in enumerate(SENTENCES):
            path = folder / f"{voice}-{number}.wav"
            if not path.is_file():
                subprocess.run([program, "-v", voice, "-w", str(path), sentence], check=True, capture_output=True)
            parts.append(_decoded(path, None))
    return joined(parts)
