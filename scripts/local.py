"""The store and the artifacts of this machine's settings, for commands."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from scripts.console import fail
from workers.settings import settings

if TYPE_CHECKING:
    from store.artifacts import ArtifactStore
    from store.store import Store


def open_store(create: bool = False) -> Store:
    """The store. Without `create`, one that is not there is an error that says what to do."""
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    from store.store import Store, StoreError

    try:
        url = make_url(settings().store_url)
    except ArgumentError:
        fail("TAGFARM_STORE__URL cannot be read; write e.g. postgresql://user@host/tagfarm")
    if url.get_backend_name() == "sqlite" and url.database and not create and not Path(url.database).exists():
        fail(f"there is no store at {url.database} yet; start the farm with: tagfarm up, or set TAGFARM_STORE__URL")
    try:
        settings().home.mkdir(parents=True, exist_ok=True)
        return Store.open(settings().store_url)
    except StoreError as error:
        fail(str(error))


def open_artifacts() -> ArtifactStore:
    """Embeddings, curves and key frames."""
    from store.artifacts import ArtifactStore

    return ArtifactStore(settings().artifacts_url)
