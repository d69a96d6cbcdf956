from __future__ import annotations

import pytest
import torch

from models.serving.device import DeviceUnavailable, choose_device, inference_dtype

HAS_GPU = torch.cuda.is_available()


def test_cpu_and_auto() -> None:
    assert choose_device("cpu") == torch.device("cpu")
    assert choose_device("auto").type == ("cuda" if HAS_GPU else "cpu")
    assert inference_dtype(torch.device("cpu")) == torch.float32


@pytest.mark.parametrize("name", ["", "gpu", "cuda:", "cuda:x", "cuda:-1", "cuda:²", "mps", "cpu:0", "CUDA"])
def test_unknown_names_say_what_there_is(name: str) -> None:
    with pytest.raises(DeviceUnavailable, match="auto, cpu, cuda or cuda:N"):
        choose_device(name)


@pytest.mark.skipif(HAS_GPU, reason="there is a GPU")
def test_cuda_without_a_gpu_says_what_to_do() -> None:
    with pytest.raises(DeviceUnavailable, match="nvidia-smi"):
        choose_device("cuda:1")


@pytest.mark.skipif(not HAS_GPU, reason="needs a GPU")
def test_cuda_with_a_gpu() -> None:
    assert choose_device("cuda") == torch.device("cuda", 0)
    with pytest.raises(DeviceUnavailable, match="GPUs"):
        choose_device("cuda:99")
    assert inference_dtype(torch.device("cuda")) == torch.float16
