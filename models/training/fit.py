"""Fitting a head: AdamW on masked cross-entropy, early stopping on the validation split, resumable after each epoch.

The order of uploads follows from seed and epoch alone, so a run that was killed and resumed ends with the same head as
one that ran through (on one kind of device).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from ..serving.head import HeadKind
from .checkpoint import read_checkpoint, restore_moments, under, write_checkpoint
from .heads import TrainedHead
from .targets import Targets, positive_weights

BATCH = 64
"""Uploads."""
LEARNING_RATE = 2e-2
"""Rows have a norm of about 1, so it is higher than is common."""
WEIGHT_DECAY = 1e-2
PATIENCE = 15
"""Epochs without a better validation loss, after which it ends."""
BETTER = 1e-4
"""Least share by which a loss is better."""
LEAST_DEVIATION = 1e-3
"""Below this a feature's standard deviation counts as so much."""


@dataclass(frozen=True)
class Plan:
    """How a head is to be fitted."""

    kind: HeadKind = "linear"
    seed: int = 0
    epochs: int = 200


@dataclass(frozen=True)
class Fitted:
    """A fitted head."""

    arrays: Mapping[str, npt.NDArray[np.float32]]
    positive_weights: npt.NDArray[np.float32]
    epochs: int
    """That were run, the earlier parts of a resumed run too."""
    best_epoch: int
    train_loss: float
    validation_loss: float
    """At the best epoch."""
    resumed_from: int
    """Epochs that a checkpoint had done; 0: none."""


class Progress(Protocol):
    """Told after each epoch."""

    def __call__(self, epoch: int, epochs: int, train_loss: float, validation_loss: float, best: bool) -> None:
        """`epoch` from 1."""


def fit(
    train: Targets,
    validation: Targets,
    plan: Plan,
    device: torch.device,
    *,
    data_hash: str = "",
    checkpoint: Path | None = None,
    resume: bool = False,
    progress: Progress | None = None,
) -> Fitted:
    """Fit a head.

    Args:
        train, validation: what is known.
        plan: how.
        device: where; the same code on CPU and CUDA.
        data_hash: of the data set and labels: a checkpoint of another one is not resumed.
        checkpoint: file that is written after each epoch and removed at the end; None: not resumable.
        resume: go on from the checkpoint, if it is there and of the same plan and data.
        progress: told after each epoch.
    """
    run = _Run(train, validation, plan, device)
    name = hashlib.sha256(json.dumps([data_hash, asdict(plan), run.shape()]).encode()).hexdigest()
    resumed_from = run.load(checkpoint, name) if checkpoint is not None and resume else 0
    while run.epoch < plan.epochs and run.epoch - run.best_epoch < PATIENCE:
        best = run.step()
        if progress is not None:
            progress(run.epoch, plan.epochs, run.train_loss, run.validation_loss, best)
        if checkpoint is not None:
            run.save(checkpoint, name)
    if checkpoint is not None:
        checkpoint.unlink(missing_ok=True)
    return Fitted(
        run.best,
        run.positive.cpu().numpy(),
        run.epoch,
        run.best_epoch,
        run.best_train_loss,
        run.best_loss,
        resumed_from,
    )


class _Run:
    """The state of one fit."""

    def __init__(self, train: Targets, validation: Targets, plan: Plan, device: torch.device) -> None:
        self.plan, self.device = plan, device
        rows = train.rows[train.mask]
        mean = rows.mean(axis=0).astype(np.float32)
        # Embedding and measures, a handful, have the same norm: neither drowns the other.
        width = rows.shape[1] - train.measures
        size = np.repeat([width, max(train.measures, 1)], [width, train.measures])
        scale = (1.0 / np.maximum(rows.std(axis=0), LEAST_DEVIATION) / np.sqrt(size)).astype(np.float32)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(plan.seed)
            self.head = TrainedHead(plan.kind, mean, scale, train.values.shape[1]).to(device)
        self.train, self.validation = _tensors(train, device), _tensors(validation, device)
        self.positive = torch.from_numpy(positive_weights(train)).to(device)
        self.optimizer = torch.optim.AdamW(self.head.parameters(), LEARNING_RATE, weight_decay=WEIGHT_DECAY)
        self.epoch = self.best_epoch = 0
        self.best_loss = self.train_loss = self.validation_loss = self.best_train_loss = float("inf")
        self.best = self.head.arrays()

    def shape(self) -> list[int]:
        """What a checkpoint must agree with."""
        return [*self.train[0].shape, len(self.validation[0]), int(self.train[2].shape[1])]

    def step(self) -> bool:
        """One epoch; whether it is the best so far."""
        rows, mask, values, weights = self.train
        order = np.random.default_rng([self.plan.seed, self.epoch]).permutation(len(rows))
        self.head.train()
        total, count = 0.0, 0.0
        with torch.random.fork_rng(devices=[self.device] if self.device.type == "cuda" else []):
            torch.manual_seed(self.plan.seed * 100_003 + self.epoch)
            for start in range(0, len(order), BATCH):
                mine = torch.from_numpy(order[start : start + BATCH]).to(self.device)
                loss, known = self._loss(rows[mine], mask[mine], values[mine], weights[mine])
                if known == 0:
                    continue
                self.optimizer.zero_grad()
                (loss / known).backward()
                self.optimizer.step()
                total, count = total + float(loss.detach()), count + known
        self.head.eval()
        with torch.inference_mode():
            seen, known = self._loss(*self.validation)
        self.epoch += 1
        self.train_loss, self.validation_loss = total / max(count, 1e-9), float(seen) / max(known, 1e-9)
        if self.validation_loss >= self.best_loss * (1 - BETTER):
            return False
        self.best_loss, self.best_train_loss, self.best_epoch = self.validation_loss, self.train_loss, self.epoch
        self.best = self.head.arrays()
        return True

    def _loss(self, rows: Tensor, mask: Tensor, values: Tensor, weights: Tensor) -> tuple[Tensor, float]:
        """Sum of the masked losses, and how much took part."""
        logits = self.head(rows, mask)
        each = functional.binary_cross_entropy_with_logits(
            logits, values, weight=weights, pos_weight=self.positive, reduction="sum"
        )
        return each, float(weights.sum())

    def save(self, path: Path, name: str) -> None:
        """Write the whole state, in one step."""
        arrays = {f"head/{key}": value for key, value in self.head.arrays().items()}
        arrays |= {f"best/{key}": value for key, value in self.best.items()}
        facts = {part: getattr(self, part) for part in ("epoch", "best_epoch", "best_loss", "best_train_loss")}
        write_checkpoint(path, name, arrays, self.optimizer, facts)

    def load(self, path: Path, name: str) -> int:
        """Take up a checkpoint. Returns the epochs that it had done; 0, and nothing taken up: it is not this run's."""
        found = read_checkpoint(path, name)
        if found is None:
            return 0
        arrays, facts = found
        self.head.load_state_dict({key: torch.from_numpy(value) for key, value in under("head/", arrays).items()})
        restore_moments(self.optimizer, arrays)
        self.best = under("best/", arrays)
        for part, value in facts.items():
            setattr(self, part, value)
        return self.epoch


def _tensors(known: Targets, device: torch.device) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    arrays = (known.rows, known.mask, known.values, known.weights)
    first, second, third, fourth = (torch.from_numpy(array).to(device) for array in arrays)
    return first, second, third, fourth
