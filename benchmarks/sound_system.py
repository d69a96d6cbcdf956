"""What all other sound identification systems have in common when they are asked beside tagfarm: see `sound_peers`."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

BATCH = 500
"""So many recordings are asked of one process: audfprint reads its whole table (2 s of CPU) whenever it starts."""

Answer = tuple[str | None, float]
"""The id of the best recording (None: nothing is accepted), and the system's own score: higher is surer."""
Found = dict[int, tuple[int | None, float]]
"""By number of what was asked: number of the recording that was found, or None, and the score."""


class PeerError(RuntimeError):
    """A system failed, or did not answer; says what it printed last."""


class Peer(Protocol):
    """One system with one catalogue. `index` MUST be called once, before anything is asked.

    CPU is of this process and of the children it waited for, start and load of them included: nothing else MUST run
    in this process meanwhile. `ask_all` gives the same answers as `ask`, and shares starts among many questions.
    """

    name: str
    index_s: float
    """CPU that `index` took, s."""
    ask_cpu_s: float
    """CPU of everything asked so far, s."""
    asked: int

    @property
    def index_bytes(self) -> int:
        """What the index takes on disk."""

    def index(self, recordings: Mapping[str, Path]) -> None:
        """Learn these: by id, WAV files, mono, 44.1 kHz, 16 bits."""

    def ask(self, recording: Path) -> Answer:
        """What this WAV file holds."""

    def ask_all(self, recordings: Sequence[Path]) -> list[Answer]:
        """What each of these holds."""


def _cpu_s() -> float:
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return children.ru_utime + children.ru_stime + time.process_time()


def number_of(path: str) -> int:
    """Of a link in the scratch folder."""
    return int(Path(path).stem)


class System(ABC):
    """What all have in common: numbered links, the account, one call for many questions."""

    needs_ffmpeg = True

    def __init__(self, name: str, path: Path, scratch: Path) -> None:
        self.name, self.path, self.scratch = name, path, scratch.absolute()
        self.index_s = self.ask_cpu_s = 0.0
        self.asked = 0
        self._ids: list[str] = []
        self._check()
        if self.scratch.exists():
            raise ValueError(f"{self.scratch} is there already: give an empty scratch folder")
        self.store = self.scratch / "index"
        for folder in ("index", "known", "asked", "bin"):
            (self.scratch / folder).mkdir(parents=True)
        self.environment = {
            **os.environ,
            **dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"),
            "LC_ALL": "C.UTF-8",
            "PATH": f"{os.environ.get('PATH', '')}{os.pathsep}{self.scratch / 'bin'}",
        }
        if self.needs_ffmpeg and shutil.which("ffmpeg") is None:
            try:
                from imageio_ffmpeg import get_ffmpeg_exe
            except ImportError:
                raise ValueError(f"{name} reads sound through ffmpeg, which is not on PATH: install it") from None
            (self.scratch / "bin" / "ffmpeg").symlink_to(get_ffmpeg_exe())

    @property
    def index_bytes(self) -> int:
        """What the index takes on disk."""
        # Blocks, because a memory-mapped database may be a file with holes.
        return sum(path.stat().st_blocks * 512 for path in self.store.rglob("*") if path.is_file())

    def index(self, recordings: Mapping[str, Path]) -> None:
        """Learn these."""
        if self._ids:
            raise ValueError(f"{self.name} has its catalogue already: open another")
        self._ids = list(recordings)
        names = self._links("known", recordings.values())
        began = _cpu_s()
        self._learn(names)
        self.index_s = _cpu_s() - began

    def ask(self, recording: Path) -> Answer:
        """What this WAV file holds."""
        return self.ask_all([recording])[0]

    def ask_all(self, recordings: Sequence[Path]) -> list[Answer]:
        """What each of these holds."""
        answers: list[Answer] = []
        for start in range(0, len(recordings), BATCH):
            names = self._links("asked", recordings[start : start + BATCH])
            began = _cpu_s()
            try:
                found = self._answers(names)
            finally:
                for name in names:
                    (self.scratch / name).unlink()
            self.ask_cpu_s += _cpu_s() - began
            self.asked += len(names)
            missing = [name for name in names if number_of(name) not in found]
            if missing:
                raise PeerError(f"{self.name} said nothing of {len(missing)} of {len(names)} recordings")
            for name in names:
                number, score = found[number_of(name)]
                answers.append((None if number is None else self._ids[number - 1], score))
        return answers

    def _links(self, folder: str, paths: Iterable[Path]) -> list[str]:
        names = []
        for number, path in enumerate(paths, 1):
            names.append(f"{folder}/{number:06}.wav")
            (self.scratch / names[-1]).symlink_to(path.absolute())
        return names

    def run(self, *command: str | Path) -> list[str]:
        """What this prints, run in the scratch folder."""
        done = subprocess.run(
            [str(part) for part in command],
            cwd=self.scratch,
            env=self.environment,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )
        if done.returncode:
            raise PeerError(f"{self.name} ended with {done.returncode}: {(done.stderr or done.stdout)[-600:].strip()}")
        return done.stdout.splitlines()

    def need(self, file: Path, what: str, mode: int = os.R_OK) -> None:
        """Raise ValueError where a file that the system needs is not there."""
        if not (file.is_file() and os.access(file, mode)):
            raise ValueError(f"--peer {self.name}={self.path}: no {file}; PATH is {what}")

    def python(self) -> str:
        """The Python that runs it: its own, where it has one."""
        own = self.path / ".venv" / "bin" / "python"
        return str(own) if own.is_file() else sys.executable

    @abstractmethod
    def _check(self) -> None: ...

    @abstractmethod
    def _learn(self, names: list[str]) -> None: ...

    @abstractmethod
    def _answers(self, names: list[str]) -> Found: ...
