"""Clips are made without a trace in the process that makes them."""

import os
from pathlib import Path

import av
import numpy as np
import pytest

from scripts import clips


@pytest.mark.skipif("libsvtav1" not in av.codecs_available, reason="this FFmpeg has no SVT-AV1")
def test_an_encoder_leaves_the_thread_scheduled_as_it_was(tmp_path: Path) -> None:
    before = os.sched_getscheduler(0), os.sched_getparam(0).sched_priority
    clips.write(tmp_path / "a.mp4", [np.zeros((64, 64, 3), np.uint8)] * 4, video_codec="libsvtav1")
    assert (os.sched_getscheduler(0), os.sched_getparam(0).sched_priority) == before


def test_a_long_sound_in_blocks_is_the_same_file(tmp_path: Path) -> None:
    heard = (0.1 * np.random.default_rng(1).standard_normal((2, 100_000))).astype(np.float32)
    whole = clips.write(tmp_path / "whole.m4a", None, heard).read_bytes()
    blocks = clips.write(tmp_path / "blocks.m4a", None, iter(np.split(heard, [30_001, 70_000], axis=1))).read_bytes()
    assert whole == blocks
