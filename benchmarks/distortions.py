"""What happens to a sound on a platform: cut, re-encoded, talked over, played elsewhere, faster, slower, pitched.

Every distortion takes a recording, where an excerpt begins and how long the result is, and gives the result at the
recording's rate. All chance comes from the generator that is handed in.
"""

from __future__ import annotations

import io
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt
from scipy.io import wavfile
from scipy.signal import butter, fftconvolve, iirpeak, resample_poly, sosfilt, tf2sos

from .corpus import CorpusError
from .recordings import RATE, Wave, floats, speech, voices

BABBLE_SPEAKERS = 6
REVERB_S = 0.8
"""Time in which the reverberation falls by 60 dB, s."""

Rng = np.random.Generator
Change = Callable[[Wave, Rng], npt.NDArray[Any]]


@dataclass(frozen=True)
class Distortion:
    """A change of an excerpt.

    Attributes:
        change: of the excerpt's waveform; it MUST give `1 / speed` of its length.
        speed: tempo of the result against the recording's.
        semitones: pitch of the result against the recording's.
        codec: what the result is re-encoded with afterwards.
    """

    change: Change
    speed: float = 1.0
    semitones: float = 0.0
    codec: str | None = None

    def __call__(self, recording: npt.NDArray[np.int16], start: int, seconds: float, rng: Rng) -> Wave:
        """`seconds` of the recording, changed, from sample `start` on."""
        size = int(seconds * RATE)
        part = floats(recording[start : start + self.source_size(seconds)])
        wave = np.asarray(self.change(part, rng))[:size]
        loudest = float(np.abs(wave).max(initial=0.0))
        wave = (wave / loudest * 0.9 if loudest > 0.9 else wave).astype(np.float32)
        return encoded(wave, self.codec)[:size] if self.codec else wave

    def source_size(self, seconds: float) -> int:
        """Samples of the recording that a result of so many seconds takes."""
        return int(np.ceil(seconds * self.speed * RATE)) + 64


def at_ratio(sound: npt.NDArray[Any], other: npt.NDArray[Any], ratio_db: float) -> npt.NDArray[Any]:
    """Both together, `sound` so many dB above `other` (mean power over all of it)."""
    return sound + other * (np.std(sound) / (np.std(other) + 1e-12) * 10 ** (-ratio_db / 20))


def piece(samples: npt.NDArray[np.int16], size: int, rng: Rng, least: float = 0.02) -> Wave:
    """So many samples from somewhere, not silence."""
    for _ in range(200):
        at = int(rng.integers(0, len(samples) - size + 1))
        wave = floats(samples[at : at + size])
        if np.std(wave) > least:
            return wave
    return wave


def pink(size: int, rng: Rng) -> npt.NDArray[Any]:
    """Pink noise: equal power in each octave."""
    spectrum = np.fft.rfft(rng.normal(size=size))
    spectrum[1:] /= np.sqrt(np.arange(1, len(spectrum)))
    spectrum[0] = 0.0
    return np.fft.irfft(spectrum, size)


def babble(size: int, rng: Rng) -> npt.NDArray[Any]:
    """Several people talking at once: recorded prompts and synthetic voices."""
    sources = [speech() if number % 2 else voices() for number in range(BABBLE_SPEAKERS)]
    return np.sum([piece(source, size, rng) for source in sources], axis=0)


def talk(size: int, rng: Rng) -> npt.NDArray[Any]:
    """One person talking."""
    return piece(speech(), size, rng)


def reverb(wave: Wave, rng: Rng) -> npt.NDArray[Any]:
    """A room: the direct sound and exponentially falling noise."""
    size = int(REVERB_S * RATE)
    tail = rng.normal(size=size) * np.exp(-6.908 * np.arange(size) / size)
    tail *= 1.0 / np.sqrt(np.sum(tail**2))
    tail[0] += 1.0
    return fftconvolve(wave, tail)[: len(wave)]


def phone(wave: Wave, rng: Rng) -> npt.NDArray[Any]:
    """A phone's speaker: 350 to 3,500 Hz with a resonance, driven into clipping."""
    band = sosfilt(butter(4, [350, 3500], "bandpass", fs=RATE, output="sos"), wave)
    band = band + 1.5 * sosfilt(tf2sos(*iirpeak(1400, 4, fs=RATE)), band)
    return np.tanh(3 * band / (np.abs(band).max() + 1e-9))


