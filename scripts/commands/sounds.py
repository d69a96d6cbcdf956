"""`tagfarm sounds`: the catalogue of known sounds."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from scripts.console import counter, emit, err, fail, out, plain
from scripts.local import open_store

if TYPE_CHECKING:
    from models.soundid.fingerprint import Fingerprint

app = typer.Typer(help="Known sounds: songs, effects, and originals that uploads brought.", no_args_is_help=True)
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object a line.")]
SUFFIXES = {".wav", ".mp3", ".ogg", ".oga", ".opus", ".flac", ".m4a", ".aac", ".mp4", ".mkv", ".webm", ".mov", ".wma"}


@app.command()
def add(
    paths: Annotated[list[Path], typer.Argument(help="Files and folders; folders are searched for sound files.")],
    effect: Annotated[bool, typer.Option("--effect", help="These are effects, not songs.")] = False,
    title: Annotated[str | None, typer.Option(help="Only with one file; default: its name.")] = None,
    as_json: AsJson = False,
) -> None:
    """Add songs or effects to the catalogue. What is there already (the same bytes) is left as it is."""
    files = list(_files(paths))
    if not files:
        fail(f"no sound file in {', '.join(map(str, paths))}", code=2)
    if title and len(files) > 1:
        fail("--title goes with one file", code=2)
    store = open_store(create=True)
    refused: list[str] = []
    known = 0
    with counter() as bars, tempfile.TemporaryDirectory(prefix="tagfarm-sounds-") as scratch:
        fingerprints = _fingerprints(files, Path(scratch))
        row = bars.add_task("sounds", total=len(files))
        for file, fingerprint in fingerprints:
            bars.update(row, description=file.name[:40])
            if isinstance(fingerprint, str):
                refused.append(f"{file}: {fingerprint}")
            else:
                sound_id, new = store.add_sound(
                    kind="effect" if effect else "song",
                    title=title or file.stem,
                    duration_s=fingerprint.duration_s,
                    fingerprint=fingerprint.to_bytes(),
                    source_sha256=_sha256(file),
                )
                known += not new
                if as_json:
                    emit({"sound_id": sound_id, "file": str(file), "new": new})
            bars.advance(row)
    err.print(
        f"{len(files) - len(refused) - known} added, {known} known already, {len(refused)} refused", highlight=False
    )
    for line in refused:
        err.print(f"  [yellow]{plain(line)}[/]", highlight=False)
    store.close()
    if len(refused) == len(files):
        raise typer.Exit(1)


def _files(paths: list[Path]) -> Iterator[Path]:
    for path in paths:
        if path.is_dir():
            yield from sorted(file for file in path.rglob("*") if file.suffix.lower() in SUFFIXES and file.is_file())
        elif path.is_file():
            yield path
        else:
            fail(f"no such file or folder: {path}", code=2)


def _fingerprints(files: list[Path], scratch: Path) -> Iterator[tuple[Path, Fingerprint | str]]:
    """Decode in the sandbox, as an upload is: a catalogue file comes from outside as well. A string says why not."""
    import shutil
    from concurrent.futures import ThreadPoolExecutor

    from media.pool import DecoderPool
    from media.types import Limits, MediaError
    from models.soundid.fingerprint import Fingerprint, FingerprintError, FingerprintObserver
    from workers.settings import settings

    pool = DecoderPool(settings().media.decoders, Limits(sample_rate_hz=0.1), (FingerprintObserver,), scratch)

    def one(file: Path) -> Fingerprint | str:
        folder = Path(tempfile.mkdtemp(dir=scratch))
        try:
            decoded = pool.decode(file.resolve(), folder)
            if decoded.info.audio is None:
                return "it has no sound"
            fingerprint = Fingerprint.from_observation(decoded.observations["fingerprint"])
            return fingerprint if len(fingerprint.hashes) else "it is silent"
        except (MediaError, FingerprintError) as error:
            return str(error)
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    try:
        with ThreadPoolExecutor(settings().media.decoders) as threads:
            yield from zip(files, threads.map(one, files), strict=True)
    finally:
        pool.close()


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@app.command("list")
def list_(
    kind: Annotated[str | None, typer.Option(help="song, effect or original.")] = None,
    search: Annotated[str | None, typer.Option(help="Part of the title.")] = None,
    limit: Annotated[int, typer.Option(min=1)] = 50,
    as_json: AsJson = False,
) -> None:
    """Known sounds, the newest first."""
    store = open_store()
    table = Table("sound_id", "kind", "s", "uses", "title", box=None, header_style="bold")
    for sound in store.list_sounds(kind=kind, search=search, limit=limit):
        if as_json:
            emit(
                {
                    "sound_id": sound.sound_id,
                    "kind": sound.kind,
                    "title": sound.title,
                    "duration_s": sound.duration_s,
                    "uses": sound.uses,
                }
            )
        else:
            table.add_row(sound.sound_id, sound.kind, f"{sound.duration_s:.1f}", str(sound.uses), plain(sound.title))
    if not as_json:
        out.print(table)


@app.command()
def show(sound_id: str, as_json: AsJson = False) -> None:
    """One sound and the uploads that use it."""
    store = open_store()
    sound = store.sound(sound_id)
    if sound is None:
        fail(f"no sound {sound_id!r}; see: tagfarm sounds list")
    uses = store.sound_uses(sound.sound_id)
    if as_json:
        emit(
            {
                "sound_id": sound.sound_id,
                "kind": sound.kind,
                "title": sound.title,
                "duration_s": sound.duration_s,
                "origin_upload_id": sound.origin_upload_id,
                "uses": [{"upload_id": use.upload_id, "range": [use.start_s, use.end_s]} for use in uses],
            }
        )
        return
    out.print(
        f"[bold]{sound.sound_id}[/]  {sound.kind}  {sound.duration_s:.1f} s  {plain(sound.title)}", highlight=False
    )
    for use in uses:
        out.print(
            f"  {use.upload_id:<32} {use.start_s:7.1f} - {use.end_s:.1f} s from {use.offset_s:.1f} s", highlight=False
        )


@app.command()
def match(files: Annotated[list[Path], typer.Argument(help="Media files.")], as_json: AsJson = False) -> None:
    """Which known sounds are in these files."""
    from tasks.sound_library import SoundLibrary
    from tasks.sounds import sound_uses
    from workers.settings import settings

    store = open_store()
    library = SoundLibrary(settings().index)
    library.sync(store)
    with tempfile.TemporaryDirectory(prefix="tagfarm-sounds-") as scratch:
        for file, fingerprint in _fingerprints(list(_files(files)), Path(scratch)):
            uses = [] if isinstance(fingerprint, str) else sound_uses(library.match(fingerprint))
            if as_json:
                emit({"file": str(file), "sounds": [use.model_dump(mode="json") for use in uses]})
                continue
            out.print(f"[bold]{plain(file)}[/]", highlight=False)
            if isinstance(fingerprint, str):
                out.print(f"  {plain(fingerprint)}", highlight=False)
            elif not uses:
                out.print("  no known sound")
            for use in uses:
                where = f"{use.range[0]:.1f} - {use.range[1]:.1f} s from {use.offset_s:.1f} s"
                out.print(
                    f"  {use.sound_id}  {use.kind}  {plain(use.title)}  {where}  {use.score:.2f}", highlight=False
                )


@app.command()
def merge(sound_id: str, into: str) -> None:
    """Make one sound a part of another: its id goes on working as an alias, its uses are the other's."""
    from store.store import UnknownSound

    store = open_store()
    try:
        store.merge_sounds(sound_id, into)
    except UnknownSound as error:
        fail(f"{error}; see: tagfarm sounds list")
    err.print(f"{plain(sound_id)} is now {plain(into)}")


