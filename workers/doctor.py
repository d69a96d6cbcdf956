"""`tagfarm doctor`: what is missing or unsafe on this machine, and how to mend it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import ValidationError
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from workers.settings import Settings

State = Literal["good", "warning", "bad"]
MIN_SCRATCH_GB = 5.0


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    what: str
    state: State
    found: str
    cure: str = ""


def examine(quick: bool = False) -> list[Finding]:
    """Look at everything; nothing is changed."""
    try:
        settings = Settings()
    except ValidationError as error:
        message = "; ".join(
            f"{'.'.join(map(str, item['loc'])) or 'settings'}: {item['msg']}" for item in error.errors()
        )
        return [Finding("settings", "bad", message, "see workers/settings.py for every setting and its meaning")]
    looks: list[Callable[[Settings], list[Finding]]] = [_safety, _broker, _store, _weights]
    if not quick:
        looks += [_device, _decoder, _sandbox, _scratch, _roots, _sounds, _versions]
    findings = []
    for look in looks:
        try:
            findings += look(settings)
        except Exception as error:
            findings.append(Finding(look.__name__.strip("_"), "bad", f"{type(error).__name__}: {error}"))
    return findings


def _safety(settings: Settings) -> list[Finding]:
    from workers.celery_config import celery_config
    from workers.safety import UnsafeSettings

    try:
        celery_config(settings)
    except UnsafeSettings as error:
        return [Finding("delivery", "bad", str(error), "no node starts with this")]
    return [Finding("delivery", "good", "acknowledged late, JSON only, timeouts longer than the longest job")]


def _broker(settings: Settings) -> list[Finding]:
    from kombu import Connection

    url = settings.broker.url
    try:
        with Connection(url, connect_timeout=3, transport_options={"socket_connect_timeout": 3}) as connection:
            connection.ensure_connection(max_retries=1, interval_start=0.1)
            shown = connection.as_uri()
    except Exception as error:
        cure = "start one here with `tagfarm up`, or set TAGFARM_BROKER__URL"
        return [Finding("broker", "bad", f"cannot be reached: {error}", cure)]
    return [Finding("broker", "good", shown)]


def _store(settings: Settings) -> list[Finding]:
    from store.store import SchemaOlder, Store, StoreError

    try:
        url = make_url(settings.store_url)
    except ArgumentError:
        return [Finding("store", "bad", "TAGFARM_STORE__URL cannot be read", "write postgresql://user@host/tagfarm")]
    shown = url.render_as_string(hide_password=True)
    if url.get_backend_name() == "sqlite" and not Path(url.database or "").exists():
        return [Finding("store", "warning", f"{shown} is not there yet", "`tagfarm up` or a worker makes it")]
    try:
        store = Store.open(settings.store_url, migrate_schema=False)
        store.check()
        store.close()
    except SchemaOlder as error:
        return [Finding("store", "warning", str(error), "the next node or command that opens it migrates it")]
    except StoreError as error:
        return [Finding("store", "bad", str(error), "check TAGFARM_STORE__URL and that the database runs")]
    return [Finding("store", "good", shown)]


def _weights(settings: Settings) -> list[Finding]:
    from models.registry.weights import list_weights

    findings = []
    for status in list_weights(settings.models.weights):
        if status.state == "installed":
            findings.append(Finding(f"weights {status.entry.name}", "good", f"version {status.entry.version}"))
        else:
            cure = f"tagfarm weights pull {status.entry.name}"
            found = f"{status.state}: its taggers are reported as absent"
            findings.append(Finding(f"weights {status.entry.name}", "bad", found, cure))
    return findings


def _device(settings: Settings) -> list[Finding]:
    import torch

    from models.serving.device import choose_device

    device = choose_device(settings.models.device)
    if device.type == "cuda":
        return [Finding("device", "good", f"{device}: {torch.cuda.get_device_name(device)}")]
    cure = (
        "" if settings.models.device == "cpu" else "fine for trying; set TAGFARM_MODELS__DEVICE=cpu to say it is meant"
    )
    return [Finding("device", "good" if not cure else "warning", f"CPU, {torch.get_num_threads()} threads", cure)]


def _decoder(settings: Settings) -> list[Finding]:
    import av

    wanted = ("h264", "hevc", "vp9", "av1", "aac", "mp3", "opus")
    missing = [name for name in wanted if name not in av.codecs_available]
    if missing:
        return [
            Finding("decoder", "bad", f"PyAV {av.__version__} lacks {', '.join(missing)}", "install PyAV's own wheel")
        ]
    return [Finding("decoder", "good", f"PyAV {av.__version__}, libavcodec {av.library_versions['libavcodec'][0]}")]


def _sandbox(settings: Settings) -> list[Finding]:
    from media.capabilities import capabilities

    return [
        Finding(f"sandbox: {one.name}", "good" if one.in_force else "warning", one.detail) for one in capabilities()
    ]


def _scratch(settings: Settings) -> list[Finding]:
    folder = settings.scratch
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free / 1e9
    if free < MIN_SCRATCH_GB:
        return [Finding("scratch", "bad", f"{free:.1f} GB free at {folder}", "set TAGFARM_MEDIA__SCRATCH elsewhere")]
    return [Finding("scratch", "good", f"{free:.0f} GB free at {folder}")]


def _roots(settings: Settings) -> list[Finding]:
    roots = settings.media.roots
    if not roots:
        cure = 'TAGFARM_MEDIA__ROOTS=["/uploads"] lets nodes read that folder; https:// and s3:// need none'
        return [Finding("media roots", "warning", "none: no file:// upload will be read", cure)]
    broad = [str(root) for root in roots if root.resolve() == root.resolve().parent or root.resolve() == settings.home]
    if broad:
        return [
            Finding("media roots", "bad", f"{', '.join(broad)} lets an upload name any file", "name narrower folders")
        ]
    return [Finding("media roots", "good", ", ".join(map(str, roots)))]


def _sounds(settings: Settings) -> list[Finding]:
    from store.store import StoreUnavailable
    from tasks.sound_library import open_index

    place = settings.index
    if isinstance(place, Path) and not place.exists():
        return [Finding("sound index", "good", "empty: it is made from the store when the first node starts")]
    try:
        stats = open_index(place).stats()
    except StoreUnavailable as error:
        return [Finding("sound index", "bad", str(error), "start its servers, or mend TAGFARM_SOUNDS__SERVERS")]
    except Exception as error:
        return [Finding("sound index", "bad", str(error), "tagfarm sounds rebuild")]
    where = "" if isinstance(place, Path) else f", shared, on {len(place)} servers"
    return [Finding("sound index", "good", f"{stats['sounds']} sounds, {stats['bytes'] / 1e6:.1f} MB{where}")]


def _versions(settings: Settings) -> list[Finding]:
    from models.protocol import WeightsMissing
    from models.registry.versions import VersionError
    from store.store import Store
    from workers.versions import check_version, load_version, open_registry

    if any(finding.state != "good" for finding in _store(settings)):
        return []  # that is told already
    store = Store.open(settings.store_url, migrate_schema=False)
    try:
        states = [state for state in store.aliases() if state.number is not None]
    finally:
        store.close()
    findings = []
    for state in states:
        what, name = f"{state.alias} of {state.tagger}", f"{state.tagger}/{state.number}"
        try:
            assert state.number is not None
            check_version(settings, load_version(open_registry(settings), state.tagger, state.number, state.digest))
            findings.append(Finding(what, "good", name))
        except (VersionError, WeightsMissing) as error:
            cure = f"tagfarm models rollback {state.tagger} --as {state.alias} --why ..., or mend it: docs/runbook.md"
            findings.append(Finding(what, "bad", f"{type(error).__name__}: {error}", cure))
    return findings or [Finding("trained versions", "good", "none is used: the packaged taggers speak")]
