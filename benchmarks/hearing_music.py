"""Tempo on beats of known tempo and on real tracks against two other estimators; keys of chords that are known."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from rich.progress import track
from scipy.io import wavfile
from scipy.signal import resample_poly

from models.sounds import key
from models.sounds.music import KEY_CORRELATION, KEY_MARGIN, STEADY
from models.sounds.tempo import RATE, estimate_tempo

from .corpus import CorpusError
from .recordings import RATE as STORED_RATE
from .recordings import floats, tracks

Wave = npt.NDArray[np.float32]

TOLERANCE = 0.04
LIBRARIES = (
    "ufoai-music",
    "wesnoth-1.16-music",
    "supertux-data",
    "hedgewars-data",
    "nexuiz-music",
    "warzone2100-music",
)
TRACKS = 30
EXCERPT_S = (20.0, 50.0)
"""Of each track."""
AUBIO = "aubiotrack"
LEAST_BEATS = 8
JUDGES = ("independent", "one_library")
HOP = 160
"""Of librosa's onset strength: 10 ms."""
PROGRESSIONS = {
    "major": (((0, 4), (5, 4), (7, 4), (0, 4)), ((0, 4), (9, 3), (5, 4), (7, 4)), ((2, 3), (7, 4), (0, 4), (0, 4))),
    "minor": (((0, 3), (5, 3), (7, 4), (0, 3)), ((0, 3), (8, 4), (7, 4), (0, 3))),
}
"""Chords as semitones above the tonic, and of their third."""


@dataclass(frozen=True)
class Beat:
    """A tempo and what was told of it; None: unknown."""

    name: str
    bpm: float
    told: float | None

    @property
    def exact(self) -> bool:
        """Within 4 %."""
        return self.told is not None and alike(self.told, self.bpm, (1.0,))

    @property
    def octave(self) -> bool:
        """Within 4 % of it, of half or of twice of it."""
        return self.told is not None and alike(self.told, self.bpm)


def alike(one: float, other: float, times: Sequence[float] = (0.5, 1.0, 2.0)) -> bool:
    """Whether a tempo is within 4 % of another, or of so many times of it."""
    return other > 0 and any(abs(one / other / n - 1) <= TOLERANCE for n in times)


def told_tempo(wave: Wave) -> float | None:
    """What a document says where there is music."""
    bpm, confidence = estimate_tempo(wave)
    return bpm if confidence >= STEADY else None


def metronomic() -> list[Beat]:
    """Four-to-the-bar patterns of kick, snare, hat and bass over a chord, 19 tempi, four patterns."""
    rng = np.random.default_rng(7)
    found = []
    for bpm in np.linspace(70, 160, 19).round(1):
        for pattern in range(4):
            found.append(Beat(f"pattern {pattern}, {bpm:g}", float(bpm), told_tempo(beat(float(bpm), pattern, rng))))
    return found


def beat(bpm: float, pattern: int, rng: np.random.Generator, seconds: float = 15.0) -> Wave:
    """A loop: kick on 1 and 3, snare on 2 and 4, hats on the eighths (1 and 2), syncopated bass (2).

    Pattern 3 is kicks alone.
    """
    samples = int(seconds * RATE)
    sound = 0.004 * rng.standard_normal(samples)
    time = np.arange(int(0.18 * RATE)) / RATE
    kick = np.sin(2 * np.pi * (55 + 60 * np.exp(-time * 40)) * time) * np.exp(-time * 18)
    snare = rng.standard_normal(len(time)) * np.exp(-time * 30) * 0.6
    hat = np.diff(rng.standard_normal(len(time)), prepend=0) * np.exp(-time * 90) * 0.18
    bass = np.sin(2 * np.pi * 82.4 * time) * np.exp(-time * 8) * 0.5
    period = 60 / bpm
    for count, at_s in enumerate(np.arange(0.2, seconds - 0.5, period)):
        _add(sound, kick if count % 2 == 0 or pattern == 3 else snare, at_s)
        if pattern in (1, 2):
            for part in (0.0, 0.5):
                _add(sound, hat, at_s + part * period)
        if pattern == 2 and count % 4 in (0, 1, 3):
            _add(sound, bass, at_s + (0.5 * period if count % 4 == 1 else 0.0))
    clock = np.arange(samples) / RATE
    for hertz in (220.0, 277.2, 329.6):
        sound += 0.05 * np.sin(2 * np.pi * hertz * clock)
    return (0.5 * sound / np.abs(sound).max()).astype(np.float32)


def _add(sound: npt.NDArray[np.float64], part: npt.NDArray[np.float64], at_s: float) -> None:
    at = int(at_s * RATE)
    sound[at : at + len(part)] += part[: max(0, len(sound) - at)]


