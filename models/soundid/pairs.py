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

from models.soundid.features import BIN_STEPS, BINS, Peaks
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

_ZERO_INTERVAL = 2 ** (INTERVAL_BITS - 1)
_HIGHEST = BINS * BIN_STEPS


def _gap_cells() -> npt.NDArray[np.int64]:
    gaps = np.maximum(np.arange(MAX_GAP + 3), 1)
    wide = LINEAR_GAP + np.floor(np.log(gaps / LINEAR_GAP) / np.log(GAP_RATIO))
    return np.where(gaps < LINEAR_GAP, gaps, wide).astype(np.int64)


_GAP_CELLS = _gap_cells()


@dataclass(frozen=True)
class Pairs:
    """Hashed pairs of peaks, ascending by the first peak.

    Attributes:
        hashes: uint32 [n], below 2**`HASH_BITS`.
        anchors: int32 [n], index of the pair's first peak.
    """

    hashes: npt.NDArray[np.uint32]
    anchors: npt.NDArray[np.int32]


def catalogue_pairs(peaks: Peaks) -> Pairs:
    """The pairs that a catalogue holds of a sound, about 110 a second of its strongest peaks."""
    return Pairs(*_catalogue(peaks.times.astype(np.int64), peaks.bins.astype(np.int64), _GAP_CELLS))


def query_pairs(times: npt.NDArray[np.float64], bins: npt.NDArray[np.float64]) -> Pairs:
    """Every pair of a query's peaks.

    Args:
        times: float64 [peaks], where the peaks would be in the catalogue, frames, ascending.
        bins: float64 [peaks], and at which bands, steps of 1/`BIN_STEPS`.
    """
    return Pairs(*_query(times, bins, _GAP_CELLS))


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
def _query(  # noqa: PLR0912
    times: npt.NDArray[np.float64], bins: npt.NDArray[np.float64], cells: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.int32]]:
    size = len(times)
    room = 128 * size + 64
    hashes = np.empty(room, np.uint32)
    anchors = np.empty(room, np.int32)
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
                hashes, anchors = more_hashes, more_anchors
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
                            count += 1
    return hashes[:count], anchors[:count]
