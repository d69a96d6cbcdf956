"""A training run's state on the disk, so that one that was cut short goes on where it was."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

Arrays = dict[str, npt.NDArray[Any]]


def write_checkpoint(
    path: Path,
    name: str,
    arrays: Mapping[str, npt.NDArray[Any]],
    optimizer: torch.optim.Optimizer,
    facts: Mapping[str, Any],
) -> None:
    """Write the whole state, in one step.

    Args:
        path: of the file.
        name: of the run: another's checkpoint is not taken up.
        arrays: everything but the optimizer's.
        optimizer: whose moments are kept.
        facts: attributes by name, plain JSON values.
    """
    from safetensors.numpy import save

    whole: Arrays = dict(arrays)
    for key, moments in optimizer.state_dict()["state"].items():
        whole |= {f"adam/{key}/{part}": value.cpu().numpy() for part, value in moments.items()}
    whole["facts"] = np.frombuffer(json.dumps({"name": name, **facts}).encode(), np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    incoming = path.with_name(f"{path.name}.incoming")
    with incoming.open("wb") as file:
        file.write(save(whole))
        file.flush()
        os.fsync(file.fileno())
    incoming.replace(path)


def read_checkpoint(path: Path, name: str) -> tuple[Arrays, dict[str, Any]] | None:
    """Arrays and facts of a run's checkpoint; None: there is none, it is damaged, or another run's."""
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        arrays = load(path.read_bytes())
        facts = json.loads(arrays["facts"].tobytes())
    except (OSError, ValueError, KeyError, SafetensorError):
        return None
    return (arrays, facts) if facts.pop("name") == name else None


def restore_moments(optimizer: torch.optim.Optimizer, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
    """Give an optimizer the moments of a checkpoint."""
    state = optimizer.state_dict()
    for number in sorted({int(key.split("/")[1]) for key in arrays if key.startswith("adam/")}):
        moments = under(f"adam/{number}/", arrays)
        state["state"][number] = {part: torch.from_numpy(value) for part, value in moments.items()}
    optimizer.load_state_dict(state)


def under(prefix: str, arrays: Mapping[str, npt.NDArray[Any]]) -> Arrays:
    """The arrays below a prefix, by the rest of their names."""
    return {key.removeprefix(prefix): value.copy() for key, value in arrays.items() if key.startswith(prefix)}
