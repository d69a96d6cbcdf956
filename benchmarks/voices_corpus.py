"""Voices whose language is known: espeak-ng reading descriptions in 52 languages, people reading them in nine, and
sounds that pass for speech and have no language.

The words are the descriptions of tuxpaint's stamps, which volunteers translated, and for nine languages read aloud.
A description belongs to the half that its stamp's name says, in every language.
"""

from __future__ import annotations

import hashlib
import random
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from models.protocol import WAVEFORM_RATE

from .corpus import locate
from .hearing_events import pink
from .hearing_hard import babble, vocoded
from .hearing_speech import EVERY, PROMPT_S, PROMPTS, Wave, said
from .recordings import decode
from .truths import Half, half_of

SOURCE = "tuxpaint-stamps-default"
READ = (
    "af", "am", "ar", "be", "bg", "ca", "cs", "cy", "da", "de", "el", "en", "es", "eu", "fa", "fi", "fr", "gu", "he",
    "hi", "hr", "hu", "hy", "id", "is", "it", "ja", "ka", "ko", "lt", "lv", "mk", "ml", "ms", "nl", "no", "pl", "pt",
    "ro", "ru", "sk", "sl", "sq", "sr", "sv", "sw", "ta", "th", "tr", "uk", "vi", "zh",
)  # fmt: skip
"""Languages that tuxpaint is translated into, espeak-ng reads and Whisper knows."""
WRITTEN = {"en": "", "pt": "pt_BR", "no": "nb", "zh": "zh_CN"}
"""tuxpaint's names of them, where they are others; English is the first line."""
RECORDED = ("be", "bg", "ca", "da", "el", "es", "fr", "ro", "ru")
VARIANTS = ("", "+f1", "+f2", "+f4", "+f5", "+m1", "+m2", "+m4", "+m5", "+m6", "+m7", "+klatt2", "+klatt4", "+steph")
"""espeak-ng's variants of a voice. `+f3` and `+m3` are left for `hearing_hard`."""
ACCENTS = {"en": ("", "-us", "-gb-scotland")}
"""espeak-ng's voices of a language beside the first; each reads as much as that does."""
WORDS_A_MINUTE = (120, 130, 150, 165, 180)
LETTERS = (36, 72, 108, 144)
"""Least length of what is read."""
CLIP_S = 8.0
"""Least length of a clip of recorded descriptions."""
MOST_CLIPS = 20
"""Of a language and a half."""
PAUSE_S = 0.2
LONGEST_S = 30.0
PROMPTS_EVERY = 4
TRANSLATION = re.compile(r"([\w@]+)\.utf8=(.+)")


@dataclass(frozen=True)
class Voice:
    """A sound, and the language that is spoken in it; None: none."""

    name: str
    group: str
    """Clips of one group are never on both sides of a fold."""
    language: str | None
    sound: Wave


@cache
def descriptions(half: Half) -> dict[str, list[str]]:
    """By language, what the stamps of a half are called; what was left in English is left out."""
    found: dict[str, list[str]] = defaultdict(list)
    written = {WRITTEN.get(language, language): language for language in READ}
    for path in sorted(locate(SOURCE).rglob("*.txt")):
        first, *others = path.read_text(encoding="utf-8", errors="replace").splitlines() or [""]
        if half_of(path.stem) != half or "=" in first:
            continue
        found["en"].append(first.strip())
        for line in others:
            match = TRANSLATION.match(line)
            if match and match[1] in written and match[2].strip() != first.strip():
                found[written[match[1]]].append(match[2].strip())
    return found


def readings(each: int) -> Iterator[Voice]:
    """What espeak-ng reads of the dev half's descriptions; a third of it through noise, a telephone's band or echo."""
    spoken = [(language, accent) for language in READ for accent in ACCENTS.get(language, ("",))]
    for language, accent in spoken:
        for number in range(each):
            rng = random.Random(f"{language}{accent} {number}")
            texts, least, text = descriptions("dev")[language], rng.choice(LETTERS), ""
            while len(text) < least:
                text = f"{text} {rng.choice(texts)}".strip()
            variant, speed = rng.choice(VARIANTS), rng.choice(WORDS_A_MINUTE)
            sound = said(language, text, variant=accent + variant, speed=speed, of=f"voices-{number}")
            sound = worn(sound, rng) if rng.random() < 1 / 3 else sound
            yield Voice(f"{language}{accent}{variant}-{number}", f"espeak-ng{variant}", language, sound[: limit()])


