"""A sound's fingerprint: its peaks, what they hash to, and whether there is enough to recognise.

The peaks are what is kept: hashes are made from them when they are needed, so that a catalogue can be hashed anew, or
a query under another speed, without the sound. A hash is a *pair* of peaks (Wang 2003): band of the first, interval
to the second, time between them. Triples (Panako, Olaf) survive a change of speed, but need a third peak to live
through the noise.

Format history: 1 - first version.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from models.soundid.features import (
    BIN_STEPS,
    BINS,
    HOP,
    HOP_S,
    QUERY_RANK,
    RANK_FRAMES,
    RATE,
    REFERENCE_RANK,
    ZONES,
    Peaks,
    extract,
)

FORMAT = 1
MAX_FRAMES = 4 * 3600 * 100
"""Four hours: no more of a sound is looked at, and a fingerprint that claims more is refused."""

HASH_BITS = 24
"""Width of a hash; 21 bits of it are used: 8 band, 7 interval, 6 time."""
MIN_GAP, MAX_GAP = 4, 100
"""Frames between the peaks of a pair: 40 ms to 1 s."""
MAX_INTERVAL = 36
"""Bands between the peaks of a pair: an octave up or down."""
FAN_OUT = 5
"""Pairs that a peak begins in a catalogue. A query makes every pair, so it has these among them."""
BAND_CELL = 1.5
"""Width of a hash's cells of the first peak's band, bands: half a semitone."""
INTERVAL_CELL = 0.75
"""Width of its cells of the interval, bands: a quarter of a semitone."""
EDGE = 0.3
"""How close to a cell's edge, in cells, a query also takes the neighbour."""
LINEAR_GAP = 20
"""Below this the time cells are one frame wide, above it `GAP_RATIO`."""
GAP_RATIO = 1.05

MIN_ACTIVE_S = 3.0
"""Active sound that it takes to become a sound of its own, s."""
MIN_PEAKS_PER_S = 8.0
"""Peaks a second of active sound, reference density, below which there is too little to tell sounds apart."""


class FingerprintError(ValueError):
    """The bytes or the mapping are no fingerprint that this version can read. Make it again from the sound."""


