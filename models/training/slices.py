"""Groups of uploads that are judged apart as well: what is right on the whole may be wrong for one of them."""

from __future__ import annotations

from .dataset import Item

SLICES = ("language", "country", "duration", "layout")
DURATIONS = ((5.0, "under 5 s"), (15.0, "5 to 15 s"), (60.0, "15 to 60 s"), (float("inf"), "over 60 s"))


def slice_of(item: Item, name: str) -> str:
    """The value of a slice that an upload falls into."""
    if name != "duration":
        return str(item.slices.get(name) or "unknown")
    duration_s = item.slices.get("duration_s")
    if duration_s is None:
        return "unknown"
    return next(told for limit, told in DURATIONS if float(duration_s) < limit)
