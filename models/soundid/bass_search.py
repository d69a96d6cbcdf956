"""Where in a catalogue the bass of an upload is found: compared with every place there is, without any index.

At the right place it tells a track from any other; whether it is the same recording is for `coherence` to say.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from models.soundid.bass import BASS_RATE, WORD, Bass
from models.soundid.features import HOP_S
from models.soundid.jit import compiled
from models.soundid.view import BassLine

SAMPLES_PER_FRAME = BASS_RATE * HOP_S
MOST_WORDS = int(24 * 3600 * BASS_RATE) // WORD
"""A day of sound is compared on a CPU, 2.7 MB: the time that it takes grows with the catalogue, and no other step's
does."""
MIN_SAMPLES = 250
"""Two seconds: of less an upload is not asked about."""
STANDS_OUT = 2.0
"""Power from which on an alignment is proposed, in units of what one of `CHANCE` words of a catalogue has by chance."""
CHANCE = 1000
LEAST_CHANCE = 10.0
"""Random bits have so much, in units of the mean: ln(`CHANCE` words of 16 places that differ)."""
PROPOSED = 4
"""Alignments that are proposed at most."""
APART = 50.0
"""Frames to either side of a better place in which no other of the same sound is looked for."""


@dataclass(frozen=True)
class Heard:
    """A place in the catalogue at which the bass of an upload stands out.

    Attributes:
        power: of the correlation, in units of chance, see `STANDS_OUT`.
        sound: number in the view.
        offset: frame of the sound at the upload's beginning.
    """

    power: float
    sound: int
    offset: float


@dataclass(frozen=True)
class Question:
    """A part of an upload.

    Attributes:
        first: its first complex sample.
        samples: how many it has.
        forms: uint64 [2, words, `WORD`], its words at each shift, and a quarter of a turn on.
    """

    first: int
    samples: int
    forms: npt.NDArray[np.uint64]


@dataclass(frozen=True)
class Strongest:
    """The places of a line at which the power is greatest, the greatest first.

    A place is where a word of the upload would lie: place k is word k of the line less the words that are asked.

    Attributes:
        places: int64 [places].
        power: float64 [places], the greatest of the `WORD` samples of each.
        shift: int64 [places], which of them.
        all: places that there are.
    """

    places: npt.NDArray[np.int64]
    power: npt.NDArray[np.float64]
    shift: npt.NDArray[np.int64]
    all: int


class Comparison(Protocol):
    """Compares an upload with everywhere on a line. MUST be safe to call from many threads."""

    @property
    def most_words(self) -> int:
        """Words of a catalogue that it is asked to compare."""

    def __call__(self, line: BassLine, forms: npt.NDArray[np.uint64], most: int) -> Strongest:
        """The `most` places with the greatest power.

        Args:
            line: the catalogue.
            forms: see `Question`.
            most: places that are wanted.
        """


def search(line: BassLine, played: Bass, low: float, high: float, compare: Comparison) -> list[Heard]:
    """Where in the catalogue frames [low, high) of an upload stand out by their bass, as they are, the best first.

    Args:
        line: the catalogue's bass.
        played: the upload's.
        low: first frame.
        high: last frame, which is not of it.
        compare: how they are compared.
    """
    question = asked(played, low, high)
    if question is None or len(line.sounds) == 0:
        return []
    words = question.forms.shape[1]
    most = len(line.words) // CHANCE + int(np.diff(line.starts).max()) + 1
    strongest = compare(line, question.forms, most)
    # By the middle of the upload it is told which sound a place is in.
    middle = strongest.places - words - 1 + question.samples // 2 // WORD
    within = np.searchsorted(line.starts, middle, side="right") - 1
    known = (within >= 0) & (within < len(line.sounds))
    within = np.clip(within, 0, len(line.sounds) - 1)
    sounds = np.where(known, line.sounds[within], -1)
    begins = (strongest.places - words - 1) * WORD + 1 + strongest.shift
    offsets = (begins - question.first - line.starts[within] * WORD) / SAMPLES_PER_FRAME
    return outstanding(strongest.power, sounds, offsets, strongest.all // CHANCE, question)


def asked(played: Bass, low: float, high: float) -> Question | None:
    """Frames [low, high) of an upload, ready to be compared; None: too little."""
    first = round(low * SAMPLES_PER_FRAME)
    bits = np.unpackbits(played.astype("<u8").view(np.uint8), bitorder="little")
    bits = bits[2 * first : 2 * round(high * SAMPLES_PER_FRAME)]
    if len(bits) < 2 * MIN_SAMPLES:
        return None
    turned = np.stack([1 - bits[1::2], bits[::2]], axis=1).reshape(-1)
    return Question(first, len(bits) // 2, np.stack([_shifted(bits), _shifted(turned)]))


def outstanding(
    power: npt.NDArray[Any],
    sounds: npt.NDArray[np.int64],
    offsets: npt.NDArray[np.float64],
    rank: int,
    question: Question,
) -> list[Heard]:
    """The places that stand out, of one sound not the same twice.

    Args:
        power: of places, the greatest first.
        sounds: that they are in; -1: in none.
        offsets: frame of the sound at the upload's beginning.
        rank: of the greatest power that chance has, among those of other sounds than the first place's.
        question: what was asked.
    """
    if len(power) == 0:
        return []
    others = power[sounds != sounds[0]]
    mean = 2 * 64 * question.forms.shape[1]
    chance = max(LEAST_CHANCE * mean, float(others[rank]) if rank < len(others) else 0.0)
    found: list[Heard] = []
    for one, sound, offset in zip(power, sounds, offsets, strict=True):
        if one < STANDS_OUT * chance or len(found) == PROPOSED:
            break
        if sound >= 0 and not any(sound == other.sound and abs(offset - other.offset) < APART for other in found):
            found.append(Heard(float(one) / chance, int(sound), float(offset)))
    return found


def _shifted(bits: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint64]:
    """uint64 [words, `WORD`]: whole words of the bits, those at n beginning `WORD` - 1 - n samples after the first."""
    words = (len(bits) - 2 * (WORD - 1)) // 64
    begins = [2 * (WORD - 1 - shift) for shift in range(WORD)]
    packed = np.packbits([bits[begin : begin + 64 * words] for begin in begins], axis=1, bitorder="little")
    return np.ascontiguousarray(packed.view("<u8").T).astype(np.uint64)


class CountedBits:
    """On the CPU: bits that differ are counted. 4 ms for an hour of sound and 8 s of an upload."""

    most_words = MOST_WORDS

    def __call__(self, line: BassLine, forms: npt.NDArray[np.uint64], most: int) -> Strongest:
        """See `Comparison`."""
        # An upload may begin before a sound does, and end after it.
        around = np.zeros(forms.shape[1], dtype=np.uint64)
        power, shift = _powers(np.concatenate([around, line.words, around]), forms)
        most = min(most, len(power))
        places = np.argpartition(power, -most)[-most:]
        places = places[np.argsort(-power[places], kind="stable")]
        return Strongest(places, power[places].astype(np.float64), shift[places], len(power))


@compiled
def bits_in(word: np.uint64) -> np.uint64:
    """How many of its bits are set. Compilers know this for a count, and processors have an instruction for that."""
    pairs = word - ((word >> np.uint64(1)) & np.uint64(0x5555555555555555))
    fours = (pairs & np.uint64(0x3333333333333333)) + ((pairs >> np.uint64(2)) & np.uint64(0x3333333333333333))
    eights = (fours + (fours >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
    return (eights * np.uint64(0x0101010101010101)) >> np.uint64(56)


@compiled
def _powers(
    line: npt.NDArray[np.uint64], forms: npt.NDArray[np.uint64]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """For each word of the line the greatest power of those of the shifts that begin there, and which."""
    _, size, shifts = forms.shape
    bits = 64 * size
    places = len(line) - size + 1
    power, shift = np.zeros(places, np.int64), np.zeros(places, np.int64)
    differing = np.zeros((2, shifts), np.uint64)
    for place in range(places):
        differing[:] = 0
        for word in range(size):
            here = line[place + word]
            for form in range(2):
                for by in range(shifts):
                    differing[form, by] += bits_in(here ^ forms[form, word, by])
        for by in range(shifts):
            real = bits - 2 * np.int64(differing[0, by])
            imaginary = bits - 2 * np.int64(differing[1, by])
            both = real * real + imaginary * imaginary
            if both > power[place]:
                power[place], shift[place] = both, by
    return power, shift
