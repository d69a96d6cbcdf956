"""Evidence that is kept, and read again: so heads tag an upload anew without a frame being decoded.

Kept are each encoder's rows (embeddings in half precision; the scores of one that has no embeddings), where they stand
in the upload, its shots, and the numbers that the observers measured. Not kept are frames, waveform and fingerprint:
what reads those is named in `FRAMES_ONLY`, and needs the file itself.

Encoders hand on what half precision holds and make their scores from it (`models.serving.scores`), so a head that reads
kept evidence says exactly what it says when it reads the file.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from models.protocol import Encoder, Encoding, Evidence, TextLine
from store.documents import EncodingRow

FRAMES_ONLY: Mapping[str, str] = {
    "layout": "it reads the frames themselves",
    "soundid": "it reads the fingerprint, which is not kept",
}
"""Taggers that cannot be run from what is kept, and why."""
MAX_LIST = 64
"""Longest list of numbers in an observation that is kept with it; curves are kept by themselves."""

Arrays = Mapping[str, np.ndarray]


class NotKept(Exception):
    """What a head needs is not in the artifact. The message says what, and why."""


@dataclass(frozen=True)
class KeptEvidence:
    """Evidence without frames and waveform. `damaged`: the file was, as far as the decoder saw."""

    evidence: Evidence
    damaged: bool


def evidence_arrays(evidence: Evidence, damaged: bool) -> dict[str, np.ndarray]:
    """What of the evidence is kept, as named arrays."""
    arrays: dict[str, np.ndarray] = {}
    encoders: dict[str, Any] = {}
    for name, encoding in evidence.encodings.items():
        if encoding.embeddings.shape[1]:
            arrays[f"embeddings/{name}"] = encoding.embeddings.astype(np.float16)
        else:
            arrays[f"scores/{name}"] = np.asarray(encoding.scores, dtype=np.float32)
        arrays[f"times/{name}"] = np.asarray(encoding.times_s, dtype=np.float64)
        encoders[name] = {"version": encoding.encoder, "hop_s": encoding.hop_s}
        if encoding.lines:
            encoders[name]["lines"] = [asdict(line) for line in encoding.lines]
    kept = {
        "duration_s": evidence.duration_s,
        "shots": [[float(start), float(end)] for start, end in evidence.shots],
        "still": evidence.still,
        "has_audio": evidence.has_audio,
        "damaged": damaged,
        "encoders": encoders,
        "observations": {name: _numbers(seen) for name, seen in evidence.observations.items()},
    }
    arrays["evidence"] = np.frombuffer(json.dumps(kept).encode(), dtype=np.uint8)
    return arrays


def encoding_rows(evidence: Evidence) -> list[EncodingRow]:
    """Which encoders' rows there are, for the store to be asked by."""
    rows = []
    for name, encoding in evidence.encodings.items():
        times = encoding.times_s
        start, end = (float(times[0]), float(times[-1]) + encoding.hop_s) if len(times) else (0.0, 0.0)
        dimension = int(encoding.embeddings.shape[1])
        rows.append(EncodingRow(name, encoding.encoder, len(times), dimension, round(start, 3), round(end, 3)))
    return rows


def names_for(encoders: Collection[str]) -> list[str]:
    """The arrays that heads need which read these encoders."""
    return ["evidence", *(f"{part}/{name}" for name in encoders for part in ("embeddings", "scores", "times"))]


def evidence_of(
    arrays: Arrays,
    encoders: Mapping[str, Encoder],
    caption: str = "",
    hashtags: Sequence[str] = (),
    optional: Mapping[str, Encoder] | None = None,
) -> KeptEvidence:
    """The evidence that an artifact keeps, with the encodings of these encoders, and of those of `optional` that saw
    the upload.

    Raises:
        NotKept: an encoding is missing, or of another version of its encoder.
    """
    if "evidence" not in arrays:
        raise NotKept("it was kept before heads could be run from what is kept")
    kept = json.loads(arrays["evidence"].tobytes())
    present = {name: encoder for name, encoder in (optional or {}).items() if name in kept["encoders"]}
    wanted = {**present, **encoders}
    encodings = {name: _encoding(name, arrays, kept["encoders"], encoder) for name, encoder in wanted.items()}
    picture = encodings.get("picture")
    evidence = Evidence(
        duration_s=kept["duration_s"],
        frames=np.zeros((0, 0, 0, 3), np.uint8),
        frame_times_s=picture.times_s if picture is not None else np.zeros(0),
        shots=[(start, end) for start, end in kept["shots"]],
        waveform=np.zeros(0, np.float32),
        still=kept["still"],
        has_audio=kept["has_audio"],
        caption=caption,
        hashtags=hashtags,
        observations=kept["observations"],
        encodings=encodings,
    )
    return KeptEvidence(evidence, kept["damaged"])


def version_kept(arrays: Arrays, name: str) -> str | None:
    """`weights-name@N` of the encoder whose rows an artifact keeps under this name; None: not told."""
    if "evidence" not in arrays:
        return None
    version = json.loads(arrays["evidence"].tobytes())["encoders"].get(name, {}).get("version")
    return None if version is None else str(version)


def _encoding(name: str, arrays: Arrays, kept: Mapping[str, Any], encoder: Encoder) -> Encoding:
    if name not in kept or f"times/{name}" not in arrays:
        raise NotKept(f"{name} did not see it")
    version = kept[name]["version"]
    if version != encoder.version:
        raise NotKept(f"{name} was {version}, and is {encoder.version} now")
    times, hop_s = arrays[f"times/{name}"], float(kept[name]["hop_s"])
    lines = tuple(_line(line) for line in kept[name].get("lines", ()))
    if f"scores/{name}" in arrays:
        scores = arrays[f"scores/{name}"]
        return Encoding(version, times, hop_s, np.zeros((len(times), 0), np.float32), scores, lines)
    embeddings = arrays[f"embeddings/{name}"].astype(np.float32)
    return Encoding(version, times, hop_s, embeddings, encoder.scores_of(embeddings), lines)


def _line(kept: Mapping[str, Any]) -> TextLine:
    left, top, right, bottom = kept["box"]
    ranges = tuple((start, end) for start, end in kept["ranges"])
    return TextLine(kept["text"], kept["score"], ranges, (left, top, right, bottom))


def _numbers(seen: Mapping[str, Any]) -> dict[str, Any]:
    """An observation's plain values; not its curves, and no fingerprint."""
    kept: dict[str, Any] = {}
    for name, value in seen.items():
        plain = value.item() if isinstance(value, np.generic) else value
        if plain is None or isinstance(plain, bool | int | float | str):
            kept[name] = plain
        elif isinstance(plain, list | tuple) and len(plain) <= MAX_LIST:
            numbers = [one.item() if isinstance(one, np.generic) else one for one in plain]
            if all(isinstance(one, bool | int | float | str) for one in numbers):
                kept[name] = numbers
    return kept