def worn(sound: Wave, rng: random.Random) -> Wave:
    """With noise under it, through a telephone's band, or in a room."""
    way = rng.choice(("noise", "telephone", "room"))
    noise = np.random.default_rng(rng.getrandbits(32))
    level = max(float(sound.std()), 1e-6)
    if way == "noise":
        bed = pink(len(sound), noise)
        return np.asarray(sound + bed * (level / bed.std() * 10 ** (-rng.uniform(12, 25) / 20)), np.float32)
    if way == "telephone":
        spectrum, hertz = np.fft.rfft(sound), np.fft.rfftfreq(len(sound), 1 / WAVEFORM_RATE)
        spectrum[(hertz < 300) | (hertz > 3400)] = 0
        return np.fft.irfft(spectrum, len(sound)).astype(np.float32)
    seconds = rng.uniform(0.15, 0.4)
    time = np.arange(round(seconds * WAVEFORM_RATE)) / WAVEFORM_RATE
    tail = noise.standard_normal(len(time)) * np.exp(-6.9 * time / seconds)
    tail[0] = 3.0
    echoed = np.fft.irfft(np.fft.rfft(sound, 1 << 20) * np.fft.rfft(tail, 1 << 20))[: len(sound)]
    return np.asarray(echoed * (level / max(float(echoed.std()), 1e-9)), np.float32)


def recorded(half: Half) -> Iterator[Voice]:
    """People: the descriptions of a half in nine languages, several to a clip, and English prompts.

    The prompts that `benchmarks.hearing` asks are in neither half.
    """
    seen: set[bytes] = set()
    files: dict[str, list[Path]] = defaultdict(list)
    for path in sorted(locate(SOURCE).rglob("*_desc_*.ogg")):
        digest = hashlib.sha256(path.read_bytes()).digest()
        name, _, language = path.stem.partition("_desc_")
        if digest not in seen and language in RECORDED and half_of(name) == half:
            files[language].append(path)
        seen.add(digest)
    for language in RECORDED:
        random.Random(language).shuffle(files[language])
        clip: list[Wave] = []
        number = 0
        for path in files[language]:
            if number == MOST_CLIPS:
                break
            clip += [decode(path, WAVEFORM_RATE), np.zeros(round(PAUSE_S * WAVEFORM_RATE), np.float32)]
            if sum(map(len, clip)) >= CLIP_S * WAVEFORM_RATE:
                yield Voice(f"{language} {number}", f"recorded {language}", language, np.concatenate(clip)[: limit()])
                clip, number = [], number + 1
    for name, wave in prompts(half)[::PROMPTS_EVERY]:
        yield Voice(name, "recorded en", "en", wave)


def prompts(half: Half) -> list[tuple[str, Wave]]:
    """Recorded English of a half that `benchmarks.hearing` does not ask."""
    paths = sorted(path for path in locate(PROMPTS).rglob("*.wav") if "silence" not in path.parts)
    waves = [(path.stem, decode(path, WAVEFORM_RATE)) for path in paths]
    longer = [one for one in waves if len(one[1]) >= PROMPT_S * WAVEFORM_RATE]
    return [one for place, one in enumerate(longer) if place % EVERY and half_of(one[0]) == half]


def nobody(spoken: list[Voice]) -> Iterator[Voice]:
    """Voices reversed, vocoded, and six at once: no language can be told."""
    for place, voice in enumerate(spoken):
        if place % 3 == 0:
            yield Voice(f"reversed {voice.name}", voice.group, None, voice.sound[::-1].copy())
        elif place % 3 == 1:
            yield Voice(f"vocoded {voice.name}", voice.group, None, vocoded(voice.sound))
        else:
            others = [other.sound for other in (spoken * 2)[place : place + 6]]
            if min(map(len, others)) >= WAVEFORM_RATE:
                yield Voice(f"babble {voice.name}", voice.group, None, babble(others))


def limit() -> int:
    """Samples of a clip at most."""
    return round(LONGEST_S * WAVEFORM_RATE)
