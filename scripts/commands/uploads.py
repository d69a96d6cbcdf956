"""`tagfarm tag` and `tagfarm enqueue`: uploads into the pipeline, here or through the farm."""

from __future__ import annotations

import hashlib
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from scripts.console import counter, emit, err, fail
from scripts.document_view import show_document

if TYPE_CHECKING:
    from collections.abc import Mapping

    from models.protocol import Encoder
    from store.store import Store
    from tasks.contract import TagUpload
    from tasks.lineup import Lineup
    from tasks.sound_library import SoundLibrary
    from workers.settings import Settings

Files = Annotated[list[Path], typer.Argument(help="Media files: video, sound or pictures.")]
Taggers = Annotated[list[str] | None, typer.Option("--tagger", help="Only these taggers; repeat for several.")]
Hashtags = Annotated[list[str] | None, typer.Option("--hashtag", help="Repeat for several.")]
MAX_ID = 120


def tag(
    files: Files,
    caption: Annotated[str, typer.Option(help="Caption, as the author wrote it.")] = "",
    hashtag: Hashtags = None,
    tagger: Taggers = None,
    version: Annotated[
        list[str] | None, typer.Option(help="Let this trained version speak, promoted or not: topics/3; repeat.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One TagDocument a line.")] = False,
) -> None:
    """Tag local files here and now: the farm's own pipeline, without a broker.

    Nothing is stored: sounds are looked up in this machine's catalogue, and no original sound is registered.
    """
    from media.types import DecoderDied
    from tasks.contract import TagDocument, TagUpload
    from tasks.pipeline import Analysis, analyse
    from tasks.sounds import sound_uses, with_sounds
    from workers.build import build_parts
    from workers.scratch import NodeScratch
    from workers.settings import settings

    here = settings().model_copy(deep=True)
    here.media.roots = [Path("/")]
    missing = [str(file) for file in files if not file.is_file()]
    if missing:
        fail(f"no such file: {', '.join(missing)}", code=2)
    scratch = NodeScratch(here.scratch)
    parts = None
    worst = 0
    try:
        with err.status("loading the networks"):
            parts = build_parts(here, scratch.path)
            parts.lineup.current = _lineup(here, version or [], parts.encoders)
            library = _library(here)
        with counter(transient=True) as bars:
            row = bars.add_task("tagging", total=len(files))
            for file in files:
                bars.update(row, description=f"tagging {file.name}")
                upload = _validated(
                    TagUpload,
                    upload_id=upload_id_of(file, file.resolve().as_uri()),
                    media=file.resolve().as_uri(),
                    caption=caption,
                    hashtags=hashtag or [],
                    taggers=tagger,
                )
                try:
                    analysis = analyse(upload, parts)
                except DecoderDied as died:  # a farm would try again
                    gone = TagDocument(upload_id=upload.upload_id, outcome=died.outcome, reason=died.reason)
                    analysis = Analysis(gone)
                matches = library.match(analysis.fingerprint) if analysis.fingerprint else []
                document = with_sounds(analysis.document, sound_uses(matches)).to_json()
                worst = max(worst, 0 if document["outcome"] in ("ok", "degraded") else 1)
                bars.advance(row)
                emit(document) if as_json else show_document(document, str(file))
    finally:
        if parts is not None:
            parts.close()
        scratch.close()
    raise typer.Exit(worst)


def _lineup(here: Settings, names: list[str], encoders: Mapping[str, Encoder]) -> Lineup:
    """The trained versions that were asked for."""
    from models.registry.taggers import build_tagger
    from models.registry.versions import VersionError, parse_name
    from tasks.lineup import Lineup
    from workers.versions import open_registry

    champions = {}
    try:
        for tagger, number in map(parse_name, names):
            if number is not None:
                champions[tagger] = build_tagger(open_registry(here).version(tagger, number), encoders)
    except VersionError as error:
        fail(f"{type(error).__name__}: {error}")
    return Lineup(champions)


def _library(here: Settings) -> SoundLibrary:
    """This machine's catalogue, brought up to the store's if there is one."""
    from sqlalchemy.engine import make_url

    from store.store import Store
    from tasks.sound_library import SoundLibrary

    library = SoundLibrary(here.index)
    url = make_url(here.store_url)
    if url.get_backend_name() != "sqlite" or Path(url.database or "").exists():
        store = Store.open(here.store_url)
        library.sync(store)
        store.close()
    return library


