"""The 521 AudioSet classes of YAMNet's scores, by display name (Gemmeke et al. 2017), and families of them."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

CLASSES_PATH = Path(__file__).with_name("audioset.txt")
"""One name a line, in the order of the scores. The same list as in the weights, so that a head needs no weights."""

SILENCE = "Silence"

SPEECH = (
    "Speech",
    "Child speech, kid speaking",
    "Conversation",
    "Narration, monologue",
    "Babbling",
    "Speech synthesizer",
    "Shout",
    "Yell",
    "Children shouting",
    "Whispering",
    "Chatter",
    "Hubbub, speech noise, speech babble",
)

SINGING = (
    "Singing",
    "Choir",
    "Yodeling",
    "Chant",
    "Mantra",
    "Child singing",
    "Synthetic singing",
    "Rapping",
    "Humming",
    "Vocal music",
    "A capella",
    "Opera",
)

INSTRUMENTS = (
    "Acoustic guitar",
    "Electric guitar",
    "Bass guitar",
    "Steel guitar, slide guitar",
    "Banjo",
    "Sitar",
    "Mandolin",
    "Zither",
    "Ukulele",
    "Piano",
    "Electric piano",
    "Organ",
    "Synthesizer",
    "Harpsichord",
    "Drum kit",
    "Drum machine",
    "Timpani",
    "Tabla",
    "Marimba, xylophone",
    "Glockenspiel",
    "Vibraphone",
    "Steelpan",
    "Orchestra",
    "French horn",
    "Trumpet",
    "Trombone",
    "String section",
    "Violin, fiddle",
    "Cello",
    "Double bass",
    "Flute",
    "Saxophone",
    "Clarinet",
    "Harp",
    "Harmonica",
    "Accordion",
    "Bagpipes",
    "Didgeridoo",
    "Theremin",
)

GENRES = (
    "Pop music",
    "Hip hop music",
    "Beatboxing",
    "Rock music",
    "Heavy metal",
    "Punk rock",
    "Grunge",
    "Progressive rock",
    "Rock and roll",
    "Psychedelic rock",
    "Rhythm and blues",
    "Soul music",
    "Reggae",
    "Country",
    "Swing music",
    "Bluegrass",
    "Funk",
    "Folk music",
    "Middle Eastern music",
    "Jazz",
    "Disco",
    "Classical music",
    "Opera",
    "Electronic music",
    "House music",
    "Techno",
    "Dubstep",
    "Drum and bass",
    "Electronica",
    "Electronic dance music",
    "Ambient music",
    "Trance music",
    "Music of Latin America",
    "Salsa music",
    "Flamenco",
    "Blues",
    "Music for children",
    "New-age music",
    "A capella",
    "Music of Africa",
    "Afrobeat",
    "Christian music",
    "Gospel music",
    "Music of Asia",
    "Carnatic music",
    "Music of Bollywood",
    "Ska",
    "Lullaby",
    "Christmas music",
)

MOODS = ("Happy music", "Sad music", "Tender music", "Exciting music", "Angry music", "Scary music")


@lru_cache(maxsize=1)
def class_names() -> tuple[str, ...]:
    """The names, in the order of the scores."""
    return tuple(CLASSES_PATH.read_text(encoding="utf-8").splitlines())


def indices(names: Iterable[str]) -> npt.NDArray[np.intp]:
    """Columns of the named classes in the scores.

    Raises:
        ValueError: no class has such a name.
    """
    return np.array([class_names().index(name) for name in names], dtype=np.intp)
