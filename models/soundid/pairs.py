"""Pairs of peaks and what they hash to (Wang 2003): band of the first, interval to the second, time between them.

A pair needs two peaks to live through the noise; triples (Panako, Olaf) survive a change of speed unaided, but need
three. Speed, pitch and tempo are met from the other side: a query's peaks are moved to where they would be in the
catalogue if the upload was played so, and hashed there. A catalogue is hashed as it is; a query also takes the
neighbouring cell where a value lies near an edge.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from models.soundid.features import BIN_STEPS, BINS, REFERENCE_RANK, Peaks
from models.soundid.jit import compiled

MIN_GAP, MAX_GAP = 3, 100
"""Frames between the peaks of a pair: 30 ms to 1 s."""
MAX_INTERVAL = 24
"""Bands between the peaks of a pair: eight semitones up or down."""
FAN_OUT = 4
"""Pairs that a peak begins in a catalogue, the nearest in time. A query makes every pair: it has these among them."""
BAND_CELL = 1.0
"""Width of a hash's cells of the first peak's band, bands: a third of a semitone."""
INTERVAL_CELL = 0.5
"""Width of its cells of the interval, bands: a sixth of a semitone."""
EDGE = 0.25
"""How close to a cell's edge, in cells, a query also takes the neighbour."""
LINEAR_GAP = 16
"""Below this the time cells are one frame wide, above it they grow by `GAP_RATIO`."""
GAP_RATIO = 1.06
INTERVAL_BITS, GAP_BITS = 7, 6
HASH_BITS = 21
"""Width of a hash: 8 bits of band, 7 of interval, 6 of time."""

# How likely a query's pair is the catalogue's own, relative to the likeliest: measured on real music under noise,
# speech and other playings (docs/design/0002, "Scale"), and rounded.
LIKELY_RANK, RANK_WORTH = 4, 0.75
"""A peak that more neighbours exceed is worth so much less for each of them: the catalogue may lack it."""
LIKELY_BETWEEN, BETWEEN_WORTH = 3, 0.45
"""So many strong peaks may lie between those of a pair; each more makes it so much less likely one of `FAN_OUT`."""
BAND_WORTH, INTERVAL_WORTH, GAP_WORTH = 0.25, 0.4, 0.35
"""What the neighbouring cell is worth."""

_ZERO_INTERVAL = 2 ** (INTERVAL_BITS - 1)
_HIGHEST = BINS * BIN_STEPS


def _gap_cells() -> npt.NDArray[np.int64]:
    gaps = np.maximum(np.arange(MAX_GAP + 3), 1)
    wide = LINEAR_GAP + np.floor(np.log(gaps / LINEAR_GAP) / np.log(GAP_RATIO))
    return np.where(gaps < LINEAR_GAP, gaps, wide).astype(np.int64)


_GAP_CELLS = _gap_cells()
_RANK_WORTHS = (RANK_WORTH ** np.maximum(np.arange(256) - LIKELY_RANK, 0)).astype(np.float32)
_BETWEEN_WORTHS = (BETWEEN_WORTH ** np.maximum(np.arange(64) - LIKELY_BETWEEN, 0)).astype(np.float32)


@dataclass(frozen=True)
class Pairs:
    """Hashed pairs of peaks, ascending by the first peak.

    Attributes:
        hashes: uint32 [n], below 2**`HASH_BITS`.
        anchors: int32 [n], index of the pair's first peak.
    """

    hashes: npt.NDArray[np.uint32]
    anchors: npt.NDArray[np.int32]


@dataclass(frozen=True)
class QueryPairs(Pairs):
    """Pairs of a query.

    Attributes:
        worth: float32 [n], how likely each is the catalogue's own, relative to the likeliest; over 0 to 1.
    """

    worth: npt.NDArray[np.float32]


def catalogue_pairs(peaks: Peaks) -> Pairs:
    """The pairs that a catalogue holds of a sound, about 110 a second of its strongest peaks."""
    return Pairs(*_catalogue(peaks.times.astype(np.int64), peaks.bins.astype(np.int64), _GAP_CELLS))


def query_pairs(
    times: npt.NDArray[np.float64], bins: npt.NDArray[np.float64], ranks: npt.NDArray[np.uint8]
) -> QueryPairs:
    """Every pair of a query's peaks.

    Args:
        times: float64 [peaks], where the peaks would be in the catalogue, frames, ascending.
        bins: float64 [peaks], and at which bands, steps of 1/`BIN_STEPS`.
        ranks: uint8 [peaks], how many neighbours exceed each, as in `Peaks`.
    """
    hashes, anchors, worth = _query(times, bins, ranks, _GAP_CELLS, _RANK_WORTHS, _BETWEEN_WORTHS)
    return QueryPairs(hashes, anchors, worth)


