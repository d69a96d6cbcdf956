"""The same file gives the same document, byte for byte, from a node that was built anew."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from skimage import data

from scripts import clips
from tasks.contract import TagUpload
from tasks.pipeline import analyse
from workers.build import build_parts
from workers.settings import Settings


def test_a_second_run_gives_the_same_bytes(tmp_path: Path) -> None:
    random = np.random.default_rng(3)
    heard = (random.normal(0.0, 0.1, (2, 2 * clips.SOUND_RATE))).astype(np.float32)
    frames = clips.moved(np.asarray(data.cat()), 320, 240, 24)
    clip = clips.write(tmp_path / "clip.mp4", frames, heard, fps=12)
    documents = []
    for number in range(2):
        settings = Settings(home=tmp_path / str(number), _env_file=None)  # type: ignore[call-arg]
        settings.media.roots = [tmp_path]
        settings.media.decoders = 1
        scratch = tmp_path / f"scratch-{number}"
        scratch.mkdir()
        parts = build_parts(settings, scratch)
        try:
            document = analyse(TagUpload(upload_id="u1", media=clip.as_uri()), parts).document.to_json()
        finally:
            parts.close()
        del document["timings_ms"]  # how long it took is no finding
        documents.append(json.dumps(document).encode())
    assert b'"explanation"' in documents[0]
    assert documents[0] == documents[1]