def resampled(wave: Wave, speed: float) -> npt.NDArray[Any]:
    """Played faster or slower, pitch and all."""
    ratio = Fraction(speed).limit_denominator(1000)
    return resample_poly(wave, ratio.denominator, ratio.numerator)


def rubber_band(wave: Wave, tempo: float = 1.0, semitones: float = 0.0) -> npt.NDArray[Any]:
    """Tempo without pitch, or pitch without tempo, as Rubber Band makes it."""
    program = shutil.which("rubberband")
    if program is None:
        raise CorpusError("rubberband", "not installed; on Debian: apt-get install rubberband-cli")
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, "in.wav"), Path(folder, "out.wav")
        wavfile.write(source, RATE, wave.astype(np.float32))
        command = [program, "-q", "-T", str(tempo), "-p", str(semitones), str(source), str(target)]
        subprocess.run(command, check=True, capture_output=True)
        made = wavfile.read(target)[1]
    return made.astype(np.float32) / (32767 if made.dtype == np.int16 else 1)


def encoded(wave: npt.NDArray[Any], codec: str, bit_rate: int = 64_000) -> Wave:
    """Through an encoder and its decoder: `aac`, `libmp3lame` or `libopus`. Aligned with what went in."""
    kind = {"aac": "mp4", "libmp3lame": "mp3", "libopus": "ogg"}[codec]
    buffer = io.BytesIO()
    with av.open(buffer, "w", format=kind) as target:
        stream = target.add_stream(codec, rate=RATE if codec != "libopus" else 48_000)
        stream.bit_rate = bit_rate
        stream.layout = "mono"
        frame = av.AudioFrame.from_ndarray(wave.astype(np.float32)[None, :], format="flt", layout="mono")
        frame.sample_rate = RATE
        for packet in (*stream.encode(frame), *stream.encode(None)):
            target.mux(packet)
    buffer.seek(0)
    parts = []
    with av.open(buffer) as source:
        resampler = av.AudioResampler("flt", "mono", RATE)
        for again in (*source.decode(audio=0), None):
            parts += [made.to_ndarray().reshape(-1) for made in resampler.resample(again)]
    return np.concatenate(parts).astype(np.float32)


def under(other: Callable[[int, Rng], npt.NDArray[Any]], ratio_db: float) -> Change:
    """With something else, the sound so many dB above it."""
    return lambda wave, rng: at_ratio(wave, other(len(wave), rng), ratio_db)


def _whole_chain(wave: Wave, rng: Rng) -> npt.NDArray[Any]:
    fast = resampled(wave, 1.25)
    return at_ratio(fast, talk(len(fast), rng), -3.0)


def conditions() -> dict[str, Distortion]:
    """The table's rows, by name."""
    made = {
        "clean": Distortion(lambda wave, rng: wave),
        "MP3 64k": Distortion(lambda wave, rng: wave, codec="libmp3lame"),
        "AAC 64k": Distortion(lambda wave, rng: wave, codec="aac"),
    }
    made |= {f"pink noise {level} dB": Distortion(under(pink, level)) for level in (10, 5, 0)}
    made |= {f"babble {level} dB": Distortion(under(babble, level)) for level in (10, 5, 0)}
    made |= {
        "music 6 dB under speech": Distortion(under(talk, -6.0)),
        "reverb": Distortion(reverb),
        "phone speaker": Distortion(phone),
    }
    for speed in (0.80, 0.90, 1.10, 1.25):
        semitones = 12 * float(np.log2(speed))
        made[f"speed x {speed:.2f}"] = Distortion(lambda w, r, s=speed: resampled(w, s), speed, semitones)  # type: ignore[misc]
    for tempo in (0.90, 1.10):
        made[f"tempo x {tempo:.2f}"] = Distortion(lambda w, r, t=tempo: rubber_band(w, tempo=t), tempo)  # type: ignore[misc]
    for shift in (-2, -1, 1, 2):
        made[f"pitch {shift:+d} semitones"] = Distortion(
            lambda w, r, p=shift: rubber_band(w, semitones=p),  # type: ignore[misc]
            semitones=shift,
        )
    made["whole chain"] = Distortion(_whole_chain, 1.25, 12 * float(np.log2(1.25)), codec="aac")
    return made
