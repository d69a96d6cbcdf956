"""Public audio fingerprint systems, asked beside tagfarm in the same run of the sound identity benchmark.

Adapters only: each runs what `--peer NAME=PATH` says is installed, and reads what it prints.

| NAME | PATH | how it is run |
| --- | --- | --- |
| `audfprint` | checkout | `audfprint.py new`, `match`, as it comes (20 hashes/s) |
| `audfprint-dense` | checkout | the same at `--density 100 --fanout 5`: 159 hashes/s |
| `olaf` | the binary `olaf` | `store --with-ids`, `query`, as it comes |
| `panako` | `panako.jar`, or its launcher | `store`, `query`; for what is widened, see `Panako` |
| `dejavu` | checkout | `python -c`, its database in SQLite: see `sound_dejavu` |
| `chromaprint` | `fpcalc`; none: the one on `$PATH` | `fpcalc -raw -json`, and a search of our own: see `sound_codes` |

A checkout's Python is its own `.venv` where it has one, else this one. All but Chromaprint read sound through `ffmpeg`.
Every system runs on one thread, in a scratch folder, in which it sees numbered links and never a recording's id.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from .sound_codes import Codes
from .sound_dejavu import DEJAVU
from .sound_system import Found, Peer, PeerError, System, number_of

DENSE = ("--density", "100", "--fanout", "5")
"""Makes 159 hashes/s of music, where audfprint's defaults make 20."""
BIT_ERRORS = 0.35
"""Chromaprint: greatest share of bits that differ in a match (Haitsma and Kalker 2002, section 4.2)."""
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


class Audfprint(System):
    """dpwe/audfprint. Score: hashes in common that agree on the offset; it accepts from 6 on."""

    def _check(self) -> None:
        self.need(self.path / "audfprint.py", "the checkout of audfprint")

    def _call(self, verb: str, names: list[str]) -> list[str]:
        options = DENSE if self.name == "audfprint-dense" else ()
        place = self.store / "table.pklz"
        return self.run(self.python(), self.path / "audfprint.py", verb, "--dbase", place, *options, *names)

    def _learn(self, names: list[str]) -> None:
        self._call("new", names)

    def _answers(self, names: list[str]) -> Found:
        return parse_audfprint(self._call("match", names))


def parse_audfprint(lines: Iterable[str]) -> Found:
    """Of `audfprint.py match`: one line a question."""
    found: Found = {}
    for line in lines:
        if hit := re.match(r"Matched (\S+) .* raw hashes as (\S+) at .* with +(\d+) of", line):
            found[number_of(hit[1])] = number_of(hit[2]), float(hit[3])
        elif miss := re.match(r"NOMATCH (\S+) ", line):
            found[number_of(miss[1])] = None, 0.0
    return found


class Olaf(System):
    """JorenSix/Olaf. Score: fingerprints in common that agree on the offset; it accepts from 6 on."""

    def _check(self) -> None:
        self.need(self.path, "the program olaf", os.X_OK)

    def _learn(self, names: list[str]) -> None:
        # Its settings are in $HOME/.olaf; without any it takes the "~" of its own defaults for a folder's name.
        self.environment["HOME"] = str(self.scratch)
        settings = self.scratch / ".olaf" / "olaf_config.json"
        settings.parent.mkdir()
        settings.write_text(json.dumps({"db_folder": f"{self.store}/", "cache_folder": f"{self.scratch}/cache/"}))
        pairs = [part for name in names for part in (name, name)]
        self.run(self.path, "store", "--threads", "1", "--with-ids", *pairs)

    def _answers(self, names: list[str]) -> Found:
        return parse_olaf(self.run(self.path, "query", "--threads", "1", *names))


def parse_olaf(lines: Iterable[str]) -> Found:
    """Of `olaf query`: a header and then one line a match, of 11 columns; where there is none, a count of 0."""
    found: Found = {}
    for line in lines:
        parts = [part.strip() for part in line.split(",")]
        if len(parts) == 11 and parts[0].isdigit():
            asked, count = number_of(parts[2]), int(parts[4])
            if asked not in found or count > found[asked][1]:
                found[asked] = number_of(parts[7]) if count else None, float(count)
    return found


class Panako(System):
    """JorenSix/Panako, strategy PANAKO. Score: fingerprints in common.

    By default no match is shorter than 5 s, which 5-s excerpts never reach, nor beyond 20 % of speed or pitch. Here
    1 s is enough, and 0.7 to 1.45 are allowed (`PANAKO`): the better for finding, the worse for rejecting.
    """

    def _check(self) -> None:
        self.need(self.path, "panako.jar, or the program that starts it")
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
        return self.run(*start, verb, *(f"{key}={value}" for key, value in settings.items()), *names)

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
            asked, score = number_of(parts[2]), max(0.0, float(parts[9]))
            if asked not in found or score > found[asked][1]:
                found[asked] = None if parts[5] == "null" else number_of(parts[5]), score
    return found


class Dejavu(System):
    """worldveil/dejavu, which never rejects what has one hash in common.

    Score: its `input_confidence`, unrounded: hashes found in the song over the question's, above 1 where they recur.
    """

    def _check(self) -> None:
        self.need(self.path / "dejavu" / "__init__.py", "the checkout of dejavu")

    def _call(self, verb: str, names: list[str]) -> list[str]:
        return self.run(self.python(), "-c", DEJAVU, self.path, self.store / "dejavu.sqlite", verb, *names)

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
            found[number_of(said["asked"])] = (None, 0.0) if best is None else (int(best), said["matched"] / said["of"])
    return found


class Chromaprint(System):
    """acoustid/chromaprint through `fpcalc`, which makes codes but does not search: `Codes` does. Score: 1 - error."""

    needs_ffmpeg = False

    def _check(self) -> None:
        self.need(self.path, "fpcalc, of Debian's libchromaprint-tools or acoustid.org", os.X_OK)

    def _learn(self, names: list[str]) -> None:
        self._codes = Codes([self._print(name) for name in names])
        self._codes.save(self.store / "codes.npz")

    def _answers(self, names: list[str]) -> Found:
        found: Found = {}
        for name in names:
            track, score = self._codes.search(self._print(name))
            found[number_of(name)] = (None if track is None or 1 - score > BIT_ERRORS else track + 1), score
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


SYSTEMS: dict[str, type[System]] = {
    "audfprint": Audfprint,
    "audfprint-dense": Audfprint,
    "olaf": Olaf,
    "panako": Panako,
    "dejavu": Dejavu,
    "chromaprint": Chromaprint,
}
