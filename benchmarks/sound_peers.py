"""Public audio fingerprint systems, asked beside tagfarm in the same run of the sound identity benchmark.

Adapters only: each runs what `--peer NAME=PATH` says is installed, and reads what it prints.

| NAME | PATH | how it is run |
| --- | --- | --- |
| `audfprint` | checkout | `audfprint.py new`, `match`, as it comes (20 hashes/s) |
| `audfprint-dense` | checkout | the same at `--density 100 --fanout 5`: 159 hashes/s |
| `olaf` | the binary `olaf` | `store --with-ids`, `query`, as it comes |
| `panako` | `panako.jar`, or its launcher | `store`, `query`; for what is widened, see `Panako` |
| `dejavu` | checkout | `python -c`, its database in SQLite: see `DEJAVU` |
| `chromaprint` | `fpcalc`; none: the one on `$PATH` | `fpcalc -raw -json`, and a search of our own: see `Codes` |

A checkout's Python is its own `.venv` where it has one, else this one. All but Chromaprint read sound through `ffmpeg`.
Every system runs on one thread, in a scratch folder, in which it sees numbered links and never a recording's id.
"""

from __future__ import annotations

import json
import os
import re
import resource
import shutil
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

BATCH = 500
"""So many recordings are asked of one process: audfprint reads its whole table (2 s of CPU) whenever it starts."""
DENSE = ("--density", "100", "--fanout", "5")
"""Makes 159 hashes/s of music, where audfprint's defaults make 20."""
BIT_ERRORS = 0.35
"""Chromaprint: greatest share of bits that differ in a match (Haitsma and Kalker 2002, section 4.2)."""
CANDIDATES = 100
"""Chromaprint: so many places in tracks, those with most votes, are compared bit by bit."""
MIN_OVERLAP = 0.5
"""Chromaprint: share of the question's codes that must lie inside of the track."""
SPAN = 1 << 32
"""Chromaprint: more codes than any track has."""
PANAKO = {
    "STRATEGY": "PANAKO",
    "AVAILABLE_PROCESSORS": "1",
    "PANAKO_CACHE_TO_FILE": "FALSE",  # prints are cached by the digits in a file's name: ours are not unique
    "PANAKO_USE_CACHED_PRINTS": "FALSE",
    "PANAKO_MIN_MATCH_DURATION": "1",
    "PANAKO_MIN_TIME_FACTOR": "0.7",
    "PANAKO_MAX_TIME_FACTOR": "1.45",
    "PANAKO_MIN_FREQ_FACTOR": "0.7",
    "PANAKO_MAX_FREQ_FACTOR": "1.45",
}

Answer = tuple[str | None, float]
"""The id of the best recording (None: nothing is accepted), and the system's own score: higher is surer."""
Found = dict[int, tuple[int | None, float]]
"""By number of what was asked: number of the recording that was found, or None, and the score."""
Ints = npt.NDArray[np.int64]


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


def open_peers(specs: Sequence[str], scratch: Path) -> list[Peer]:
    """The systems of these specs, `NAME=PATH`. Raises ValueError, which says the cure, for one that cannot be run."""
    opened: dict[str, Peer] = {}
    for spec in specs:
        name, _, given = spec.partition("=")
        if name not in SYSTEMS:
            raise ValueError(f"--peer {spec}: no such system; one of {', '.join(SYSTEMS)}, as NAME=PATH")
        if name in opened:
            raise ValueError(f"--peer {spec}: {name} is there twice; name it once")
        if not given and name != "chromaprint":
            raise ValueError(f"--peer {spec}: write {name}=PATH, where it is installed")
        opened[name] = SYSTEMS[name](name, Path(given or shutil.which("fpcalc") or "fpcalc").absolute(), scratch / name)
    return list(opened.values())


def _cpu_s() -> float:
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return children.ru_utime + children.ru_stime + time.process_time()


def _number(path: str) -> int:
    return int(Path(path).stem)


