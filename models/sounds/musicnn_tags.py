"""The tags of musicnn's two networks, in the order of their outputs, and what tagfarm tells of them.

Listeners wrote them, so several mean the same, some say what a listener felt, and some say nothing of the sound: `TOLD`
has the ones that are told, under one name each.
"""

from __future__ import annotations

MAGNATAGATUNE = (
    "guitar", "classical", "slow", "techno", "strings", "drums", "electronic", "rock", "fast", "piano",
    "ambient", "beat", "violin", "vocal", "synth", "female", "indian", "opera", "male", "singing", "vocals",
    "no vocals", "harpsichord", "loud", "quiet", "flute", "woman", "male vocal", "no vocal", "pop", "soft",
    "sitar", "solo", "man", "classic", "choir", "voice", "new age", "dance", "male voice", "female vocal",
    "beats", "harp", "cello", "no voice", "weird", "country", "metal", "female voice", "choral",
)  # fmt: skip
MILLION_SONG = (
    "rock", "pop", "alternative", "indie", "electronic", "female vocalists", "dance", "00s",
    "alternative rock", "jazz", "beautiful", "metal", "chillout", "male vocalists", "classic rock", "soul",
    "indie rock", "Mellow", "electronica", "80s", "folk", "90s", "chill", "instrumental", "punk", "oldies",
    "blues", "hard rock", "ambient", "acoustic", "experimental", "female vocalist", "guitar", "Hip-Hop",
    "70s", "party", "country", "easy listening", "sexy", "catchy", "funk", "electro", "heavy metal",
    "Progressive rock", "60s", "rnb", "indie pop", "sad", "House", "happy",
)  # fmt: skip

NETWORKS = {"musicnn-mtt": MAGNATAGATUNE, "musicnn-msd": MILLION_SONG}
"""Weights to tags, in the order of an encoding's columns."""

COLUMNS = (*MAGNATAGATUNE, *MILLION_SONG)
TOLD = {
    # Instruments.
    "guitar": ("guitar",), "strings": ("strings",), "drums": ("drums",), "piano": ("piano",), "violin": ("violin",),
    "synthesizer": ("synth",), "harpsichord": ("harpsichord",), "flute": ("flute",), "sitar": ("sitar",),
    "harp": ("harp",), "cello": ("cello",), "choir": ("choir", "choral"), "acoustic": ("acoustic",),
    # Genres.
    "classical": ("classical", "classic"), "techno": ("techno",),
    "electronic": ("electronic", "electronica", "electro"), "rock": ("rock", "classic rock", "hard rock"),
    "ambient": ("ambient",), "opera": ("opera",), "pop": ("pop",), "new-age": ("new age",), "dance": ("dance",),
    "country": ("country",), "metal": ("metal", "heavy metal"), "jazz": ("jazz",), "indie": ("indie", "indie rock"),
    "soul": ("soul",), "folk": ("folk",), "punk": ("punk",), "blues": ("blues",), "hip hop": ("Hip-Hop",),
    "funk": ("funk",), "progressive rock": ("Progressive rock",), "r&b": ("rnb",), "house": ("House",),
    "experimental": ("experimental",),
    # Moods.
    "mellow": ("Mellow", "chillout", "chill"), "sad": ("sad",), "happy": ("happy",), "soft": ("soft",),
    "fast": ("fast",), "slow": ("slow",),
}  # fmt: skip
"""Name that is told to the listeners' words for it, in either network; the strongest speaks."""
VOCALS = (
    "vocal", "vocals", "singing", "voice", "female", "male", "male vocal", "female vocal", "male voice", "female voice",
    "woman", "man",
)  # fmt: skip
NO_VOCALS = ("no vocals", "no vocal", "no voice")
"""Both of MagnaTagATune alone."""