def real() -> dict[str, Any]:
    """Real tracks on which two other estimators agree.

    Every second track of the corpus's music, from the second on, in order, until 30 are told: the others served to
    choose the estimator's constants. The two are librosa's beat tracker (Ellis 2007), whose octave is the truth's, and
    aubio's (Davies and Plumbley 2007; Brossier 2006), octaves allowed: two programs with nothing in common. As
    `one_library`, the same with librosa's local tempogram (Grosche, Mueller and Kurth 2010) in aubio's place: it reads
    the same onsets and expects the same 120 beats a minute as librosa's beat tracker, so where a rhythm repeats at 2/3
    or 3/4 of the beat the two err together.

    Raises:
        CorpusError: aubio is not installed.
    """
    import librosa

    if shutil.which(AUBIO) is None:
        raise CorpusError(AUBIO, "not installed; on Debian: apt-get install aubio-tools")
    known = tracks(LIBRARIES, 100.0)
    first, last = (int(edge * STORED_RATE) for edge in EXCERPT_S)
    waves = {name: wave for name, wave in list(known.items())[1::2] if len(wave) >= last}
    found = {judges: Agreed() for judges in JUDGES}
    for name, wave in track(waves.items(), description="real tracks"):
        stored = floats(wave[first:last])
        excerpt = resample_poly(stored, RATE, STORED_RATE).astype(np.float32)
        onsets = librosa.onset.onset_strength(y=excerpt, sr=RATE, hop_length=HOP, n_fft=1024)
        heard: dict[str, Any] = {"onset_envelope": onsets, "sr": RATE, "hop_length": HOP}
        tracked = float(np.atleast_1d(librosa.beat.beat_track(**heard)[0])[0])
        gram = float(np.median(librosa.feature.tempo(**heard, aggregate=None)))
        told = told_tempo(excerpt)
        found["independent"].take(name, tracked, told, tracked > 0 and alike(aubio_tempo(stored), tracked))
        found["one_library"].take(name, tracked, told, alike(gram, tracked, (1.0,)))
        if all(len(one.beats) == TRACKS for one in found.values()):
            break
    return {judges: vars(one) for judges, one in found.items()}


@dataclass
class Agreed:
    """Tracks on which two estimators agree, until `TRACKS` of them are told."""

    looked: int = 0
    disagreed: int = 0
    unknown: int = 0
    beats: list[Beat] = field(default_factory=list)

    def take(self, name: str, bpm: float, told: float | None, agree: bool) -> None:
        """One more track."""
        if len(self.beats) == TRACKS:
            return
        self.looked += 1
        if not agree:
            self.disagreed += 1
        elif told is None:
            self.unknown += 1
        else:
            self.beats.append(Beat(name, bpm, told))


def aubio_tempo(wave: Wave) -> float:
    """Beats a minute by the median distance of aubio's beats; 0 with too few."""
    with tempfile.TemporaryDirectory(prefix="tagfarm-benchmark-") as folder:
        path = Path(folder) / "excerpt.wav"
        wavfile.write(path, STORED_RATE, (np.clip(wave, -1, 1) * 32767).astype(np.int16))
        done = subprocess.run([AUBIO, "-i", str(path)], capture_output=True, text=True, check=True)
    beats = [float(line.split()[0]) for line in done.stdout.splitlines() if line.strip()]
    return 60 / float(np.median(np.diff(beats))) if len(beats) >= LEAST_BEATS else 0.0


def shares(beats: Sequence[Beat]) -> dict[str, Any]:
    """Shares right."""
    return {
        "tracks": len(beats),
        "told": sum(one.told is not None for one in beats),
        "octave": round(float(np.mean([one.octave for one in beats])), 4) if beats else None,
        "exact": round(float(np.mean([one.exact for one in beats])), 4) if beats else None,
    }


def keys() -> dict[str, Any]:
    """Progressions of chords in all keys, out of tune by up to 30 cents."""
    rng = np.random.default_rng(11)
    right = told = number = 0
    for mode, progressions in PROGRESSIONS.items():
        for progression in progressions:
            for tonic in range(12):
                name, correlation, margin = key.find_key(_chords(tonic, progression, rng))
                sure = correlation >= KEY_CORRELATION and margin >= KEY_MARGIN
                number += 1
                told += sure
                right += sure and name == f"{key.NAMES[tonic]} {mode}"
    noise = [key.find_key((0.1 * rng.standard_normal(15 * RATE)).astype(np.float32)) for _ in range(5)]
    unknown = sum(one[1] < KEY_CORRELATION or one[2] < KEY_MARGIN for one in noise)
    return {"progressions": number, "told": told, "right": right, "noises": len(noise), "noises_unknown": unknown}


def _chords(tonic: int, progression: Sequence[tuple[int, int]], rng: np.random.Generator) -> Wave:
    parts = []
    tuning = rng.uniform(-0.3, 0.3)
    for root, third in (*progression, *progression):
        time = np.arange(int(0.9 * RATE)) / RATE
        part = np.zeros(len(time))
        for note in (36 + root, 48 + root, 48 + root + third, 48 + root + 7, 60 + root):
            hertz = 440 * 2 ** ((note + tonic - 69 + tuning) / 12)
            for harmonic in range(1, 7):
                part += np.sin(2 * np.pi * hertz * harmonic * time + rng.uniform(0, 6)) / harmonic**1.2
        parts.append(part * np.exp(-1.2 * time))
    sound = np.concatenate(parts)
    return (0.5 * sound / np.abs(sound).max() + 0.003 * rng.standard_normal(len(sound))).astype(np.float32)
