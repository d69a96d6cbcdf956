"""Spoken language: recorded prompts, espeak-ng in ten languages, and sounds in which nobody speaks."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from rich.progress import track
from scipy.signal import resample_poly

from models.protocol import WAVEFORM_RATE, Encoder, Evidence
from models.sounds.speech import SpeechTagger, spoken_language
from models.sounds.whisper import LEAST_SPEECH_S
from models.sounds.whisper_languages import LANGUAGES, TOLD, UNSPOKEN

from .corpus import CorpusError, corpus_root, locate
from .recordings import RATE as STORED_RATE
from .recordings import decode, floats, tracks
from .truths import Item

Wave = npt.NDArray[np.float32]

PROMPTS = "asterisk-core-sounds-en-wav"
PROMPT_S = 2.0
"""Prompts at least so long: single words and letters are no speech that a language shows in."""
EVERY = 16
"""Prompts of which one is asked."""
WORDS_A_MINUTE = 140
SAID = {
    "en": "Good morning, the train to London leaves from platform four in ten minutes. I would like a cup of"
    " coffee and a"
    " piece of cake, please. Yesterday we walked along the river until it began to rain.",
    "de": "Guten Morgen, der Zug nach Berlin fährt in zehn Minuten von Gleis vier ab. Ich hätte gerne eine Tasse"
    " Kaffee und"
    " ein Stück Kuchen, bitte. Gestern sind wir am Fluss entlang gegangen, bis es zu regnen begann.",
    "fr": "Bonjour, le train pour Paris part du quai numéro quatre dans dix minutes. Je voudrais une tasse de"
    " café et une"
    " part de gâteau, s'il vous plaît. Hier nous avons marché le long de la rivière jusqu'à ce qu'il pleuve.",
    "it": "Buongiorno, il treno per Milano parte dal binario quattro fra dieci minuti. Vorrei una tazza di caffè"
    " e una fetta"
    " di torta, per favore. Ieri abbiamo camminato lungo il fiume finché non ha cominciato a piovere.",
    "es": "Buenos días, el tren para Madrid sale del andén cuatro dentro de diez minutos. Quisiera una taza de"
    " café y un"
    " trozo de pastel, por favor. Ayer caminamos a lo largo del río hasta que empezó a llover.",
    "pt": "Bom dia, o trem para o Rio sai da plataforma quatro em dez minutos. Eu gostaria de uma xícara de café e um"
    " pedaço de bolo, por favor. Ontem caminhamos ao longo do rio até começar a chover.",
    "pl": "Dzień dobry, pociąg do Warszawy odjeżdża z peronu czwartego za dziesięć minut. Poproszę filiżankę"
    " kawy i kawałek"
    " ciasta. Wczoraj szliśmy wzdłuż rzeki, aż zaczęło padać.",
    "ru": "Доброе утро, поезд до Москвы отправляется с четвёртой платформы через десять минут. Я хотел бы чашку"
    " кофе и кусок"
    " торта, пожалуйста. Вчера мы гуляли вдоль реки, пока не начался дождь.",
    "tr": "Günaydın, Ankara treni on dakika sonra dördüncü perondan kalkıyor. Bir fincan kahve ve bir dilim"
    " pasta istiyorum,"
    " lütfen. Dün yağmur başlayana kadar nehir boyunca yürüdük.",
    "sv": "God morgon, tåget till Stockholm avgår från spår fyra om tio minuter. Jag skulle vilja ha en kopp"
    " kaffe och en"
    " bit tårta, tack. Igår gick vi längs floden tills det började regna.",
}
VOICES = {"pt": "pt-br", "no": "nb", "zh": "cmn"}
NOT_SPOKEN = frozenset(
    {"Speech", "Laughter", "Crying, sobbing", "Baby cry, infant cry", "Singing", "Cheering", "Crowd", "Applause"}
)
"""An effect whose truth names one of them may hold a voice."""


@dataclass(frozen=True)
class Asked:
    """What was told of one sound. `truth` None: nobody speaks."""

    name: str
    truth: str | None
    told: str | None
    spoken_s: float
    guess: str | None = None
    """The likeliest language, however unlikely; None with too little speech."""
    guess_chance: float = 0.0


def ask(name: str, truth: str | None, sound: Wave, encoders: Sequence[Encoder]) -> Asked:
    """Put a sound through the speech head's encoders, and the head."""
    seconds = len(sound) / WAVEFORM_RATE
    evidence = Evidence(seconds, np.zeros((0, 1, 1, 3), np.uint8), np.zeros(0), (), sound, has_audio=True)
    for encoder in encoders:
        evidence = replace(evidence, encodings={**evidence.encodings, encoder.name: encoder.encode(evidence)})
    told = SpeechTagger(language=True).tag(evidence)
    spoken_s = sum(end - start for start, end in told["ranges"])
    whisper = evidence.encodings["whisper"]
    guess = spoken_language(whisper, 0.0)
    return Asked(name, truth, told["language"], spoken_s, guess, chance_of(guess, whisper.scores))


