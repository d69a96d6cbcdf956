"""Tensors that a benchmark has fitted and that are packaged beside the code that reads them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
from safetensors import safe_open


def read_packaged(path: Path, version: str) -> tuple[dict[str, str], dict[str, npt.NDArray[np.float32]]]:
    """A safetensors file's metadata, and its tensors in single precision.

    Raises:
        ValueError: its metadata names another format than `version`.
    """
    with safe_open(path, "numpy") as file:
        metadata = dict(file.metadata() or {})
        tensors = {name: np.asarray(file.get_tensor(name), np.float32) for name in file.keys()}  # noqa: SIM118
    if metadata.get("format") != version:
        raise ValueError(f"{path.name} has format {metadata.get('format')}, this program reads {version}")
    return metadata, tensors