class _System(ABC):
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
        # Blocks, because a memory-mapped database may be a file with holes.
        return sum(path.stat().st_blocks * 512 for path in self.store.rglob("*") if path.is_file())

    def index(self, recordings: Mapping[str, Path]) -> None:
        if self._ids:
            raise ValueError(f"{self.name} has its catalogue already: open another")
        self._ids = list(recordings)
        names = self._links("known", recordings.values())
        began = _cpu_s()
        self._learn(names)
        self.index_s = _cpu_s() - began

    def ask(self, recording: Path) -> Answer:
        return self.ask_all([recording])[0]

    def ask_all(self, recordings: Sequence[Path]) -> list[Answer]:
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
            missing = [name for name in names if _number(name) not in found]
            if missing:
                raise PeerError(f"{self.name} said nothing of {len(missing)} of {len(names)} recordings")
            for name in names:
                number, score = found[_number(name)]
                answers.append((None if number is None else self._ids[number - 1], score))
        return answers

    def _links(self, folder: str, paths: Iterable[Path]) -> list[str]:
        names = []
        for number, path in enumerate(paths, 1):
            names.append(f"{folder}/{number:06}.wav")
            (self.scratch / names[-1]).symlink_to(path.absolute())
        return names

    def _run(self, *command: str | Path) -> list[str]:
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

    def _need(self, file: Path, what: str, mode: int = os.R_OK) -> None:
        if not (file.is_file() and os.access(file, mode)):
            raise ValueError(f"--peer {self.name}={self.path}: no {file}; PATH is {what}")

    def _python(self) -> str:
        own = self.path / ".venv" / "bin" / "python"
        return str(own) if own.is_file() else sys.executable

    @abstractmethod
    def _check(self) -> None: ...

    @abstractmethod
    def _learn(self, names: list[str]) -> None: ...

    @abstractmethod
    def _answers(self, names: list[str]) -> Found: ...


class Audfprint(_System):
    """dpwe/audfprint. Score: hashes in common that agree on the offset; it accepts from 6 on."""

    def _check(self) -> None:
        self._need(self.path / "audfprint.py", "the checkout of audfprint")

    def _call(self, verb: str, names: list[str]) -> list[str]:
        options = DENSE if self.name == "audfprint-dense" else ()
        place = self.store / "table.pklz"
        return self._run(self._python(), self.path / "audfprint.py", verb, "--dbase", place, *options, *names)

    def _learn(self, names: list[str]) -> None:
        self._call("new", names)

    def _answers(self, names: list[str]) -> Found:
        return parse_audfprint(self._call("match", names))


def parse_audfprint(lines: Iterable[str]) -> Found:
    """Of `audfprint.py match`: one line a question."""
    found: Found = {}
    for line in lines:
        if hit := re.match(r"Matched (\S+) .* raw hashes as (\S+) at .* with +(\d+) of", line):
            found[_number(hit[1])] = _number(hit[2]), float(hit[3])
        elif miss := re.match(r"NOMATCH (\S+) ", line):
            found[_number(miss[1])] = None, 0.0
    return found


class Olaf(_System):
    """JorenSix/Olaf. Score: fingerprints in common that agree on the offset; it accepts from 6 on."""

    def _check(self) -> None:
        self._need(self.path, "the program olaf", os.X_OK)

    def _learn(self, names: list[str]) -> None:
        # Its settings are in $HOME/.olaf; without any it takes the "~" of its own defaults for a folder's name.
        self.environment["HOME"] = str(self.scratch)
        settings = self.scratch / ".olaf" / "olaf_config.json"
        settings.parent.mkdir()
        settings.write_text(json.dumps({"db_folder": f"{self.store}/", "cache_folder": f"{self.scratch}/cache/"}))
        pairs = [part for name in names for part in (name, name)]
        self._run(self.path, "store", "--threads", "1", "--with-ids", *pairs)

    def _answers(self, names: list[str]) -> Found:
        return parse_olaf(self._run(self.path, "query", "--threads", "1", *names))


