"""The contract between the pipeline and everything that finds a tag.

Two kinds of part, so that a new head can re-tag without decoding a frame:

- an `Encoder` runs a network over frames or samples and gives one row per moment: dear, on the device, kept;
- a `Tagger` (a head) reads encodings, observations and words, and gives one section of the document: cheap.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

WAVEFORM_RATE = 16_000
"""Sample rate of every waveform that encoders and taggers see, Hz."""


@dataclass(frozen=True)
class TextLine:
    """A line of text that was read in the picture. `text` is clean: no control characters, bounded in length."""

    text: str
    score: float
    """How sure the reader was, 0 to 1."""
    ranges: tuple[tuple[float, float], ...]
    """Where in the upload it stands, s."""
    box: tuple[float, float, float, float]
    """Left, top, right, bottom where it was read best, as shares of the frame."""


@dataclass(frozen=True)
class Encoding:
    """What one encoder said of one upload."""

    encoder: str
    """`name@version` of the encoder: a head refuses an encoding of another version than it was made for."""
    times_s: npt.NDArray[np.float64]
    """[n] start of the moment each row speaks of, s."""
    hop_s: float
    """How long a moment lasts, s."""
    embeddings: npt.NDArray[np.float32]
    """[n, d], values that half precision can hold: what is kept is what heads saw. d may be 0 for an encoder that has
    none."""
    scores: npt.NDArray[np.float32]
    """[n, classes], probabilities. classes may be 0."""
    lines: Sequence[TextLine] = ()
    """What was read, by an encoder that reads."""


@dataclass(frozen=True)
class Evidence:
    """All that is known of one upload before its tags."""

    duration_s: float
    frames: npt.NDArray[np.uint8]
    """[n, height, width, 3] RGB, upright. n may be 0."""
    frame_times_s: npt.NDArray[np.float64]
    """[n], s."""
    shots: Sequence[tuple[float, float]]
    waveform: npt.NDArray[np.float32]
    """[samples] mono at `WAVEFORM_RATE`. May be empty."""
    still: bool = False
    has_audio: bool = False
    caption: str = ""
    hashtags: Sequence[str] = ()
    observations: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """What the observers of the decoder's pass measured, by observer name."""
    encodings: Mapping[str, Encoding] = field(default_factory=dict)
    """By encoder name (without version)."""

    @property
    def texts(self) -> Sequence[TextLine]:
        """What was read in the picture; empty when nothing was, or nothing could read."""
        read = self.encodings.get("text")
        return read.lines if read is not None else ()


@runtime_checkable
class Encoder(Protocol):
    """A network on the device.

    MUST be safe to call from many threads at once. MUST return zero rows, not fail, on empty input. SHOULD hand its
    items to a `MicroBatcher`, so that batches fill across uploads. MAY read the encodings of encoders that every tagger
    which reads it names before it: then it need not run where they heard nothing for it.
    """

    @property
    def name(self) -> str:
        """What heads call it."""

    @property
    def version(self) -> str:
        """`weights-name@N`, e.g. `efficientnet-lite2@1`. Raised when the same input may give another output."""

    def encode(self, evidence: Evidence) -> Encoding:
        """Encode one upload. Where d is not 0, its scores MUST be `scores_of` of its embeddings."""

    def scores_of(self, embeddings: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """[n, classes] from kept embeddings [n, d], without the network before its last layer. MUST give the same on
        every machine of one kind, wherever the network itself runs. Encoders with d 0 raise `ValueError`."""

    def close(self) -> None:
        """End what it runs; waiting callers get an error."""


@runtime_checkable
class Tagger(Protocol):
    """A head: one section of the document.

    MUST be deterministic and safe to call from many threads. MUST answer "unknown" by an empty list, null or 0,
    never by a guess. MUST read nothing but the evidence. `tag` MUST give plain JSON values with the names of the
    published contract (`tasks.contract`). MAY have `optional_encoders`, a tuple of names of encoders whose rows it
    reads where there are any: without them it speaks all the same.
    """

    @property
    def name(self) -> str:
        """The tagger's name in `TagUpload.taggers` and in the document's `models`."""

    @property
    def version(self) -> str:
        """`name@N` as reported in the document's `models`."""

    @property
    def section(self) -> str:
        """The key of the document that `tag` fills."""

    @property
    def encoders(self) -> tuple[str, ...]:
        """Names of the encoders it reads."""

    def tag(self, evidence: Evidence) -> Any:
        """The section's value."""


def optional_encoders(tagger: Tagger) -> tuple[str, ...]:
    """Names of the encoders that a tagger reads where they are; none unless it says so."""
    return tuple(getattr(tagger, "optional_encoders", ()))


class WeightsMissing(Exception):
    """The weights that a network needs are not in the cache. Its taggers are reported as absent."""

    def __init__(self, name: str) -> None:
        super().__init__(f"weights {name!r} are not installed; run: tagfarm weights pull {name}")
        self.name = name

    def __reduce__(self) -> tuple[Any, ...]:
        return (WeightsMissing, (self.name,))
