"""What `tagfarm train --fine-tune` and `tagfarm evaluate` need for encoders of a version's own: frames, features."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from scripts.console import counter, err, plain
from scripts.local import open_store

if TYPE_CHECKING:
    import torch

    from models.registry.versions import Version
    from models.topics.efficientnet import PictureEncoder
    from models.training.dataset import DataSet, Item
    from models.training.features import FeatureCache


@contextmanager
def packaged_encoder(device: torch.device) -> Iterator[PictureEncoder]:
    """The packaged picture encoder. Raises `models.protocol.WeightsMissing`."""
    from models.topics.efficientnet import PictureEncoder
    from workers.settings import settings

    encoder = PictureEncoder(settings().models.weights, device=device)
    try:
        yield encoder
    finally:
        encoder.close()


def fill_features(data: DataSet, items: Sequence[Item], encoder: PictureEncoder, blocks: int) -> FeatureCache:
    """Have the frames of these uploads again, where their features are not there yet, and keep what comes of them.

    Ctrl-C ends it after the uploads in work; the same command goes on where it was.
    """
    from models.topics.efficientnet import prepare, run
    from models.topics.tuned import trunk_of
    from models.training.features import FeatureCache
    from tasks.frames import FrameSource, fill
    from workers.build import build_media
    from workers.scratch import NodeScratch
    from workers.settings import settings

    assert data.folder is not None
    cache = FeatureCache(data.folder, encoder.version, blocks)
    trunk = trunk_of(encoder.network, blocks)
    if all(cache.get(item) is not None for item in items if item.rows[0] < item.rows[1]):
        return cache

    def features_of(frames: Sequence[Any]) -> Any:
        crops = [prepare(frame) for frame in frames]
        return run(trunk, crops, encoder.device, encoder.dtype).float().cpu().numpy()

    scratch = NodeScratch(settings().scratch)
    fetch, decoder = build_media(settings(), scratch.path, observers=())
    stopping = False
    try:
        with counter(transient=True) as bars:
            row = bars.add_task("frames", total=len(items))
            source = FrameSource(open_store(), fetch, decoder, scratch.path, settings().media.decoders)
            try:
                filled = fill(
                    source,
                    data,
                    items,
                    cache,
                    features_of,
                    lambda done: bars.update(row, completed=done),
                    lambda: stopping,
                )
            except KeyboardInterrupt:
                stopping = True
                raise
    finally:
        decoder.close()
        scratch.close()
    err.print(f"frames: {filled.made} uploads decoded again, {filled.known} had been", highlight=False)
    for why, count in sorted(filled.left_out.items()):
        err.print(f"  left out: {count}, {plain(why)}", highlight=False)
    return cache


def rows_of(data: DataSet, items: Sequence[Item], version: Version, encoder: PictureEncoder) -> dict[str, Any]:
    """By upload, the rows that a version with an encoder of its own reads; without those whose files are gone."""
    from models.registry.versions import VersionIncompatible
    from models.topics.tuned import Tail
    from models.training.features import embedded, with_embeddings

    cache = fill_features(data, items, encoder, version.fine_tuned_blocks)
    tail = Tail(encoder.network, version.fine_tuned_blocks)
    try:
        tail.load(version.encoder_tensors())
    except ValueError as error:
        raise VersionIncompatible(f"{version.name} does not fit: {error}") from error
    found = embedded(data, items, cache, tail.to(encoder.device), encoder.device)
    tuned = with_embeddings(replace(data, items=tuple(items)), found)
    return {item.upload_id: tuned.rows(item) for item in tuned.items}