def parse_olaf(lines: Iterable[str]) -> Found:
    """Of `olaf query`: a header and then one line a match, of 11 columns; where there is none, a count of 0."""
    found: Found = {}
    for line in lines:
        parts = [part.strip() for part in line.split(",")]
        if len(parts) == 11 and parts[0].isdigit():
            asked, count = _number(parts[2]), int(parts[4])
            if asked not in found or count > found[asked][1]:
                found[asked] = _number(parts[7]) if count else None, float(count)
    return found


class Panako(_System):
    """JorenSix/Panako, strategy PANAKO. Score: fingerprints in common.

    By default no match is shorter than 5 s, which 5-s excerpts never reach, nor beyond 20 % of speed or pitch. Here
    1 s is enough, and 0.7 to 1.45 are allowed (`PANAKO`): the better for finding, the worse for rejecting.
    """

    def _check(self) -> None:
        self._need(self.path, "panako.jar, or the program that starts it")
        if shutil.which("java") is None:
            raise ValueError("panako needs java, which is not on PATH: install a JDK or JRE of 11 or later")

    def _call(self, verb: str, names: list[str]) -> list[str]:
        # Its settings, preferences and index are below `user.home`, which is not $HOME to a JVM.
        self.environment["JAVA_TOOL_OPTIONS"] = (
            f"{os.environ.get('JAVA_TOOL_OPTIONS', '')} -Duser.home={self.scratch} -XX:ActiveProcessorCount=1"
        ).strip()
        opens = [f"--add-opens=java.base/{package}=ALL-UNNAMED" for package in ("java.nio", "sun.nio.ch")]
        start = ["java", *opens, "-jar", str(self.path)] if self.path.suffix == ".jar" else [str(self.path)]
        settings = {**PANAKO, "PANAKO_LMDB_FOLDER": str(self.store)}
        return self._run(*start, verb, *(f"{key}={value}" for key, value in settings.items()), *names)

    def _learn(self, names: list[str]) -> None:
        self._call("store", names)

    def _answers(self, names: list[str]) -> Found:
        return parse_panako(self._call("query", names))


def parse_panako(lines: Iterable[str]) -> Found:
    """Of `panako query`: a header and then one line a match, of 13 columns; where there is none, a path `null`."""
    found: Found = {}
    for line in lines:
        parts = [part.strip() for part in line.split(";")]
        if len(parts) == 13 and parts[0].isdigit():
            asked, score = _number(parts[2]), max(0.0, float(parts[9]))
            if asked not in found or score > found[asked][1]:
                found[asked] = None if parts[5] == "null" else _number(parts[5]), score
    return found


class Dejavu(_System):
    """worldveil/dejavu, which never rejects what has one hash in common.

    Score: its `input_confidence`, unrounded: hashes found in the song over the question's, above 1 where they recur.
    """

    def _check(self) -> None:
        self._need(self.path / "dejavu" / "__init__.py", "the checkout of dejavu")

    def _call(self, verb: str, names: list[str]) -> list[str]:
        return self._run(self._python(), "-c", DEJAVU, self.path, self.store / "dejavu.sqlite", verb, *names)

    def _learn(self, names: list[str]) -> None:
        self._call("index", names)

    def _answers(self, names: list[str]) -> Found:
        return parse_dejavu(self._call("ask", names))


def parse_dejavu(lines: Iterable[str]) -> Found:
    """Of `DEJAVU`: one JSON object a question, other lines are dejavu's own."""
    found: Found = {}
    for line in lines:
        if line.startswith('{"asked"'):
            said = json.loads(line)
            best = said["best"]
            found[_number(said["asked"])] = (None, 0.0) if best is None else (int(best), said["matched"] / said["of"])
    return found