@compiled
def _catalogue(
    times: npt.NDArray[np.int64], bins: npt.NDArray[np.int64], cells: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.int32]]:
    size = len(times)
    hashes = np.empty(size * FAN_OUT, np.uint32)
    anchors = np.empty(size * FAN_OUT, np.int32)
    count = 0
    for first in range(size):
        begun = 0
        band = int(bins[first] / (BIN_STEPS * BAND_CELL))
        for second in range(first + 1, size):
            gap = times[second] - times[first]
            if gap > MAX_GAP or begun == FAN_OUT:
                break
            interval = bins[second] - bins[first]
            if gap < MIN_GAP or abs(interval) > MAX_INTERVAL * BIN_STEPS:
                continue
            step = int(np.floor(interval / (BIN_STEPS * INTERVAL_CELL) + 0.5)) + _ZERO_INTERVAL
            hashes[count] = (band << (INTERVAL_BITS + GAP_BITS)) | (step << GAP_BITS) | cells[gap]
            anchors[count] = first
            count += 1
            begun += 1
    return hashes[:count], anchors[:count]


@compiled
def _query(  # noqa: PLR0912, PLR0915
    times: npt.NDArray[np.float64],
    bins: npt.NDArray[np.float64],
    ranks: npt.NDArray[np.uint8],
    cells: npt.NDArray[np.int64],
    rank_worths: npt.NDArray[np.float32],
    between_worths: npt.NDArray[np.float32],
) -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.int32], npt.NDArray[np.float32]]:
    size = len(times)
    room = 128 * size + 64
    hashes = np.empty(room, np.uint32)
    anchors = np.empty(room, np.int32)
    worth = np.empty(room, np.float32)
    count = 0
    for first in range(size):
        if bins[first] < 0 or bins[first] >= _HIGHEST:
            continue
        place = bins[first] / (BIN_STEPS * BAND_CELL)
        band = int(place)
        other_band = band
        if place - band < EDGE:
            other_band = max(0, band - 1)
        elif place - band > 1 - EDGE:
            other_band = band + 1
        between = 0
        for second in range(first + 1, size):
            gap = int(times[second] - times[first] + 0.5)
            if gap > MAX_GAP:
                break
            interval = bins[second] - bins[first]
            if gap < MIN_GAP or abs(interval) > MAX_INTERVAL * BIN_STEPS:
                continue
            place = interval / (BIN_STEPS * INTERVAL_CELL) + 0.5
            step = int(np.floor(place))
            other_step = step
            if place - step < EDGE:
                other_step = step - 1
            elif place - step > 1 - EDGE:
                other_step = step + 1
            if count + 12 > room:
                room *= 2
                more_hashes = np.empty(room, np.uint32)
                more_anchors = np.empty(room, np.int32)
                more_hashes[:count] = hashes[:count]
                more_anchors[:count] = anchors[:count]
                more_worth = np.empty(room, np.float32)
                more_worth[:count] = worth[:count]
                hashes, anchors, worth = more_hashes, more_anchors, more_worth
            pair = rank_worths[ranks[first]] * rank_worths[ranks[second]]
            pair *= between_worths[min(between, len(between_worths) - 1)]
            if ranks[second] < REFERENCE_RANK:
                between += 1
            for upper in range(2):
                if upper == 1 and other_band == band:
                    break
                high = (band if upper == 0 else other_band) << (INTERVAL_BITS + GAP_BITS)
                for middle in range(2):
                    if middle == 1 and other_step == step:
                        break
                    code = high | (((step if middle == 0 else other_step) + _ZERO_INTERVAL) << GAP_BITS)
                    # The frames of the same moment in two recordings differ by one at most.
                    for by in range(-1, 2):
                        if by == 0 or cells[gap + by] != cells[gap]:
                            hashes[count] = code | cells[gap + by]
                            anchors[count] = first
                            likely = pair
                            if upper == 1:
                                likely *= np.float32(BAND_WORTH)
                            if middle == 1:
                                likely *= np.float32(INTERVAL_WORTH)
                            if by != 0:
                                likely *= np.float32(GAP_WORTH)
                            worth[count] = likely
                            count += 1
    return hashes[:count], anchors[:count], worth[:count]
