"""A sound's fingerprint: its peaks, the signs of its whitened waveform and of its bass, and whether that is enough.

These are what is kept: hashes are made from the peaks when they are needed, so that a catalogue can be hashed anew, or
a query under another speed, without the sound. Peaks propose which sound it may be, and where they do not the bass;
the signs tell whether it is.

Format history: 1 - peaks. 2 - and the signs of the whitened waveform. 3 - and those of the bass; 2 is read as well.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import numpy.typing as npt

from models.soundid.bass import BASS_RATE, NO_BASS, WORD, Bass, bass
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
    bounded,
    extract,
)
from models.soundid.whitening import SIGN_RATE, Signs, signs

if TYPE_CHECKING:
    from models.soundid.pairs import Pairs

FORMAT = 3
WITHOUT_BASS = 2
"""A format that is still read: sounds whose media are gone cannot be fingerprinted again."""
MAX_FRAMES = 4 * 3600 * 100
"""Four hours: no more of a sound is looked at, and a fingerprint that claims more is refused."""

ARRAYS = ("times", "bins", "ranks", "signs", "bass")
SIGNS_SLACK = 32
"""Signs by which the kept waveform's length may differ from the duration: whole bytes, and rounding."""

MIN_ACTIVE_S = 3.0
"""Active sound that it takes to become a sound of its own, s."""
MIN_PEAKS_PER_S = 8.0
"""Peaks a second of active sound, reference density, below which there is too little to tell sounds apart."""


class FingerprintError(ValueError):
    """The bytes or the mapping are no fingerprint that this version can read. Make it again from the sound."""


@dataclass(frozen=True, eq=False)
class Fingerprint:
    """The fingerprint of one waveform.

    Attributes:
        peaks: see `features.Peaks`; ascending in time.
        signs: see `whitening.signs`; of the whole waveform.
        frames: length, frames of `hop_s`.
        duration_s: length of the waveform, s.
        sounding_s: time above silence, s.
        active_s: time neither silent nor steady, s.
        bass: see `bass.bass`; of the whole waveform, or empty where it is not known.
    """

    peaks: Peaks
    signs: Signs
    frames: int
    duration_s: float
    sounding_s: float
    active_s: float
    bass: Bass = field(default_factory=lambda: NO_BASS)

    hop_s: ClassVar[float] = HOP_S

    @classmethod
    def of(cls, waveform: npt.NDArray[np.float32]) -> Fingerprint:
        """Fingerprint a mono waveform at 16 kHz; of a longer one the first four hours."""
        waveform = waveform[: MAX_FRAMES * HOP]
        waveform = bounded(waveform)
        found = extract(waveform)
        return cls(
            found.peaks,
            signs(waveform),
            found.frames,
            len(waveform) / RATE,
            found.sounding_s,
            found.active_s,
            bass(waveform),
        )

    @cached_property
    def reference(self) -> Peaks:
        """The strongest peaks, about 30 a second: what a catalogue holds."""
        return self.peaks.where(self.peaks.ranks < REFERENCE_RANK)

    @cached_property
    def _catalogue_pairs(self) -> Pairs:
        from models.soundid.pairs import catalogue_pairs  # compiles: not in the decoder's process

        return catalogue_pairs(self.reference)

    @property
    def hashes(self) -> npt.NDArray[np.uint32]:
        """uint32 [n], the catalogue's hashes, about 110 a second."""
        return self._catalogue_pairs.hashes

    @property
    def times(self) -> npt.NDArray[np.uint32]:
        """uint32 [n], the frame of each of `hashes`."""
        return self.reference.times[self._catalogue_pairs.anchors]

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
            "signs": self.signs,
            "bass": self.bass,
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
            missing = {"bass": NO_BASS} if version == WITHOUT_BASS else {}
            columns = [np.asarray({**missing, **observed}[key]) for key in ARRAYS]
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise FingerprintError(f"not a fingerprint: {type(error).__name__}") from error
        if version not in (WITHOUT_BASS, FORMAT):
            raise FingerprintError(f"format {version}; this version reads {FORMAT}")
        if [column.dtype for column in columns] != [np.uint32, np.uint16, np.uint8, np.uint8, np.uint64]:
            raise FingerprintError("columns of other types than the format's")
        times, bins, ranks, kept_signs, kept_bass = columns
        if any(column.ndim != 1 for column in columns) or not len(times) == len(bins) == len(ranks):
            raise FingerprintError("columns of unequal length")
        spans = np.asarray([duration, sounding, active])
        if not 0 <= frames <= MAX_FRAMES or not np.isfinite(spans).all() or (spans < 0).any():
            raise FingerprintError("impossible duration")
        if abs(8 * len(kept_signs) - duration * SIGN_RATE) > SIGNS_SLACK:
            raise FingerprintError("a waveform of another length")
        if len(kept_bass) and not -1 <= WORD * len(kept_bass) - duration * BASS_RATE <= WORD + 1:
            raise FingerprintError("a bass of another length")
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
        return cls(Peaks(times, bins, ranks), kept_signs, frames, duration, sounding, active, kept_bass)

    def to_bytes(self) -> bytes:
        """The fingerprint as safetensors, about 1,180 bytes a second."""
        from safetensors.numpy import save

        body = self.observation()
        arrays = {key: np.ascontiguousarray(body.pop(key)) for key in ARRAYS}
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


WARM_SAMPLES = 2 * RATE


class FingerprintObserver:
    """Makes the fingerprint inside the decoder's pass. Has the shape of `media.types.Observer`."""

    name = "fingerprint"

    def __init__(self) -> None:
        # A decoder builds each observer once before it forks: what is imported and made here, no upload waits for.
        Fingerprint.of(np.zeros(WARM_SAMPLES, dtype=np.float32))

    def frame(self, view: Any) -> None:
        """Sees nothing."""

    def sound(self, block: Any) -> None:
        """Waits for the whole waveform."""

    def result(self, waveform: npt.NDArray[np.float32]) -> dict[str, Any]:
        """The observation that `Fingerprint.from_observation` reads."""
        return Fingerprint.of(waveform).observation()