DEJAVU = '''
import json, sqlite3, sys
from contextlib import contextmanager

root, place, verb, *names = sys.argv[1:]
sys.path.insert(0, root)
import matplotlib
matplotlib.use("Agg")
from dejavu import Dejavu
from dejavu.base_classes.common_database import CommonDatabase
from dejavu.config import settings
from dejavu.logic.recognizer.file_recognizer import FileRecognizer


class Sqlite(CommonDatabase):
    """The fourth database beside its MySQL and PostgreSQL, so that no server is needed. Same tables and questions."""

    CREATE_SONGS_TABLE = (
        "CREATE TABLE IF NOT EXISTS songs (song_id INTEGER PRIMARY KEY, song_name TEXT, file_sha1 TEXT, "
        "total_hashes INTEGER, fingerprinted INTEGER DEFAULT 0)"
    )
    CREATE_FINGERPRINTS_TABLE = (
        "CREATE TABLE IF NOT EXISTS fingerprints (hash BLOB, song_id INTEGER, at INTEGER, "
        "PRIMARY KEY (hash, song_id, at)) WITHOUT ROWID"
    )
    DELETE_UNFINGERPRINTED = "DELETE FROM songs WHERE fingerprinted = 0"
    INSERT_FINGERPRINT = "INSERT OR IGNORE INTO fingerprints (song_id, hash, at) VALUES (?, bytes(?), ?)"
    UPDATE_SONG_FINGERPRINTED = "UPDATE songs SET fingerprinted = 1 WHERE song_id = ?"
    SELECT_SONGS = "SELECT song_id, song_name, file_sha1, total_hashes FROM songs WHERE fingerprinted = 1"
    SELECT_SONG = "SELECT song_name, file_sha1, total_hashes FROM songs WHERE song_id = ?"
    SELECT_MULTIPLE = "SELECT hex(hash), song_id, at FROM fingerprints WHERE hash IN (%s)"
    IN_MATCH = "bytes(?)"

    def __init__(self):
        super().__init__()
        self.connection = sqlite3.connect(place)
        self.connection.create_function("bytes", 1, bytes.fromhex, deterministic=True)

    @contextmanager
    def cursor(self, dictionary=False, **options):
        self.connection.row_factory = (
            (lambda cursor, row: {field[0]: value for field, value in zip(cursor.description, row)})
            if dictionary else None
        )
        yield self.connection.cursor()
        self.connection.commit()

    def insert_song(self, song_name, file_hash, total_hashes):
        with self.cursor() as cursor:
            cursor.execute(
                "INSERT INTO songs (song_name, file_sha1, total_hashes) VALUES (?, ?, ?)",
                (song_name, file_hash, total_hashes),
            )
            return cursor.lastrowid


settings.DATABASES["sqlite"] = ("__main__", "Sqlite")
dejavu = Dejavu({"database_type": "sqlite"})
for name in names:
    if verb == "index":
        hashes, digest = Dejavu.get_file_fingerprints(name, None)
        song = dejavu.db.insert_song(name.split("/")[-1].split(".")[0], digest, len(hashes))
        dejavu.db.insert_hashes(song, list(hashes))
        dejavu.db.set_song_fingerprinted(song)
    else:
        best = (dejavu.recognize(FileRecognizer, name)[settings.RESULTS] or [None])[0]
        print(json.dumps({
            "asked": name,
            "best": best and best[settings.SONG_NAME].decode(),
            "matched": best and int(best[settings.HASHES_MATCHED]),
            "of": best and int(best[settings.INPUT_HASHES]),
        }))
'''
"""Indexes or asks these files, its parameters as they come. `fingerprint_file` of dejavu cannot be called as it is (it
forgets an argument of its database), so this does what `fingerprint_directory` does, on one process.
Arguments: checkout, database, `index` or `ask`, files."""