def enqueue(
    media: Annotated[list[str], typer.Argument(help="Files or URIs (file://, https://, s3://).")],
    upload_id: Annotated[str | None, typer.Option(help="Only with one upload; default: from the file's name.")] = None,
    caption: Annotated[str, typer.Option(help="Caption, as the author wrote it.")] = "",
    hashtag: Hashtags = None,
    country: Annotated[str | None, typer.Option(help="ISO 3166-1 alpha-2.")] = None,
    language: Annotated[str | None, typer.Option(help="BCP 47.")] = None,
    parent: Annotated[str | None, typer.Option(help="upload_id that this duets with or stitches.")] = None,
    priority: Annotated[int, typer.Option(min=0, max=9, help="9 is most urgent.")] = 5,
    tagger: Taggers = None,
    backfill: Annotated[bool, typer.Option(help="Bulk work: after all fresh uploads.")] = False,
    wait: Annotated[bool, typer.Option(help="Wait for the documents, with progress.")] = False,
    timeout: Annotated[float, typer.Option(help="With --wait: give up after so many seconds.")] = 600.0,
    as_json: Annotated[bool, typer.Option("--json", help="One object a line.")] = False,
) -> None:
    """Send uploads to the farm, with the message that an upload service sends."""
    from kombu import Connection
    from kombu.exceptions import OperationalError

    from scripts.local import open_store
    from tasks.contract import TagUpload
    from tasks.enqueue import Sender
    from workers.settings import settings

    if upload_id and len(media) > 1:
        fail("--upload-id goes with one upload", code=2)
    try:
        shown = Connection(settings().broker.url).as_uri()
        sender = Sender(settings().broker.url)
    except (KeyError, ValueError) as error:
        fail(f"TAGFARM_BROKER__URL cannot be read ({error}); write e.g. redis://host:6379/0 or amqp://user@host//")
    store = open_store(create=True) if wait else None
    sent: list[str] = []
    for item in media:
        uri, name = (item, Path(re.sub(r"[?#].*", "", item))) if "://" in item else (_file_uri(item), Path(item))
        chosen = upload_id or upload_id_of(name, uri)
        if chosen in sent:  # another file of the same name
            chosen = upload_id_of(name, uri, distinct=True)
        upload = _validated(
            TagUpload,
            upload_id=chosen,
            media=uri,
            caption=caption,
            hashtags=hashtag or [],
            country=country,
            language=language,
            parent_upload_id=parent,
            priority=priority,
            taggers=tagger,
        )
        queue = "backfill" if backfill else "uploads"
        if store is not None and not _register(store, upload, queue):
            sent.append(upload.upload_id)  # this very request is answered, or in work
            continue
        try:
            message = sender.send(upload, "backfill" if backfill else "uploads")
        except OperationalError as error:
            fail(f"the broker {shown} cannot be reached ({error}); is the farm up? run: tagfarm up")
        sent.append(upload.upload_id)
        if as_json and not wait:
            emit({"upload_id": upload.upload_id, "message": message})
        elif not as_json:
            err.print(f"enqueued {upload.upload_id}", highlight=False)
    if store is not None:
        _wait(store, sent, timeout, as_json)


def _register(store: Store, upload: TagUpload, queue: str) -> bool:
    """Note the request before its message, so that a wait is for its answer and not for an earlier one's."""
    request = upload.model_dump(mode="json", exclude_defaults=True)
    return store.register(upload.upload_id, request, upload.request_hash(), queue, upload.priority)


def _wait(store: Store, upload_ids: list[str], timeout: float, as_json: bool) -> None:
    waiting = dict.fromkeys(upload_ids)
    deadline = time.monotonic() + timeout
    with counter() as bars:
        row = bars.add_task("tagging", total=len(waiting))
        while waiting and time.monotonic() < deadline:
            for upload_id in list(waiting):
                status = store.status(upload_id)
                if status is not None and status.state in ("done", "quarantined"):
                    document = store.document(upload_id)
                    del waiting[upload_id]
                    bars.advance(row)
                    if document is not None:
                        emit(document) if as_json else show_document(document, upload_id)
            time.sleep(0.2)
    if waiting:
        fail(f"no document after {timeout:.0f} s: {', '.join(waiting)}; is a node running? see: tagfarm doctor")


def _validated(model: Any, **fields: Any) -> Any:
    from pydantic import ValidationError

    try:
        return model(**fields)
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors())
        fail(problems, code=2)


def _file_uri(item: str) -> str:
    path = Path(item)
    if not path.is_file():
        fail(f"no such file, and not a URI: {item}", code=2)
    return path.resolve().as_uri()


def upload_id_of(path: Path, uri: str, distinct: bool = False) -> str:
    """A valid upload_id from a file's name; with a part of the URI's hash where the name alone would not tell."""
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", path.stem).strip("-._")[:MAX_ID]
    if distinct or name != path.stem:
        name = f"{name or 'upload'}-{hashlib.sha256(uri.encode()).hexdigest()[:8]}"
    return name
