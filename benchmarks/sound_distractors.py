"""Fingerprints of music that nobody asks about, to blow a catalogue up: real peak streams, cut up and moved.

Each is made of pieces of real tracks' peaks, from two seconds to a whole track long, played at another tempo and moved
to another pitch than any that a matcher tries, in any order. Within a piece pairs of peaks are those of real music: how
often each hash occurs, how crowded a second is, that pieces repeat themselves. What a piece comes from is not
recognised in it: a question about that track finds no shorter way to it than to any other.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from models.soundid.bass import BASS_RATE, WORD
from models.soundid.features import BIN_STEPS, BINS, Peaks
from models.soundid.fingerprint import Fingerprint
from models.soundid.proposals import STEPS_PER_SEMITONE
from models.soundid.whitening import SIGN_RATE

TEMPI = (0.72, 1.38)
SEMITONES = (3.5, 8.0)
"""A piece that is faster is lower and one that is slower is higher, by so much: far from every playing of the bank,
which changes tempo or pitch, or both in the same direction."""
PIECE_S = (2.0, 100.0)
SHARED_BYTES = 8_000_000
"""Random signs that all distractors' are cut from."""


def distractors(sources: Sequence[Fingerprint], number: int, seed: int) -> Iterator[Fingerprint]:
    """So many fingerprints, as long as the sources are; signs are random, and so is the bass."""
    rng = np.random.default_rng(seed)
    noise = rng.integers(0, 256, SHARED_BYTES, dtype=np.uint8)
    for _ in range(number):
        frames = sources[rng.integers(len(sources))].frames
        times, bins = _peaks(sources, frames, rng)
        duration = frames / 100
        size = int(duration * SIGN_RATE) // 8
        start = int(rng.integers(0, len(noise) - size))
        # Not the same bytes in two distractors, nor at the same place: rolled by other than whole bytes.
        signs = noise[start : start + size] ^ np.uint8(rng.integers(256))
        peaks = Peaks(times, bins, np.zeros(len(times), np.uint8))
        bass = rng.integers(0, 2**64, -(-int(duration * BASS_RATE) // WORD), dtype=np.uint64)
        yield Fingerprint(peaks, signs, frames, duration, duration, duration, bass)


def _peaks(
    sources: Sequence[Fingerprint], frames: int, rng: np.random.Generator
) -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.uint16]]:
    low, high = (np.log(edge) for edge in PIECE_S)
    times, bins = [], []
    at = 0
    while at < frames:
        size = int(100 * np.exp(rng.uniform(low, high)))
        tempo = float(np.exp(rng.uniform(*np.log(TEMPI))))
        steps = round(float(rng.uniform(*SEMITONES)) * STEPS_PER_SEMITONE) * (-1 if tempo > 1 else 1)
        source = sources[rng.integers(len(sources))].reference
        last = int(source.times[-1]) if len(source) else 0
        begin = int(rng.integers(0, max(1, last - size)))
        first, end = np.searchsorted(source.times, [begin, begin + int(size * tempo)])
        moved = at + np.floor((source.times[first:end] - begin) / tempo).astype(np.int64)
        high_enough = source.bins[first:end].astype(np.int64) + steps
        inside = (moved < frames) & (high_enough >= 0) & (high_enough < BINS * BIN_STEPS)
        times.append(moved[inside])
        bins.append(high_enough[inside])
        at += max(200, min(size, int((last - begin) / tempo)))
    return np.concatenate(times).astype(np.uint32), np.concatenate(bins).astype(np.uint16)
