"""Frames had again: once for each upload, of the very file, and what cannot be had is told."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import av
import numpy as np
import pytest

from media.fetch import fetch
from media.fetch_policy import FetchPolicy
from media.pool import DecoderPool
from media.types import Limits
from models.training.dataset import DataSet, Item
from models.training.features import FeatureCache
from tasks.frames import FrameSource, fill


def clip(path: Path, shade: int) -> str:
    """A second of moving grey; its sha256."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.width = stream.height = 64
        stream.pix_fmt = "yuv420p"
        for number in range(10):
            frame = np.full((64, 64, 3), shade, np.uint8)
            frame[:, number * 6 : number * 6 + 6] = 255
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    return hashlib.sha256(path.read_bytes()).hexdigest()


def features_of(frames: Sequence[np.ndarray]) -> np.ndarray:
    return np.stack([frame[::32, ::32, :].transpose(2, 0, 1) for frame in frames]).astype(np.float32)


@pytest.fixture
def source(shelf, tmp_path: Path):
    (tmp_path / "scratch").mkdir()
    with DecoderPool(1, Limits(), (), tmp_path / "scratch") as decoder:
        policy = FetchPolicy(file_roots=(tmp_path,))
        yield FrameSource(shelf.store, lambda uri, to: fetch(uri, to, policy), decoder, tmp_path / "scratch")


def test_frames_are_had_once_and_faults_are_told(shelf, source, tmp_path: Path) -> None:
    names = ("good", "changed", "gone", "resampled")
    sums = {name: clip(tmp_path / f"{name}.mp4", 20 * number) for number, name in enumerate(names)}
    for name in names:
        shelf.keep(name, media=(tmp_path / f"{name}.mp4").as_uri(), sha256=sums[name])
    clip(tmp_path / "changed.mp4", 200)
    (tmp_path / "gone.mp4").unlink()
    decoded = source.decoder.decode(tmp_path / "good.mp4", tmp_path / "scratch")
    times = [decoded.frame_times_s] * 3 + [decoded.frame_times_s + 0.1]
    count, items, at = len(decoded.frames), [], 0
    for name in names:
        items.append(Item(name, name, "train", (at, at + count), {"a": 1.0}))
        at += count
    data = DataSet(
        "topics", "t@1", "e@1", ("a",), tuple(items), np.zeros((at, 4), np.float16), np.concatenate(times), ""
    )
    cache, told = FeatureCache(tmp_path / "data", "e@1", 2), []
    run = partial(fill, source, data, items, cache, features_of)
    filled = run(told.append)
    assert (filled.made, filled.known) == (1, 0)
    assert sorted(told) == [0, 1, 2, 3, 4]
    reasons = " | ".join(sorted(filled.left_out))
    assert "another one now" in reasons and "other frames" in reasons and "cannot be had" in reasons
    kept = cache.get(items[0])
    assert kept is not None
    np.testing.assert_array_equal(kept, features_of(list(decoded.frames)).astype(np.float16))
    (tmp_path / "good.mp4").unlink()
    assert run().known == 1
    assert not list((tmp_path / "scratch").glob("frames-*"))


def test_a_stop_begins_nothing_more(shelf, source, tmp_path: Path) -> None:
    item = Item("u", "u", "train", (0, 1), {"a": 1.0})
    data = DataSet("topics", "t@1", "e@1", ("a",), (item,), np.zeros((1, 4), np.float16), np.zeros(1, np.float32), "")
    filled = fill(source, data, [item], FeatureCache(tmp_path, "e@1", 1), features_of, stopped=lambda: True)
    assert filled.left_out == {"stopped": 1}