@dataclass(frozen=True)
class Pairs:
    """Hashed pairs of peaks.

    Attributes:
        hashes: uint32 [n], below 2**`HASH_BITS`.
        times: uint32 [n], frame of the pair's first peak.
        anchors: int64 [n], index of that peak in the fingerprint's peaks.
    """

    hashes: npt.NDArray[np.uint32]
    times: npt.NDArray[np.uint32]
    anchors: npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Fingerprint:
    """The fingerprint of one waveform.

    Attributes:
        peaks: see `features.Peaks`; ascending in time.
        frames: length, frames of `hop_s`.
        duration_s: length of the waveform, s.
        sounding_s: time above silence, s.
        active_s: time neither silent nor steady, s.
    """

    peaks: Peaks
    frames: int
    duration_s: float
    sounding_s: float
    active_s: float

    hop_s: ClassVar[float] = HOP_S

    @classmethod
    def of(cls, waveform: npt.NDArray[np.float32]) -> Fingerprint:
        """Fingerprint a mono waveform at 16 kHz; of a longer one the first four hours."""
        waveform = waveform[: MAX_FRAMES * HOP]
        found = extract(waveform)
        return cls(found.peaks, found.frames, len(waveform) / RATE, found.sounding_s, found.active_s)

    @cached_property
    def reference(self) -> Peaks:
        """The strongest peaks, about 30 a second: what a catalogue holds."""
        return self.peaks.where(self.peaks.ranks < REFERENCE_RANK)

    @cached_property
    def _reference_pairs(self) -> Pairs:
        return pairs(self.reference, fan_out=FAN_OUT)

    @property
    def hashes(self) -> npt.NDArray[np.uint32]:
        """uint32 [n], the catalogue's hashes, about 150 a second."""
        return self._reference_pairs.hashes

    @property
    def times(self) -> npt.NDArray[np.uint32]:
        """uint32 [n], the frame of each of `hashes`."""
        return self._reference_pairs.times

    @property
    def unrecognisable(self) -> str | None:
        """Why this can never be a sound of its own: `silent`, `steady`, `short` or `sparse`; None: it can."""
        if self.sounding_s < min(0.5, 0.5 * self.duration_s) or self.frames == 0:
            return "silent"
        if self.active_s < MIN_ACTIVE_S:
            return "steady" if self.sounding_s >= MIN_ACTIVE_S and self.active_s < 0.25 * self.sounding_s else "short"
        if len(self.reference) < MIN_PEAKS_PER_S * self.active_s:
            return "sparse"
        return None

    @property
    def recognisable(self) -> bool:
        """Whether there is enough, neither silent nor steady, to become a sound of its own."""
        return self.unrecognisable is None

    def observation(self) -> dict[str, Any]:
        """Plain numbers and arrays: what crosses the border of the decoder's process, and what `to_bytes` writes."""
        return {
            "format": FORMAT,
            "frames": self.frames,
            "duration_s": self.duration_s,
            "sounding_s": self.sounding_s,
            "active_s": self.active_s,
            "times": self.peaks.times,
            "bins": self.peaks.bins,
            "ranks": self.peaks.ranks,
        }

    @classmethod
    def from_observation(cls, observed: Mapping[str, Any]) -> Fingerprint:
        """The fingerprint that `FingerprintObserver` saw. Trusts nothing in it.

        Raises:
            FingerprintError: if it is not one, or of a newer format.
        """
        if "error" in observed:
            raise FingerprintError(f"the observer failed: {str(observed['error'])[:200]}")
        try:
            version, frames = int(observed["format"]), int(observed["frames"])
            duration, sounding, active = (float(observed[key]) for key in ("duration_s", "sounding_s", "active_s"))
            columns = [np.asarray(observed[key]) for key in ("times", "bins", "ranks")]
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise FingerprintError(f"not a fingerprint: {type(error).__name__}") from error
        if version != FORMAT:
            raise FingerprintError(f"format {version}; this version reads {FORMAT}")
        if [column.dtype for column in columns] != [np.uint32, np.uint16, np.uint8]:
            raise FingerprintError("columns of other types than the format's")
        times, bins, ranks = columns
        if times.ndim != 1 or times.shape != bins.shape or times.shape != ranks.shape:
            raise FingerprintError("columns of unequal length")
        spans = np.asarray([duration, sounding, active])
        if not 0 <= frames <= MAX_FRAMES or not np.isfinite(spans).all() or (spans < 0).any():
            raise FingerprintError("impossible duration")
        if len(times) and (
            times[-1] >= frames
            or (times[1:] < times[:-1]).any()
            or bins.max() > BINS * BIN_STEPS
            or ranks.max() >= QUERY_RANK
        ):
            raise FingerprintError("peaks outside the sound")
        dense = ZONES * QUERY_RANK
        if (times[dense:] - times[:-dense] <= RANK_FRAMES).any():
            raise FingerprintError("more peaks than the quota leaves")
        return cls(Peaks(times, bins, ranks), frames, duration, sounding, active)

    def to_bytes(self) -> bytes:
        """The fingerprint as safetensors, about 500 bytes a second."""
        from safetensors.numpy import save

        body = self.observation()
        arrays = {key: np.ascontiguousarray(body.pop(key)) for key in ("times", "bins", "ranks")}
        # One entry: the library writes several in any order, and the same sound is to have the same bytes.
        return bytes(save(arrays, metadata={"fingerprint": json.dumps(body, sort_keys=True)}))

    @classmethod
    def from_bytes(cls, data: bytes) -> Fingerprint:
        """Read what `to_bytes` wrote.

        Raises:
            FingerprintError: for any other bytes.
        """
        from safetensors import SafetensorError
        from safetensors.numpy import load

        try:
            arrays = load(data)
            size = int.from_bytes(data[:8], "little")
            body = json.loads(json.loads(data[8 : 8 + size])["__metadata__"]["fingerprint"])
        except (SafetensorError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise FingerprintError(f"not a fingerprint: {type(error).__name__}") from error
        if not isinstance(body, dict):
            raise FingerprintError("not a fingerprint: no description")
        return cls.from_observation({**body, **arrays})


@cache
def _gap_cells() -> npt.NDArray[np.uint32]:
    """[MAX_GAP + 2] the time cell of each gap in frames."""
    gaps = np.maximum(np.arange(MAX_GAP + 2), 1)
    wide = LINEAR_GAP + np.floor(np.log(gaps / LINEAR_GAP) / np.log(GAP_RATIO))
    return np.where(gaps < LINEAR_GAP, gaps, wide).astype(np.uint32)


def _candidate_pairs(peaks: Peaks) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """First and second peak of every pair within the gaps and the interval; for each first, seconds by time."""
    times = peaks.times.astype(np.int64)
    low = np.searchsorted(times, times + MIN_GAP, side="left")
    high = np.searchsorted(times, times + MAX_GAP, side="right")
    count = high - low
    first = np.repeat(np.arange(len(times)), count)
    begin = np.cumsum(count) - count
    second = np.arange(count.sum()) - np.repeat(begin - low, count)
    bins = peaks.bins.astype(np.int32)
    near = np.abs(bins[second] - bins[first]) <= MAX_INTERVAL * BIN_STEPS
    return first[near], second[near]


def _cells(
    value: npt.NDArray[np.float64], edge: float
) -> list[tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_] | None]]:
    """The cell of each value, and where it lies within `edge` of another, that one too."""
    cell = np.floor(value).astype(np.int64)
    if edge <= 0.0:
        return [(cell, None)]
    within = value - cell
    other = np.where(within < 0.5, cell - 1, cell + 1)
    return [(cell, None), (other, np.minimum(within, 1.0 - within) < edge)]


