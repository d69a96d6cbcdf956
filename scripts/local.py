"""The store and the artifacts of this machine's settings, for commands."""

from __future__ import annotations

from sqlalchemy.engine import make_url

from scripts.console import fail
from store.artifacts import ArtifactStore
from store.store import Store, StoreError
from workers.settings import settings


def open_store(create: bool = False) -> Store:
    """The store. Without `create`, one that is not there is an error that says what to do."""
    url = make_url(settings().store_url)
    if url.get_backend_name() == "sqlite" and url.database and not create:
        from pathlib import Path

        if not Path(url.database).exists():
            fail(f"there is no store at {url.database} yet; start the farm with: tagfarm up, or set TAGFARM_STORE__URL")
    try:
        settings().home.mkdir(parents=True, exist_ok=True)
        return Store.open(settings().store_url)
    except StoreError as error:
        fail(str(error))


def open_artifacts() -> ArtifactStore:
    """Embeddings, curves and key frames."""
    return ArtifactStore(settings().artifacts_url)
