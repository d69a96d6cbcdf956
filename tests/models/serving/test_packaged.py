from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from models.serving.packaged import read_packaged


def test_half_precision_is_read_as_single_and_the_format_is_checked(tmp_path: Path) -> None:
    path = tmp_path / "fitted.safetensors"
    save_file({"weight": np.ones((2, 3), np.float16)}, path, metadata={"format": "2", "labels": "a b"})
    metadata, tensors = read_packaged(path, "2")
    assert metadata["labels"] == "a b"
    assert tensors["weight"].dtype == np.float32 and tensors["weight"].shape == (2, 3)
    with pytest.raises(ValueError, match=r"fitted\.safetensors has format 2, this program reads 1"):
        read_packaged(path, "1")


def test_a_file_without_metadata_has_no_format(tmp_path: Path) -> None:
    path = tmp_path / "fitted.safetensors"
    save_file({"weight": np.ones(3, np.float32)}, path)
    with pytest.raises(ValueError, match="format None"):
        read_packaged(path, "1")
