"""tagfarm and other systems, asked the same questions in the same run."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from rich.progress import track as progress
from scipy.io import wavfile

from models.soundid.fingerprint import Fingerprint
from models.soundid.index import DiskIndex
from models.soundid.matcher import Matcher

from .distortions import conditions
from .recordings import CATALOGUE, RATE, STRANGERS, Wave, effects, floats, tracks
from .sound_effects import alike, effect_conditions, effect_queries
from .sound_queries import negatives, queries, to_matcher
from .sound_system import Answer, Peer

SECONDS = 5.0
NEGATIVES = 176


class Tagfarm:
    """`sound_system.Peer`: tagfarm itself, from WAV files as the others."""

    name = "tagfarm"

    def __init__(self, scratch: Path, short: Collection[str]) -> None:
        """`short`: the names of the effects, which a catalogue knows to be effects."""
        self._index = DiskIndex(scratch)
        self._short = short
        self._matcher = Matcher(self._index)
        self.index_s = self.ask_cpu_s = 0.0
        self.asked = 0

    @property
    def index_bytes(self) -> int:
        """All of it: hashes, and what verification keeps."""
        return sum(segment.size for segment in self._index.view().segments)

    def index(self, recordings: Mapping[str, Path]) -> None:
        """Learn these."""
        self._matcher.warm()
        began = time.process_time()
        self._index.add(
            (n, name, "effect" if name in self._short else "song", name, _print(path))
            for n, (name, path) in enumerate(recordings.items(), 1)
        )
        self.index_s = time.process_time() - began

    def ask(self, recording: Path) -> Answer:
        """What this WAV file holds."""
        began = time.process_time()
        found = self._matcher.match(_print(recording))
        self.ask_cpu_s += time.process_time() - began
        self.asked += 1
        best = max(found, key=lambda use: use.score, default=None)
        return (None, 0.0) if best is None else (best.sound_id, best.score)

    def ask_all(self, recordings: Sequence[Path]) -> list[Answer]:
        """What each of these holds."""
        return [self.ask(recording) for recording in recordings]


def _print(path: Path) -> Fingerprint:
    return Fingerprint.of(to_matcher(floats(wavfile.read(path)[1])))


def side_by_side(peers: Sequence[Peer], rounds: int, scratch: Path) -> dict[str, Any]:
    """By system what it answers: hits that it accepts, hits that score above every stranger, alarms, costs."""
    music, short = tracks(CATALOGUE), effects()
    hours = sum(map(len, (*music.values(), *short.values()))) / RATE / 3600
    known = {
        name: _written(scratch / "known" / f"{n}.wav", wave) for n, (name, wave) in enumerate((music | short).items())
    }
    rows, strangers = _questions(music, short, rounds, scratch / "asked")
    made = {}
    for peer in progress([Tagfarm(scratch / "tagfarm", short), *peers], description="systems"):
        peer.index(known)
        alarms = [score for name, score in peer.ask_all(strangers) if name is not None]
        highest = max(alarms, default=-np.inf)
        answered = {
            row: _counted(peer.ask_all([path for path, _ in asked]), asked, highest) for row, asked in rows.items()
        }
        made[peer.name] = {
            "rows": answered,
            "alarms": len(alarms),
            "strangers": len(strangers),
            "mb_per_hour": round(peer.index_bytes / 1e6 / hours, 2),
            "index_s_per_hour": round(peer.index_s / hours, 1),
            "cpu_ms": round(1000 * peer.ask_cpu_s / peer.asked, 1),
        }
    return made


Asked = list[tuple[Path, frozenset[str]]]
"""Questions, and the names that are right."""


def _questions(
    music: Mapping[str, npt.NDArray[np.int16]], short: Mapping[str, npt.NDArray[np.int16]], rounds: int, folder: Path
) -> tuple[dict[str, Asked], list[Path]]:
    rows: dict[str, Asked] = {}
    for number, (name, distortion) in enumerate(conditions().items()):
        some = queries(music, distortion, number, SECONDS, rounds)
        rows[name] = [
            (_written(folder / f"{number}-{turn}.wav", query.wave), frozenset([query.recording]))
            for turn, query in enumerate(some)
        ]
    for number, (name, condition) in enumerate(effect_conditions().items()):
        clips = effect_queries(short, condition, number, 1)
        rows[f"effects, {name}"] = [
            (_written(folder / f"effect-{number}-{turn}.wav", query.wave), alike()[query.effect])
            for turn, query in enumerate(clips)
        ]
    others = negatives(tracks(STRANGERS, None), SECONDS, NEGATIVES)
    return rows, [_written(folder / f"stranger-{turn}.wav", wave) for turn, (_, wave) in enumerate(others)]


def _written(path: Path, wave: Wave | npt.NDArray[np.int16]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    samples = wave if wave.dtype == np.int16 else np.rint(np.clip(wave, -1, 1) * 32767).astype(np.int16)
    wavfile.write(path, RATE, np.asarray(samples))
    return path


def _counted(answers: Sequence[Answer], asked: Asked, highest: float) -> dict[str, tuple[int, int]]:
    right = [score for (name, score), (_, names) in zip(answers, asked, strict=True) if name in names]
    return {"accepted": (len(right), len(asked)), "sure": (sum(score > highest for score in right), len(asked))}
