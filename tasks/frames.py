"""Frames of a data set's uploads, decoded again from the addresses that they were sent with: what fine-tuning an
encoder needs, and what a fine-tuned one is judged on. What is done is kept (`models.training.features`).
"""

from __future__ import annotations

import logging
import shutil
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from media.fetch import FetchedMedia
from media.fetch_policy import FetchUnavailable
from media.pool import DecoderPool
from media.types import DecoderDied, MediaError
from models.training.dataset import DataSet, Item
from models.training.features import FeatureCache
from store.store import Store

log = logging.getLogger(__name__)

SAME_TIME_S = 2e-3
"""Within which a frame is the one that was embedded: times are kept in single precision."""

Embed = Callable[[Sequence[npt.NDArray[np.uint8]]], npt.NDArray[np.floating]]


@dataclass
class Filled:
    """What came of it. `left_out`: uploads without features, by reason."""

    made: int = 0
    known: int = 0
    """That were there already."""
    left_out: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class FrameSource:
    """How frames are had: the store that knows the addresses, what fetches, and what decodes."""

    store: Store
    fetch: Callable[[str, Path], FetchedMedia]
    decoder: DecoderPool
    scratch: Path
    at_once: int = 1


def fill(
    source: FrameSource,
    data: DataSet,
    items: Sequence[Item],
    cache: FeatureCache,
    features_of: Embed,
    told: Callable[[int], object] = lambda done: None,
    stopped: Callable[[], bool] = lambda: False,
) -> Filled:
    """Make the features of these uploads that are not there yet.

    Args:
        source: where frames come from.
        data: whose rows the frames must be those of.
        items: of the data set.
        cache: where features are kept.
        features_of: frames [n][h, w, 3] RGB to features [n, c, h, w].
        told: called with the number of uploads done.
        stopped: asked before each upload.
    """
    result = Filled()
    waiting = []
    for item in items:
        if item.rows[0] == item.rows[1]:
            continue
        if cache.get(item) is not None:
            result.known += 1
        else:
            waiting.append(item)
    told(result.known)
    done = result.known

    def one(item: Item) -> str | None:
        return "stopped" if stopped() else _fill(source, data, item, cache, features_of)

    with ThreadPoolExecutor(max(1, source.at_once)) as pool:
        for future in as_completed([pool.submit(one, item) for item in waiting]):
            done += 1
            told(done)
            if (why := future.result()) is not None:
                result.left_out[why] = result.left_out.get(why, 0) + 1
            else:
                result.made += 1
    return result


def _fill(source: FrameSource, data: DataSet, item: Item, cache: FeatureCache, features_of: Embed) -> str | None:
    """One upload; or why it has no features."""
    kept = source.store.kept(item.upload_id)
    address = kept.request.get("media") if kept is not None else None
    if kept is None or not address:
        return "this farm does not know it"
    why: str | None = None
    folder = Path(tempfile.mkdtemp(prefix="frames-", dir=source.scratch))
    try:
        fetched = source.fetch(address, folder)
        decoded = source.decoder.decode(fetched.path, folder)
        times = data.times_s[item.rows[0] : item.rows[1]]
        if fetched.sha256 != (kept.document.get("media") or {}).get("sha256"):
            why = "the file at its address is another one now"
        elif len(times) != len(decoded.frames) or np.abs(times - decoded.frame_times_s).max(initial=0.0) > SAME_TIME_S:
            why = "other frames of it are sampled now; tag it again: tagfarm retag --full, and export again"
        else:
            cache.put(item, features_of(list(decoded.frames)))
    except (MediaError, FetchUnavailable, DecoderDied) as error:
        why = f"its file cannot be had: {getattr(error, 'reason', 'not at the moment')}"
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return why
