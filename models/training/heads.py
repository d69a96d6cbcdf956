"""Heads as they are trained: torch modules over padded uploads. `models.serving.head` runs the same tensors."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from ..serving.head import HeadKind

HIDDEN = 256
DROPOUT = 0.2
OUT_STD = 1e-3
"""Of the first weights of the last layer: an untrained head says one half of everything."""


class TrainedHead(nn.Module):
    """[uploads, frames, d] with a mask to upload logits [uploads, labels].

    `linear`: one layer on each frame, mean over frames. `mlp`: a hidden layer before it. `attention`: one layer, and
    frames weighted by a learned gate for each label (Ilse et al. 2018), for what shows only now and then.
    """

    def __init__(
        self, kind: HeadKind, mean: npt.NDArray[np.float32], scale: npt.NDArray[np.float32], labels: int
    ) -> None:
        super().__init__()
        self.kind = kind
        width = len(mean)
        self.register_buffer("mean", torch.from_numpy(mean.copy()))
        self.register_buffer("scale", torch.from_numpy(scale.copy()))
        self.hidden = nn.Linear(width, HIDDEN) if kind == "mlp" else None
        width = HIDDEN if kind == "mlp" else width
        self.gate = nn.Linear(width, labels) if kind == "attention" else None
        self.out = nn.Linear(width, labels)
        nn.init.normal_(self.out.weight, std=OUT_STD)
        nn.init.zeros_(self.out.bias)
        if self.gate is not None:
            nn.init.zeros_(self.gate.weight)
            nn.init.zeros_(self.gate.bias)

    def forward(self, rows: Tensor, mask: Tensor) -> Tensor:
        """`rows` [uploads, frames, d]; `mask` [uploads, frames], True for a frame. An upload has at least one."""
        hidden = (rows - self.get_buffer("mean")) * self.get_buffer("scale")
        if self.hidden is not None:
            hidden = functional.dropout(torch.relu(self.hidden(hidden)), DROPOUT, self.training)
        frames = self.out(hidden)
        here = mask[..., None]
        if self.gate is None:
            return (frames * here).sum(1) / here.sum(1)
        weights = torch.softmax(self.gate(hidden).masked_fill(~here, -torch.inf), dim=1)
        return (frames * weights).sum(1)

    def arrays(self) -> dict[str, npt.NDArray[np.float32]]:
        """Its tensors by name, on the CPU."""
        return {name: value.detach().cpu().numpy().copy() for name, value in self.state_dict().items()}
