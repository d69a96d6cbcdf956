"""How well sounds are recognised: real music as a catalogue, excerpts as uploads treat them, and strangers.

`python -m benchmarks.soundid` (first: `python -m benchmarks.corpus pull` with the names in `CATALOGUE`, `STRANGERS`
and `SPEECH`). All queries come from one seed. One operating point: the one that the matcher is shipped with.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt
from scipy.signal import butter, fftconvolve, sosfilt

from models.soundid.features import RATE
from models.soundid.fingerprint import Fingerprint
from models.soundid.index import DiskIndex
from models.soundid.matcher import Matcher

from .corpus import locate
from .report import Bar, table, write

CATALOGUE = ("singularity-music", "asterisk-moh-opsound-wav")
STRANGERS = ("planetblupi-music-ogg",)
SPEECH = "asterisk-core-sounds-en-wav"
TRACK_S = 100.0
EXCERPT_S = 5.0
OFFSET_TOLERANCE_S = 0.1
SEED = 20261124

Wave = npt.NDArray[np.float32]
Change = Callable[[Wave, np.random.Generator], npt.NDArray[Any]]


def decode(path: Path, seconds: float = TRACK_S) -> Wave:
    """The beginning of a file, mono at 16 kHz."""
    parts: list[npt.NDArray[Any]] = []
    with av.open(str(path)) as source:
        resampler = av.AudioResampler("flt", "mono", RATE)
        for frame in source.decode(audio=0):
            parts += [again.to_ndarray().reshape(-1) for again in resampler.resample(frame)]
            if sum(map(len, parts)) > seconds * RATE:
                break
    return np.concatenate(parts)[: int(seconds * RATE)].astype(np.float32)


def tracks(names: tuple[str, ...]) -> dict[str, Wave]:
    """By file name, the tracks of these sources."""
    files = [path for name in names for path in sorted(locate(name).rglob("*")) if path.suffix in (".ogg", ".wav")]
    return {path.name: decode(path) for path in files}


def mix(sound: Wave, other: npt.NDArray[Any], ratio_db: float) -> npt.NDArray[Any]:
    """`other` under `sound`, so many dB below it."""
    return sound + other * (np.std(sound) / (np.std(other) + 1e-9) * 10 ** (-ratio_db / 20))


def piece(wave: Wave, size: int, rng: np.random.Generator) -> Wave:
    """An excerpt that is not silence."""
    while True:
        at = int(rng.integers(0, len(wave) - size))
        if np.std(wave[at : at + size]) > 0.01:
            return wave[at : at + size]


def pink(size: int, rng: np.random.Generator) -> npt.NDArray[Any]:
    """Pink noise."""
    spectrum = np.fft.rfft(rng.normal(size=size))
    spectrum[1:] /= np.sqrt(np.arange(1, len(spectrum)))
    spectrum[0] = 0.0
    return np.fft.irfft(spectrum, size)


def _under(
    other: Callable[[int, np.random.Generator], npt.NDArray[Any]], level: float, wave: Wave, rng: np.random.Generator
) -> npt.NDArray[Any]:
    return mix(wave, other(len(wave), rng), level)


def conditions(speech: Wave, strangers: list[Wave]) -> dict[str, Change]:
    """What is done to an excerpt."""

    def babble(size: int, rng: np.random.Generator) -> npt.NDArray[Any]:
        return np.sum([piece(speech, size, rng) for _ in range(6)], axis=0)

    def phone(wave: Wave, rng: np.random.Generator) -> npt.NDArray[Any]:
        band = sosfilt(butter(4, [350, 3500], "bandpass", fs=RATE, output="sos"), wave)
        return np.tanh(3 * band / np.abs(band).max())

    def reverb(wave: Wave, rng: np.random.Generator) -> npt.NDArray[Any]:
        size = int(0.8 * RATE)
        response = rng.normal(size=size) * np.exp(-6.9 * np.arange(size) / size)
        response[0] = 8.0
        return fftconvolve(wave, response)[: len(wave)]

    def music(wave: Wave, rng: np.random.Generator) -> npt.NDArray[Any]:
        return mix(wave, piece(strangers[rng.integers(len(strangers))], len(wave), rng), 0)

    made: dict[str, Change] = {"clean": lambda w, r: w, "12 dB quieter": lambda w, r: w * 0.25}
    for kind, other in (("pink noise", pink), ("babble", babble)):
        for level in (10, 5, 0):
            made[f"{kind} {level} dB"] = partial(_under, other, level)
    made["6 dB under speech"] = lambda w, r: mix(w, piece(speech, len(w), r), -6)
    made["other music 0 dB"] = music
    return {**made, "phone speaker": phone, "reverb": reverb}


def recognise(
    matcher: Matcher, catalogue: Mapping[str, Wave], change: Change, rounds: int, rng: np.random.Generator
) -> dict[str, float]:
    """Shares of hits, of hits at the right offset, of wrong names beside; CPU seconds a query."""
    names = sorted(catalogue)
    hits = right = wrong = 0
    cpu = 0.0
    for _ in range(rounds):
        name = names[rng.integers(len(names))]
        wave = catalogue[name]
        part = piece(wave, int(EXCERPT_S * RATE), rng)
        at = (part.ctypes.data - wave.ctypes.data) / wave.itemsize / RATE
        query = np.asarray(change(part, rng), dtype=np.float32)
        began = time.process_time()
        found = matcher.match(Fingerprint.of(query))
        cpu += time.process_time() - began
        mine = [use for use in found if use.sound_id == name]
        hits += bool(mine)
        right += any(abs(use.offset_s - use.range[0] - at) <= OFFSET_TOLERANCE_S for use in mine)
        wrong += len(found) - len(mine)
    return {"hits": hits / rounds, "right_offset": right / max(1, hits), "wrong": wrong, "cpu_s": cpu / rounds}


def alarms(
    matcher: Matcher, strangers: list[Wave], speech: Wave, number: int, rng: np.random.Generator
) -> tuple[int, int]:
    """How many of so many excerpts that hold nothing of the catalogue raise an alarm."""
    size = int(EXCERPT_S * RATE)
    raised = 0
    for turn in range(number):
        music = piece(strangers[rng.integers(len(strangers))], size, rng)
        talk = piece(speech, size, rng)
        wave = (music, music, mix(music, talk, rng.uniform(-6, 6)), talk, music + pink(size, rng) * 0.05)[turn % 5]
        raised += bool(matcher.match(Fingerprint.of(np.asarray(wave, dtype=np.float32))))
    return raised, number


def main() -> None:
    """Measure and write the report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=40, help="excerpts a condition")
    parser.add_argument("--negatives", type=int, default=1000)
    chosen = parser.parse_args()
    catalogue, strangers = tracks(CATALOGUE), list(tracks(STRANGERS).values())
    speech = np.concatenate([decode(path) for path in sorted(locate(SPEECH).rglob("*.wav"))[:250]])
    hours = sum(map(len, catalogue.values())) / RATE / 3600
    with tempfile.TemporaryDirectory() as folder:
        index = DiskIndex(folder)
        began = time.process_time()
        made = [(n, name, "song", name, Fingerprint.of(wave)) for n, (name, wave) in enumerate(catalogue.items(), 1)]
        index.add(made)
        indexed = time.process_time() - began
        matcher = Matcher(index)
        rows = {
            name: recognise(matcher, catalogue, change, chosen.rounds, np.random.default_rng([SEED, number]))
            for number, (name, change) in enumerate(conditions(speech, strangers).items())
        }
        raised, asked = alarms(matcher, strangers, speech, chosen.negatives, np.random.default_rng(SEED))
        size = index.stats()["bytes"] / 1e6
    bars = [
        Bar("clean excerpts found", rows["clean"]["hits"], 1.0),
        Bar("false alarms", raised / asked, 0.001, "<=", note=f"{raised} of {asked} strangers"),
        Bar("fingerprint and index", hours * 3600 / indexed, 200.0, unit="x real time, one core"),
    ]
    data = {
        "tracks": len(catalogue),
        "hours": round(hours, 3),
        "index_mb_per_hour": round(size / hours, 2),
        "alarms": raised,
        "negatives": asked,
        "conditions": {name: {key: round(value, 4) for key, value in row.items()} for name, row in rows.items()},
    }
    body = (
        f"{len(catalogue)} tracks, the first {TRACK_S:.0f} s of each ({hours:.2f} h), {size / hours:.2f} MB of index "
        f"an hour (hashes, and the peaks that verify); {chosen.rounds} excerpts of {EXCERPT_S:.0f} s a condition. "
        "Strangers: music, speech, both, music in noise. A use at another place where a track repeats itself counts "
        "as a wrong offset.\n\n"
        + table(
            ("condition", "found %", "of these, offset within 0.1 s %", "wrong names", "CPU ms a query"),
            [
                (name, 100 * row["hits"], 100 * row["right_offset"], row["wrong"], 1000 * row["cpu_s"])
                for name, row in rows.items()
            ],
        )
    )
    command = "python -m benchmarks.soundid"
    print(write("soundid", title="Sound identity", command=command, bars=bars, data=data, body=body))


if __name__ == "__main__":
    main()