class Chromaprint(_System):
    """acoustid/chromaprint through `fpcalc`, which makes codes but does not search: `Codes` does. Score: 1 - error."""

    needs_ffmpeg = False

    def _check(self) -> None:
        self._need(self.path, "fpcalc, of Debian's libchromaprint-tools or acoustid.org", os.X_OK)

    def _learn(self, names: list[str]) -> None:
        self._codes = Codes([self._print(name) for name in names])
        self._codes.save(self.store / "codes.npz")

    def _answers(self, names: list[str]) -> Found:
        found: Found = {}
        for name in names:
            track, score = self._codes.search(self._print(name))
            found[_number(name)] = (None if track is None or 1 - score > BIT_ERRORS else track + 1), score
        return found

    def _print(self, name: str) -> npt.NDArray[np.uint32]:
        done = subprocess.run(
            [self.path, "-raw", "-json", "-length", "0", name],
            cwd=self.scratch,
            capture_output=True,
            text=True,
            check=False,
        )
        # With FFmpeg 5, `fpcalc` 1.5.1 ends with 3 at the end of every file, after it has printed all of it.
        if done.returncode in (0, 3) and done.stdout.strip():
            return np.array(json.loads(done.stdout)["fingerprint"], np.uint32)
        if "Empty fingerprint" in done.stderr:  # shorter than about 3 s
            return np.zeros(0, np.uint32)
        raise PeerError(f"fpcalc ended with {done.returncode}: {done.stderr[-600:].strip()}")


class Codes:
    """Chromaprint's codes of many tracks, and the plain search that is usual over such codes (Haitsma, Kalker 2002).

    Every code of the question, and each of the 32 that differ from it in one bit, votes for the places, (track,
    offset), that have it. The `CANDIDATES` places with most votes are compared bit by bit; the least bit error wins.
    """

    def __init__(self, tracks: Sequence[npt.NDArray[np.uint32]]) -> None:
        self.tracks = [np.asarray(track, np.uint32) for track in tracks]
        codes = np.concatenate([np.zeros(0, np.uint32), *self.tracks])
        order = np.argsort(codes, kind="stable")
        self.codes = codes[order]
        self.track = np.repeat(np.arange(len(tracks)), [len(track) for track in tracks])[order]
        self.at = np.concatenate([np.zeros(0, np.int64), *(np.arange(len(track)) for track in tracks)])[order]

    def save(self, path: Path) -> None:
        """The sorted codes and where each of them is, 12 bytes a code."""
        np.savez(path, codes=self.codes, track=self.track.astype(np.int32), at=self.at.astype(np.int32))

    def search(self, asked: npt.NDArray[np.uint32]) -> tuple[int | None, float]:
        """Number of the best track, and 1 - bit error rate there; None, 0.0 where no place has a vote."""
        best: tuple[int | None, float] = (None, 0.0)
        for track, offset in self._places(asked).tolist():
            known = self.tracks[track]
            start, end = max(0, offset), min(len(known), offset + len(asked))
            if end - start < max(1, MIN_OVERLAP * len(asked)):
                continue
            differ = known[start:end] ^ asked[start - offset : end - offset]
            score = 1 - float(np.unpackbits(differ.view(np.uint8)).mean())
            if best[0] is None or score > best[1]:
                best = track, score
        return best

    def _places(self, asked: npt.NDArray[np.uint32]) -> Ints:
        """Tracks and offsets with most votes, [places, 2]."""
        flips = np.concatenate([np.zeros(1, np.uint32), np.uint32(1) << np.arange(32, dtype=np.uint32)])
        near = (asked[:, None] ^ flips).reshape(-1)
        first, last = (np.searchsorted(self.codes, near, side) for side in ("left", "right"))
        count = last - first
        entry = np.repeat(first - np.concatenate([[0], np.cumsum(count)[:-1]]), count) + np.arange(count.sum())
        offset = self.at[entry] - np.repeat(np.repeat(np.arange(len(asked)), len(flips)), count)
        places, votes = np.unique(self.track[entry] * SPAN + offset + SPAN // 2, return_counts=True)
        most = places[np.argsort(-votes, kind="stable")[:CANDIDATES]]
        return np.stack([most // SPAN, most % SPAN - SPAN // 2], axis=1)


SYSTEMS: dict[str, type[_System]] = {
    "audfprint": Audfprint,
    "audfprint-dense": Audfprint,
    "olaf": Olaf,
    "panako": Panako,
    "dejavu": Dejavu,
    "chromaprint": Chromaprint,
}