def pairs(peaks: Peaks, fan_out: int | None = None, edge: float = 0.0) -> Pairs:
    """Hash the pairs of peaks.

    Args:
        peaks: ascending in time.
        fan_out: at most so many pairs begin at a peak, the nearest in time; None: all there are.
        edge: how near a cell's edge, in cells, the neighbouring hash is given too; 0: never.
    """
    first, second = _candidate_pairs(peaks)
    if fan_out is not None and len(first):
        begins = np.searchsorted(first, first, side="left")
        keep = np.arange(len(first)) - begins < fan_out
        first, second = first[keep], second[keep]
    band = peaks.bins[first] / (BIN_STEPS * BAND_CELL)
    interval = (peaks.bins[second].astype(np.int32) - peaks.bins[first]) / (BIN_STEPS * INTERVAL_CELL) + 0.5
    interval += MAX_INTERVAL / INTERVAL_CELL + 1
    gap = (peaks.times[second] - peaks.times[first]).astype(np.int64)
    table = _gap_cells()
    gaps: list[tuple[npt.NDArray[Any], npt.NDArray[np.bool_] | None]] = [(table[gap], None)]
    if edge > 0.0:
        # The frames of the same moment in two recordings differ by one at most.
        gaps += [(table[gap + by], table[gap + by] != table[gap]) for by in (-1, 1)]
    hashes, anchors = [], []
    for band_cell, band_near in _cells(band, edge):
        for interval_cell, interval_near in _cells(interval, edge):
            for gap_cell, gap_near in gaps:
                code = (np.maximum(band_cell, 0) << 13) | (interval_cell << 6) | (gap_cell.astype(np.int64) & 63)
                keep = np.ones(len(code), dtype=np.bool_)
                for near in (band_near, interval_near, gap_near):
                    if near is not None:
                        keep &= near
                hashes.append(code[keep])
                anchors.append(first[keep])
    anchor = np.concatenate(anchors).astype(np.int64)
    return Pairs(np.concatenate(hashes).astype(np.uint32), peaks.times[anchor], anchor)


class FingerprintObserver:
    """Makes the fingerprint inside the decoder's pass. Has the shape of `media.types.Observer`."""

    name = "fingerprint"

    def frame(self, view: Any) -> None:
        """Sees nothing."""

    def sound(self, block: Any) -> None:
        """Waits for the whole waveform."""

    def result(self, waveform: npt.NDArray[np.float32]) -> dict[str, Any]:
        """The observation that `Fingerprint.from_observation` reads."""
        return Fingerprint.of(waveform).observation()
