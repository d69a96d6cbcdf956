"""Sounds with known truth, made from seeds: nothing is fetched."""

from __future__ import annotations

import io
from collections.abc import Callable
from fractions import Fraction

import av
import numpy as np
import numpy.typing as npt
import pytest
from scipy.signal import resample_poly

from models.soundid.fingerprint import Fingerprint
from models.soundid.index import DiskIndex

RATE = 16_000
Wave = npt.NDArray[np.float32]

CHORDS = ((0, 4, 7), (9, 12, 16), (5, 9, 12), (7, 11, 14))


def tone(
    hz: float,
    seconds: float,
    partials: npt.NDArray[np.float64],
    decay: float,
    phases: npt.NDArray[np.float64] | None = None,
) -> npt.NDArray[np.float64]:
    """One plucked or blown note; `phases` of its partials, in turns."""
    t = np.arange(int(seconds * RATE)) / RATE
    wave = np.zeros_like(t)
    for number, amplitude in enumerate(partials, start=1):
        if number * hz < 7000:
            phase = 0.0 if phases is None else phases[number - 1]
            wave += amplitude * np.sin(2 * np.pi * (number * hz * t + phase))
    return wave * np.exp(-decay * t) * np.minimum(1.0, t / 0.005)


def track(seed: int, seconds: float = 30.0, tempo: float | None = None, progression: bool = False) -> Wave:
    """Drums, chords and melody. `tempo` and `progression` make strangers share their beat and harmony.

    No two notes share the phases of their partials, as no two that are played do.
    """
    rng = np.random.default_rng(seed)
    beat = 60.0 / (tempo or rng.uniform(80, 150))
    root = 110.0 * 2 ** ((0 if progression else rng.integers(0, 12)) / 12)
    chords = CHORDS if progression else tuple(CHORDS[i] for i in rng.permutation(4))
    chord_voice, melody_voice = rng.uniform(0, 1, 8) / np.arange(1, 9), rng.uniform(0, 1, 6) / np.arange(1, 7)
    chord_decay, melody_decay = rng.uniform(0.5, 3), rng.uniform(2, 8)
    snare_hz, hat_decay = rng.uniform(170, 260), rng.uniform(25, 80)
    kick_hz, kick_bend, kick_decay = rng.uniform(42, 70), rng.uniform(3, 12), rng.uniform(8, 25)
    kick_phase = rng.random()
    out = np.zeros(int((seconds + 4) * RATE))

    def put(at: float, wave: npt.NDArray[np.float64], gain: float) -> None:
        begin = int(at * RATE)
        end = min(len(out), begin + len(wave))
        out[begin:end] += gain * wave[: end - begin]

    pattern = rng.random(8) < 0.6
    for number in range(int(seconds / beat * 2)):
        at = number * beat / 2
        chord = chords[(number // 8) % 4]
        if number % 8 == 0:
            for note in chord:
                put(at, tone(root * 2 ** (note / 12), 4 * beat, chord_voice, chord_decay, rng.random(8)), 0.12)
        if pattern[number % 8] and rng.random() < 0.9:
            note = chord[rng.integers(3)] + 12 * rng.integers(1, 3) + rng.choice([0, 0, 2, -2])
            melody = tone(root * 2 ** (note / 12), beat, melody_voice, melody_decay, rng.random(6))
            put(at, melody, rng.uniform(0.1, 0.2))
        if number % 4 == 0:
            t = np.arange(3000) / RATE
            phase = kick_hz * t + kick_bend * (1 - np.exp(-30 * t))
            put(at, np.sin(2 * np.pi * (phase + kick_phase)) * np.exp(-kick_decay * t), 0.4)
        if number % 4 == 2:
            t = np.arange(2500) / RATE
            put(at, (rng.normal(size=2500) + np.sin(2 * np.pi * (snare_hz * t + kick_phase))) * np.exp(-20 * t), 0.12)
        put(at, np.diff(rng.normal(size=1201)) * np.exp(-hat_decay * np.arange(1200) / RATE), rng.uniform(0.02, 0.05))
    out = out[: int(seconds * RATE)]
    return (0.5 * out / np.abs(out).max()).astype(np.float32)


def speech(seed: int, seconds: float) -> Wave:
    """Speech-like: a gliding, breathing voice through moving formants, in syllables, with hissed consonants."""
    rng = np.random.default_rng(seed)
    out = []
    total = 0
    pitch = rng.uniform(90, 220)
    while total < seconds * RATE:
        length = int(rng.uniform(0.1, 0.35) * RATE)
        t = np.arange(length) / RATE
        pitch = float(np.clip(pitch * rng.uniform(0.85, 1.18), 80, 300))
        phase = 2 * np.pi * np.cumsum(pitch * (1 + rng.uniform(-0.2, 0.2) * t / t[-1])) / RATE
        formants = rng.uniform([300, 900, 2200], [800, 2200, 3200])
        voiced = np.zeros(length)
        for k in range(1, int(4000 / pitch)):
            gain = sum(np.exp(-(((k * pitch - f) / 180) ** 2)) for f in formants) + 0.02
            voiced += gain / k**0.5 * np.sin(k * phase)
        hiss = np.diff(rng.normal(size=int(rng.uniform(0.03, 0.1) * RATE) + 1)) * 0.3
        pause = np.zeros(int(rng.choice([0.02, 0.05, 0.25], p=[0.6, 0.3, 0.1]) * RATE))
        out += [hiss, voiced * np.hanning(length), pause]
        total += len(hiss) + length + len(pause)
    wave = np.concatenate(out)[: int(seconds * RATE)]
    return (0.4 * wave / np.abs(wave).max()).astype(np.float32)


def noise(seed: int, seconds: float, colour: str = "pink") -> Wave:
    """Steady noise at an rms of 0.1."""
    rng = np.random.default_rng(seed)
    size = int(seconds * RATE)
    spectrum = np.fft.rfft(rng.normal(size=size))
    slope = {"white": 0.0, "pink": 0.5, "brown": 1.0}[colour]
    spectrum[1:] /= np.arange(1, len(spectrum)) ** slope
    spectrum[0] = 0.0
    wave = np.fft.irfft(spectrum, size)
    return (0.1 * wave / wave.std()).astype(np.float32)


def mix(sound: Wave, other: Wave, ratio_db: float) -> Wave:
    """`sound` with `other` under it, `ratio_db` below."""
    other = np.resize(other, len(sound))
    gain = sound.std() / other.std() * 10 ** (-ratio_db / 20)
    mixed = sound + gain * other
    return (0.7 * mixed / np.abs(mixed).max()).astype(np.float32)


def recode(wave: Wave, codec: str, container: str, bit_rate: int) -> Wave:
    """Through a real encoder and back to 16 kHz mono."""
    file = io.BytesIO()
    rate = 48_000 if codec == "libopus" else 44_100
    with av.open(file, "w", format=container) as out:
        stream = out.add_stream(codec, rate=rate, layout="mono")
        stream.bit_rate = bit_rate
        frame = av.AudioFrame.from_ndarray(wave.reshape(1, -1), format="flt", layout="mono")
        frame.sample_rate = RATE
        resampler = av.AudioResampler(stream.format.name, "mono", rate, frame_size=stream.codec_context.frame_size)
        for part in (*resampler.resample(frame), *resampler.resample(None)):
            out.mux(stream.encode(part))
        out.mux(stream.encode(None))
    file.seek(0)
    with av.open(file) as source:
        resampler = av.AudioResampler("flt", "mono", RATE)
        parts = [again for frame in source.decode(audio=0) for again in resampler.resample(frame)]
        parts += resampler.resample(None)
    return np.concatenate([part.to_ndarray().reshape(-1) for part in parts]).astype(np.float32)


def played(wave: Wave, start: float, seconds: float, speed: float = 1.0) -> Wave:
    """`seconds` of a sound from `start` on, faster (and as much higher) by resampling."""
    cut = wave[round(start * RATE) : round((start + seconds) * RATE)]
    ratio = Fraction(speed).limit_denominator(100)
    if ratio == 1:
        return cut
    return np.asarray(resample_poly(cut, ratio.denominator, ratio.numerator), dtype=np.float32)


@pytest.fixture(scope="session")
def tracks() -> dict[str, Wave]:
    """Eight songs of 30 s."""
    return {f"song-{seed}": track(seed) for seed in range(8)}


@pytest.fixture(scope="session")
def fingerprints(tracks: dict[str, Wave]) -> dict[str, Fingerprint]:
    """Of `tracks`."""
    return {name: Fingerprint.of(wave) for name, wave in tracks.items()}


@pytest.fixture(scope="session")
def songs(tmp_path_factory: pytest.TempPathFactory, fingerprints: dict[str, Fingerprint]) -> DiskIndex:
    """An index of `tracks`, in their order: song-3 is the view's sound 3."""
    index = DiskIndex(tmp_path_factory.mktemp("songs"))
    index.add((n, name, "song", name.upper(), fp) for n, (name, fp) in enumerate(fingerprints.items(), start=1))
    return index


@pytest.fixture(scope="session")
def make() -> dict[str, Callable[..., Wave]]:
    """The makers of sounds, for tests (a conftest cannot be imported)."""
    return {
        "track": track,
        "speech": speech,
        "noise": noise,
        "mix": mix,
        "recode": recode,
        "tone": tone,
        "played": played,
    }
