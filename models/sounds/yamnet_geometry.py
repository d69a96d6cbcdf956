"""How YAMNet cuts sound into patches: what its encoder and the heads that read it have in common."""

from __future__ import annotations

from ..protocol import WAVEFORM_RATE

FRAME = 400
"""Samples under the window: 25 ms."""
FRAME_HOP = 160
"""Samples from frame to frame: 10 ms."""
PATCH_FRAMES = 96
PATCH_HOP = 48
PATCH_S = PATCH_FRAMES * FRAME_HOP / WAVEFORM_RATE
"""Sound that one row has heard, s: 0.96, from its time on."""
HOP_S = PATCH_HOP * FRAME_HOP / WAVEFORM_RATE
"""From row to row, s: 0.48."""
