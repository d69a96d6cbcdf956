"""How much memory this node has, and has left: the machine's, or the container's where that is less."""

from __future__ import annotations

from pathlib import Path

import psutil

CGROUP = Path("/sys/fs/cgroup")


def limit_bytes() -> int:
    """All the memory there is."""
    limits = [psutil.virtual_memory().total]
    if (limit := _read("memory.max", "memory/memory.limit_in_bytes")) is not None:
        limits.append(limit)
    return min(limits)


def available_bytes() -> int:
    """What could still be had without anything being killed."""
    left = [psutil.virtual_memory().available]
    limit = _read("memory.max", "memory/memory.limit_in_bytes")
    used = _read("memory.current", "memory/memory.usage_in_bytes")
    if limit is not None and used is not None:
        left.append(max(0, limit - used + _cache_bytes()))
    return min(left)


def resident_bytes() -> int:
    """This process's own."""
    return int(psutil.Process().memory_info().rss)


def _cache_bytes() -> int:
    """Pages of files: counted as used, and given up when they are needed."""
    try:
        lines = (CGROUP / "memory.stat").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) for line in lines if line.startswith("inactive_file "))


def _read(*names: str) -> int | None:
    for name in names:
        try:
            text = (CGROUP / name).read_text().strip()
        except OSError:
            continue
        if text.isdigit():
            return int(text)
    return None
