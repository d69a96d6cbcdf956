"""Shared by the models' tests: real weights, pulled once into the cache that `tagfarm weights pull` fills."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from models.registry import weights


@pytest.fixture(scope="session")
def weights_dir() -> Path:
    """The weights cache with everything that the manifest names. `TAGFARM_WEIGHTS` puts it elsewhere."""
    cache = Path(os.environ.get("TAGFARM_WEIGHTS", "~/.cache/tagfarm/weights")).expanduser().absolute()
    weights.pull(cache)
    return cache
