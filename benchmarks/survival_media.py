"""What the survival benchmark sends through the farm, and how much memory a decode of it takes."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import psutil

from scripts import clips

SEED = 6


def small_clips(folder: Path, count: int) -> list[Path]:
    """So many files of one short clip."""
    random = np.random.default_rng(SEED)
    pictures = [random.integers(0, 255, (72, 96, 3), dtype=np.uint8) for _ in range(12)]
    base = clips.write(folder / "base.mp4", pictures, None, fps=12)
    return [Path(shutil.copy(base, folder / f"{number}.mp4")) for number in range(count)]


def frames(seconds: float) -> Iterator[clips.Frame]:
    """Pictures of a moving camera, 12 a second."""
    whole = np.random.default_rng(SEED).integers(0, 255, (40, 60, 3), dtype=np.uint8)
    whole = np.kron(whole, np.ones((4, 4, 1), np.uint8))
    for step in range(int(seconds * 12)):
        at = step % 60
        yield np.ascontiguousarray(whole[at : at + 72, at : at + 96])


def sound(seconds: float) -> Iterator[clips.Sound]:
    """A tone, second by second."""
    second = np.arange(clips.SOUND_RATE, dtype=np.float32) / clips.SOUND_RATE
    heard = 0.2 * np.sin(2 * np.pi * 330 * second, dtype=np.float32)
    for _ in range(int(seconds)):
        yield np.stack([heard, heard])


def peak_of(work: Callable[[], object]) -> tuple[int, int]:
    """The most memory that a decode's own process had resident while `work` ran, as the kernel counts it (VmHWM), and
    the most of it that was its alone (sampled, so a little less than the truth), bytes."""
    most, alone, done = [0], [0], threading.Event()

    def watch() -> None:
        while not done.wait(0.02):
            for process in psutil.Process().children(recursive=True):
                try:
                    if process.ppid() == os.getpid():
                        continue  # the warm process: it sees no upload
                    status = Path(f"/proc/{process.pid}/status").read_text()
                    most[0] = max(most[0], int(status.split("VmHWM:")[1].split()[0]) << 10)
                    alone[0] = max(alone[0], process.memory_full_info().uss)
                except (psutil.Error, OSError, IndexError):
                    continue

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        work()
    finally:
        done.set()
        thread.join()
    return most[0], alone[0]
