"""A node's scratch folder. It is locked while the node lives, so that whoever comes next can clear away the dead's."""

from __future__ import annotations

import contextlib
import secrets
import shutil
from pathlib import Path

from filelock import FileLock, Timeout

LOCK = "lock"


class NodeScratch:
    """`root/node-XXXX`, held by a lock that the kernel frees when the process dies, however it dies."""

    def __init__(self, root: Path) -> None:
        root.mkdir(parents=True, exist_ok=True)
        clear_dead(root)
        self.path = root / f"node-{secrets.token_hex(6)}"
        self.path.mkdir(mode=0o700)
        self._lock = FileLock(self.path / LOCK)
        self._lock.acquire(timeout=0)

    def close(self) -> None:
        """Remove the folder."""
        self._lock.release()
        shutil.rmtree(self.path, ignore_errors=True)


def clear_dead(root: Path) -> int:
    """Remove the folders of nodes that died. Returns how many there were."""
    cleared = 0
    for folder in root.glob("node-*"):
        lock = FileLock(folder / LOCK)
        # Held: its node lives. No lock file: its node is just being born.
        with contextlib.suppress(Timeout, OSError):
            if not (folder / LOCK).exists():
                continue
            lock.acquire(timeout=0)
            lock.release()
            shutil.rmtree(folder, ignore_errors=True)
            cleared += 1
    return cleared