def chance_of(language: str | None, scores: npt.NDArray[np.float32]) -> float:
    """The probability of a language, as the speech head holds it against its threshold."""
    if language is None:
        return 0.0
    row = dict(zip(LANGUAGES, scores[0].tolist(), strict=True))
    heard = {name: value for name, value in row.items() if name not in UNSPOKEN}
    mine = sum(value for name, value in heard.items() if TOLD.get(name, name) == language)
    unspoken = sum(value for name, value in row.items() if name in UNSPOKEN)
    return round(mine / max(1.0 - unspoken, 1e-9), 3)


def prompts(encoders: Sequence[Encoder]) -> list[Asked]:
    """Recorded English."""
    found = []
    paths = sorted(path for path in locate(PROMPTS).rglob("*.wav") if "silence" not in path.parts)
    waves = [(path.stem, decode(path, WAVEFORM_RATE)) for path in paths]
    longer = [(name, wave) for name, wave in waves if len(wave) >= PROMPT_S * WAVEFORM_RATE]
    for name, wave in track(longer[::EVERY], description="prompts"):
        found.append(ask(name, "en", wave, encoders))
    return found


def said(language: str, text: str, *, variant: str = "", speed: int = WORDS_A_MINUTE, of: str = "hearing") -> Wave:
    """What espeak-ng makes of a text; kept in the corpus' folder."""
    program = shutil.which("espeak-ng")
    if program is None:
        raise CorpusError("espeak-ng", "not installed; on Debian: apt-get install espeak-ng")
    folder = corpus_root() / "spoken"
    folder.mkdir(parents=True, exist_ok=True)
    way = "" if (variant, speed) == ("", WORDS_A_MINUTE) else f"{variant}-{speed}"
    path = folder / f"{of}-1-{language}{way}.wav"
    if not path.is_file():
        voice = VOICES.get(language, language) + variant
        command = [program, "-v", voice, "-s", str(speed), "-w", str(path), "--", text]
        subprocess.run(command, check=True, capture_output=True)
    return decode(path, WAVEFORM_RATE)


def synthesised(encoders: Sequence[Encoder]) -> list[Asked]:
    """What espeak-ng says."""
    return [
        ask(language, language, said(language, text), encoders)
        for language, text in track(SAID.items(), description="espeak-ng")
    ]


def not_speech(effects: Iterable[Item], encoders: Sequence[Encoder]) -> list[Asked]:
    """Music and effects."""
    found = []
    music = list(tracks(("ufoai-music", "wesnoth-1.16-music", "supertux-data"), 60.0).items())[::8]
    for name, wave in track(music, description="music"):
        excerpt = floats(wave[20 * STORED_RATE : 35 * STORED_RATE])
        found.append(ask(name, None, resample_poly(excerpt, WAVEFORM_RATE, STORED_RATE).astype(np.float32), encoders))
    for item in track(list(effects)[::2], description="effects"):
        if not NOT_SPOKEN & set(item.accept):
            found.append(ask(item.key, None, decode(item.path, WAVEFORM_RATE), encoders))
    return found


def shares(asked: Sequence[Asked]) -> dict[str, Any]:
    """Shares right: of all, and of those that were told."""
    told = [one for one in asked if one.told is not None]
    return {
        "asked": len(asked),
        "told": len(told),
        "right": round(float(np.mean([one.told == one.truth for one in asked])), 4) if asked else None,
        "right_where_told": round(float(np.mean([one.told == one.truth for one in told])), 4) if told else None,
        "too_little_speech": sum(one.spoken_s < LEAST_SPEECH_S for one in asked),
    }
