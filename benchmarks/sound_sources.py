"""The sounds that sound quality is measured on: music, speech and effects of the corpus, before any damage.

Chosen by name alone from what was recorded at 44.1 kHz or more. Every second one is `dev`: curves were set with those
in view, and the others (`test`) were kept aside.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt
import pyloudnorm

from .corpus import CorpusError, locate
from .picture_sources import half_of

RATE = 44_100
SECONDS = 4.0
LOUDNESS = -20.0
"""Every source is brought to this before it is damaged, LUFS."""
PEAK = 0.7
"""... unless a peak would then be above this."""
QUIET = 0.01
"""The part that is taken begins where this amplitude is first passed."""

MUSIC = ("wesnoth-1.16-music", "supertux-data", "hedgewars-data", "nexuiz-music", "ufoai-music", "singularity-music")
TRACK_START_S = 30.0
MIN_TRACK_BYTES = 600_000
"""Smaller files are jingles."""
SPOKEN = 6
"""Pieces of recorded readings (names of animals in English, one after the other)."""
EFFECTS = (
    ("chickens", "gcompris-qt-data", "animals/chickens.ogg"),
    ("rain", "gcompris-qt-data", "memory-sound/LRRain_in_garden_01_LA_cut.ogg"),
    ("car engine", "gcompris-qt-data", "memory-sound/LRStartAndStopCarEngine1LACut.ogg"),
    ("train", "gcompris-qt-data", "memory-sound/LRTrain_slowing_down_01_LA_cut.ogg"),
    ("fireballs", "gcompris-qt-data", "memory-sound/LRFireballs_01_LA.ogg"),
    ("pig", "gcompris-qt-data", "animals/pig.ogg"),
    ("bus", "openttd-opensfx", "26-truck-old-bus-start-pull-away-with-horn.wav"),
    ("piano", "gcompris-qt-data", "instruments/piano.ogg"),
)
SOUND_SOURCES = (*MUSIC, "tuxpaint-stamps-default", "gcompris-qt-data", "openttd-opensfx")
"""Of the corpus."""
SUFFIXES = {".ogg", ".oga", ".mp3", ".wav", ".flac", ".opus"}

Wave = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Recording:
    """[samples] mono at `RATE`."""

    name: str
    kind: str
    half: str
    wave: Wave


def recordings() -> list[Recording]:
    """All of them. Raises `CorpusError` where one is missing."""
    found: list[tuple[str, str, Wave]] = []
    for source in MUSIC:
        files = [
            path
            for path in sorted(locate(source).rglob("*"))
            if path.suffix.lower() in SUFFIXES and path.stat().st_size > MIN_TRACK_BYTES
        ]
        chosen = [files[len(files) // 3], files[2 * len(files) // 3]]
        found += [(path.stem, "music", piece(read(path, TRACK_START_S))) for path in chosen]
    readings = sorted(path for path in locate("tuxpaint-stamps-default").rglob("*_desc.ogg") if _rate(path) >= RATE)
    spoken = np.concatenate([read(path, 0.0) for path in readings])
    for number in range(SPOKEN):
        start = number * len(spoken) // SPOKEN
        found.append((f"reading {number + 1}", "speech", piece(spoken[start:])))
    for name, source, ending in EFFECTS:
        paths = [path for path in sorted(locate(source).rglob("*")) if path.as_posix().endswith("/" + ending)]
        if not paths:
            raise CorpusError(source, f"holds no {ending}")
        found.append((name, "effect", piece(read(paths[0], 0.0))))
    return [Recording(name, kind, half_of(number), levelled(wave)) for number, (name, kind, wave) in enumerate(found)]


def _rate(path: Path) -> int:
    with av.open(str(path)) as source:
        return int(source.streams.audio[0].rate)


def read(path: Path, start_s: float) -> Wave:
    """Mono at `RATE` from `start_s` on; from the beginning where the file is shorter."""
    parts: list[npt.NDArray[Any]] = []
    with av.open(str(path), metadata_errors="replace") as source:
        resampler = av.AudioResampler("flt", "mono", RATE)
        for frame in source.decode(audio=0):
            parts += [again.to_ndarray().reshape(-1) for again in resampler.resample(frame)]
            if sum(map(len, parts)) > (start_s + 2 * SECONDS) * RATE:
                break
        else:
            parts += [again.to_ndarray().reshape(-1) for again in resampler.resample(None)]
    wave = np.concatenate(parts).astype(np.float32)
    start = int(start_s * RATE)
    return wave[start:] if len(wave) > start + SECONDS * RATE else wave


def piece(wave: Wave) -> Wave:
    """The part that is taken, from where something is heard."""
    loud = np.flatnonzero(np.abs(wave) > QUIET)
    first = int(loud[0]) if loud.size else 0
    return wave[first : first + int(SECONDS * RATE)]


def levelled(wave: Wave) -> Wave:
    """At the loudness of all sources."""
    # Some recordings stand off from zero: nobody hears it, and it makes a limiter one-sided.
    wave = wave - wave.mean()
    loudness = pyloudnorm.Meter(RATE).integrated_loudness(wave.astype(np.float64))
    gain = min(10 ** ((LOUDNESS - loudness) / 20), PEAK / float(np.abs(wave).max()))
    return (wave * gain).astype(np.float32)


def write_sound(wave: Wave, path: Path, bit_rate: int = 160_000) -> None:
    """As an upload carries it: AAC in MP4. Beyond full scale it is cut off first, as every recorder does."""
    wave = np.clip(wave, -1.0, 1.0).astype(np.float32)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=RATE, bit_rate=bit_rate, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(wave[None]), format="fltp", layout="mono")
        frame.sample_rate = RATE
        for packet in (*stream.encode(frame), *stream.encode(None)):
            container.mux(packet)
