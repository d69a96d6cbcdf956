"""Sounds that pass for speech and in which no language is spoken, and other speech than the benchmark's own.

The negatives say how often a language is told of what has none; the speech serves to choose the threshold. The
`dev` half of both is for choosing, the `test` half of the negatives for the page.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.signal import butter, sosfiltfilt

from models.protocol import WAVEFORM_RATE

from .corpus import locate
from .hearing_speech import NOT_SPOKEN, PROMPTS, SAID, Asked, Wave, said
from .recordings import decode
from .report import table
from .truths import Item

BANDS_HZ = (100.0, 350.0, 800.0, 1600.0, 3200.0, 7000.0)
"""Edges of the noise vocoder's bands: so few that the melody is lost; listeners still follow some of it."""
ENVELOPE_HZ = 12.0
EVERY = 48
"""Prompts of which one is reversed, one vocoded."""
OTHERS = {
    "en": "The museum opens at nine and closes at six. My brother has bought a new bicycle and rides it to school.",
    "de": "Das Museum öffnet um neun und schließt um sechs. Mein Bruder hat ein neues Fahrrad gekauft und fährt damit"
    " zur Schule.",
    "fr": "Le musée ouvre à neuf heures et ferme à six heures. Mon frère a acheté un nouveau vélo et va avec à"
    " l'école.",
    "it": "Il museo apre alle nove e chiude alle sei. Mio fratello ha comprato una bicicletta nuova e ci va a scuola.",
    "es": "El museo abre a las nueve y cierra a las seis. Mi hermano ha comprado una bicicleta nueva y va con ella a la"
    " escuela.",
    "pt": "O museu abre às nove e fecha às seis. Meu irmão comprou uma bicicleta nova e vai com ela para a escola.",
    "pl": "Muzeum otwiera się o dziewiątej i zamyka o szóstej. Mój brat kupił nowy rower i jeździ nim do szkoły.",
    "ru": "Музей открывается в девять и закрывается в шесть. Мой брат купил новый велосипед и ездит на нём в школу.",
    "tr": "Müze saat dokuzda açılıyor ve altıda kapanıyor. Kardeşim yeni bir bisiklet aldı ve onunla okula gidiyor.",
    "sv": "Museet öppnar klockan nio och stänger klockan sex. Min bror har köpt en ny cykel och cyklar till skolan.",
}
"""What the threshold is chosen on, in each of `WAYS`."""
WAYS = (("", 130), ("+f3", 150), ("+m3", 165))
"""espeak-ng's variants of a voice, and words a minute."""


def other_speech() -> list[tuple[str, str, Wave]]:
    """Name, language and sound of the development sentences."""
    return [
        (f"{language}{variant}-{speed}", language, said(language, text, variant=variant, speed=speed, of="other"))
        for variant, speed in WAYS
        for language, text in OTHERS.items()
    ]


def negatives(half: str, effects: Iterable[Item]) -> list[tuple[str, Wave]]:
    """Name and sound: reversed and vocoded speech, babble, single words, laughing, crying, crowds, singing."""
    first = 0 if half == "dev" else EVERY // 2
    texts = OTHERS if half == "dev" else SAID
    paths = sorted(path for path in locate(PROMPTS).rglob("*.wav") if "silence" not in path.parts)
    waves = [decode(path, WAVEFORM_RATE) for path in paths[first::EVERY]]
    longer = [wave for wave in waves if len(wave) >= 2 * WAVEFORM_RATE]
    words = [wave for wave in waves if len(wave) < 1.2 * WAVEFORM_RATE]
    spoken = {
        language: said(language, text, of="other" if half == "dev" else "hearing") for language, text in texts.items()
    }
    found = [(f"reversed prompt {place}", wave[::-1].copy()) for place, wave in enumerate(longer)]
    found += [(f"reversed {language}", wave[::-1].copy()) for language, wave in spoken.items()]
    found += [(f"vocoded prompt {place}", vocoded(wave)) for place, wave in enumerate(longer)]
    found += [(f"vocoded {language}", vocoded(wave)) for language, wave in spoken.items()]
    found += [(f"word {place}", wave) for place, wave in enumerate(words[:8])]
    voices = list(spoken.values())
    for place in range(4):
        found.append(
            (f"babble {place}", babble([np.roll(wave, 4000 * at) for at, wave in enumerate(voices[place:][:6])]))
        )
    found += [
        (item.key, decode(item.path, WAVEFORM_RATE))
        for item in effects
        if item.half == half and NOT_SPOKEN & set(item.accept) and "Speech" not in item.accept
    ]
    return found


def vocoded(sound: Wave) -> Wave:
    """Noise in few bands that follow the bands' envelopes (Shannon et al. 1995)."""
    noise = np.random.default_rng(7).standard_normal(len(sound))
    smooth = butter(2, ENVELOPE_HZ, fs=WAVEFORM_RATE, output="sos")
    parts: list[npt.NDArray[np.float64]] = []
    for low, high in pairwise(BANDS_HZ):
        band = butter(4, (low, high), "band", fs=WAVEFORM_RATE, output="sos")
        envelope = np.maximum(sosfiltfilt(smooth, np.abs(sosfiltfilt(band, sound))), 0.0)
        parts.append(sosfiltfilt(band, noise) * envelope)
    made = np.sum(parts, axis=0)
    return np.asarray(made * (0.5 / max(float(np.abs(made).max()), 1e-9)), np.float32)


def babble(voices: list[Wave]) -> Wave:
    """All at once, as loud as each other."""
    length = min(len(wave) for wave in voices)
    mixed = np.sum([wave[:length] / max(float(wave.std()), 1e-9) for wave in voices], axis=0)
    return np.asarray(mixed * (0.5 / np.abs(mixed).max()), np.float32)


BARS = (0.5, 0.4, 0.3, 0.2)
"""Least probabilities of a language that are set side by side."""


def at_bars(speech: Sequence[Asked], without: Sequence[Asked]) -> list[dict[str, Any]]:
    """What each least probability would tell: of speech, right and wrong; of what has no language, at all."""
    rows = []
    for bar in BARS:
        told = [one for one in speech if one.guess is not None and one.guess_chance >= bar]
        rows.append(
            {
                "bar": bar,
                "right": sum(one.guess == one.truth for one in told),
                "wrong": sum(one.guess != one.truth for one in told),
                "without": sum(one.guess is not None and one.guess_chance >= bar for one in without),
            }
        )
    return rows


def section(data: dict[str, Any]) -> str:
    """The page's part."""
    hard = data["language_hard"]
    return "\n".join(
        (
            "### Guesses\n",
            f"Likeliest languages of what is not right: {data['language_guessed'] or 'none'}. What a lower least"
            f" probability would tell, of {hard['speech']} other readings of espeak-ng (other sentences, three voices,"
            f" the ten languages), and of {hard['without']} sounds in which no language is spoken, or one word alone"
            " (reversed and noise-vocoded speech, babble, words, laughing, crying, crowds, singing).\n",
            table(
                ("least probability", "speech told right", "told wrong", "told where there is none"),
                [(one["bar"], one["right"], one["wrong"], one["without"]) for one in hard["bars"]],
            ),
            f"Told where there is none, as it is: {data['language_hard_told'] or 'nothing'}.\n",
        )
    )