@app.command()
def remove(sound_id: str) -> None:
    """Forget a sound: it is not recognised any more. Documents that name it stay as they are."""
    if not open_store().remove_sound(sound_id):
        fail(f"no sound {sound_id!r}; see: tagfarm sounds list")
    err.print(f"removed {plain(sound_id)}")


@app.command()
def trending(
    hours: Annotated[float, typer.Option(min=0.01, help="Length of the window.")] = 24.0,
    limit: Annotated[int, typer.Option(min=1)] = 20,
    as_json: AsJson = False,
) -> None:
    """Sounds that more uploads use than in the window before."""
    table = Table("sound_id", "kind", "uses", "before", "title", box=None, header_style="bold")
    for trend in open_store().trending(hours * 3600, limit):
        if as_json:
            emit({"sound_id": trend.sound_id, "title": trend.title, "uses": trend.uses, "before": trend.before})
        else:
            table.add_row(trend.sound_id, trend.kind, str(trend.uses), str(trend.before), plain(trend.title))
    if not as_json:
        out.print(table)


@app.command()
def rebuild() -> None:
    """Make the sound index anew from the store: this machine's copy, or the one that all nodes share."""
    from tasks.sound_library import SoundLibrary
    from workers.settings import settings

    with err.status("rebuilding"):
        library = SoundLibrary.rebuild(settings().index, open_store())
    stats = library.index.stats()
    err.print(f"{stats['sounds']} sounds, {stats['bytes'] / 1e6:.1f} MB")
