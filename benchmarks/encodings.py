"""Corpus files through the real way in: clip, decoder pool, network. Rows are kept: a head is measured in seconds."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from rich.progress import track

from media.pool import DecoderPool
from media.types import DecodedMedia, Limits
from models.protocol import Encoder, Encoding, Evidence

from .clips import VERSION, ken_burns, read_photo, write_clip, write_sound
from .truths import Item

Writer = Callable[[Item, Path], None]


def photo_clip(item: Item, path: Path) -> None:
    """Write an item's clip."""
    write_clip(ken_burns(read_photo(item.path), item.key), path)


def sound_clip(item: Item, path: Path) -> None:
    """Write an item's sound."""
    write_sound(path, item.path)


def evidence_of(media: DecodedMedia) -> Evidence:
    """What the pipeline would hand to encoders and taggers."""
    return Evidence(
        duration_s=media.info.duration_s,
        frames=media.frames,
        frame_times_s=media.frame_times_s,
        shots=media.shots,
        waveform=media.waveform,
        has_audio=media.info.audio is not None,
    )


def encoded(
    items: Iterable[Item], writer: Writer, encoder: Encoder, cache: Path, title: str
) -> Iterator[tuple[Item, Evidence]]:
    """Each item with its evidence: the encoding's scores, the shots and the duration; no frames, no waveform.

    Args:
        items: what to encode.
        writer: makes the upload.
        encoder: the network.
        cache: folder for rows that were made before, by content, clip and encoder version.
        title: of the progress bar.
    """
    cache.mkdir(parents=True, exist_ok=True)
    with DecoderPool(1, Limits()) as pool:
        for item in track(list(items), description=title):
            digest = hashlib.sha256(item.path.read_bytes() + f"{item.key} {VERSION} {encoder.version}".encode())
            kept = cache / f"{encoder.name}-{digest.hexdigest()[:32]}.npz"
            if not kept.is_file():
                _encode(item, writer, encoder, pool, kept)
            yield item, _read(kept, encoder)


def encoded_by(
    items: Iterable[Item], writer: Writer, encoders: Iterable[Encoder], cache: Path, title: str
) -> list[tuple[Item, Evidence]]:
    """As `encoded`, by several networks: each item's evidence has all encodings."""
    parts = [list(encoded(items, writer, encoder, cache, f"{title}: {encoder.name}")) for encoder in encoders]
    return [
        (one[0][0], replace(one[0][1], encodings={k: v for _, e in one for k, v in e.encodings.items()}))
        for one in zip(*parts, strict=True)
    ]


def _encode(item: Item, writer: Writer, encoder: Encoder, pool: DecoderPool, kept: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="tagfarm-benchmark-") as folder:
        clip = Path(folder) / "upload.mp4"
        writer(item, clip)
        evidence = evidence_of(pool.decode(clip, Path(folder)))
        rows = encoder.encode(evidence)
        partial = kept.with_suffix(".partial.npz")
        np.savez_compressed(
            partial,
            times_s=rows.times_s,
            hop_s=rows.hop_s,
            scores=rows.scores,
            embeddings=rows.embeddings,
            duration_s=evidence.duration_s,
            shots=np.array(evidence.shots, np.float64).reshape(-1, 2),
        )
        partial.replace(kept)


def _read(kept: Path, encoder: Encoder) -> Evidence:
    with np.load(kept, allow_pickle=False) as rows:
        encoding = Encoding(encoder.version, rows["times_s"], float(rows["hop_s"]), rows["embeddings"], rows["scores"])
        return Evidence(
            duration_s=float(rows["duration_s"]),
            frames=np.zeros((0, 0, 0, 3), np.uint8),
            frame_times_s=rows["times_s"],
            shots=[(float(start), float(end)) for start, end in rows["shots"]],
            waveform=np.zeros(0, np.float32),
            has_audio=encoder.name != "picture",
            encodings={encoder.name: encoding},
        )
