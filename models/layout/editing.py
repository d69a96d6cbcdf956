"""The document's `editing`: how often the picture is cut."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..protocol import Evidence


class EditingTagger:
    """Counts the shots that the decoder's pass found, and how long they last. A still picture has none."""

    name = "editing"
    section = "editing"
    version = "shots@1"
    encoders: tuple[str, ...] = ()

    def tag(self, evidence: Evidence) -> dict[str, Any] | None:
        """The section; None without a moving picture."""
        lengths = np.array([end - start for start, end in evidence.shots], np.float64)
        total = float(lengths.sum())
        if evidence.still or total <= 0:
            return None
        return {
            "shots": len(lengths),
            "cuts_per_minute": round(60.0 * (len(lengths) - 1) / total, 2),
            "shot_s_median": round(float(np.median(lengths)), 3),
            "shot_s_min": round(float(lengths.min()), 3),
        }
