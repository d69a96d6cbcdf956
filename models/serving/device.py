"""Where networks run."""

from __future__ import annotations

import torch


class DeviceUnavailable(Exception):
    """The device that was asked for is not there. The message says what to do."""


def choose_device(name: str = "auto") -> torch.device:
    """The device of `auto` (CUDA where there is one, else the CPU), `cpu`, `cuda` or `cuda:N`.

    Raises:
        DeviceUnavailable: no such device here, or no such name.
    """
    if name == "cpu":
        return torch.device("cpu")
    if name == "auto":
        return torch.device("cuda", 0) if torch.cuda.is_available() else torch.device("cpu")
    kind, _, number = name.partition(":")
    if kind != "cuda" or (":" in name and not (number.isascii() and number.isdecimal())):
        raise DeviceUnavailable(f"unknown device {name!r}: say auto, cpu, cuda or cuda:N")
    if not torch.cuda.is_available():
        built = f"built for CUDA {torch.version.cuda}" if torch.version.cuda else "built without CUDA"
        raise DeviceUnavailable(
            f"device {name!r} was asked for, but torch ({built}) finds no GPU: check nvidia-smi and the driver, or "
            "set the device to cpu or auto"
        )
    index = int(number or 0)
    if index >= torch.cuda.device_count():
        raise DeviceUnavailable(f"device {name!r} was asked for, but there are {torch.cuda.device_count()} GPUs")
    return torch.device("cuda", index)


def inference_dtype(device: torch.device) -> torch.dtype:
    """The precision that networks run at: half on CUDA (activations here are bounded by ReLU6), single elsewhere."""
    return torch.float16 if device.type == "cuda" else torch.float32
