"""The document's `text`: what was read in the picture, with the ranges where it stands."""

from __future__ import annotations

from typing import Any

from ..protocol import Evidence


class TextTagger:
    """Hands on the lines that the reader found."""

    name = "text"
    section = "text"
    version = "rapidocr-ppocrv6@1"
    encoders: tuple[str, ...] = ("text",)

    def tag(self, evidence: Evidence) -> list[dict[str, Any]]:
        """The section, in the order in which the lines appear."""
        return [
            {
                "text": line.text,
                "score": line.score,
                "ranges": [list(one) for one in line.ranges],
                "box": list(line.box),
            }
            for line in evidence.texts
        ]
