"""Fine-tuning the last blocks of an encoder together with a head, on labelled uploads.

The head begins where it was fitted on the packaged embeddings, the blocks where they are packaged. Both learn, the
blocks slowly; after each epoch the validation split decides, and the best epoch is kept. If that is the one before the
first, nothing was won, and nothing is kept. The head is fitted anew on the tuned embeddings afterwards (`train`).
"""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from .checkpoint import read_checkpoint, restore_moments, under, write_checkpoint
from .dataset import DataSet, Item
from .features import FeatureCache
from .fit import Fitted, Progress
from .heads import TrainedHead
from .targets import Targets, targets

UPLOADS_AT_ONCE = 8
FRAMES = 6
"""Of an upload, seen in an epoch; others the next time."""
MOST_FRAMES = 24
"""Of an upload, when it is judged."""
BLOCKS_RATE, HEAD_RATE = 1e-4, 1e-3
"""Few uploads are learnt by heart within an epoch or two at higher ones."""
TEMPERATURES = tuple(np.geomspace(0.2, 20.0, 61).tolist())
PATIENCE = 4
"""Epochs without a better validation loss, after which it ends."""
BETTER = 1e-3
"""Least share by which a loss is better."""

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class TuningPlan:
    """How."""

    blocks: int
    epochs: int = 15
    seed: int = 0


@dataclass(frozen=True)
class Tuned:
    """What came of it."""

    arrays: Mapping[str, Floats]
    """The blocks' tensors at the best epoch."""
    epochs: int
    best_epoch: int
    """0: no epoch was better than the packaged encoder."""
    base_loss: float
    """On the validation split, of the packaged encoder with its head."""
    validation_loss: float
    resumed_from: int


def tune(
    data: DataSet,
    cache: FeatureCache,
    tail: nn.Module,
    head: Fitted,
    kind: Any,
    labels: Sequence[str],
    background: Sequence[str],
    plan: TuningPlan,
    device: torch.device,
    *,
    checkpoint: Path | None = None,
    resume: bool = False,
    progress: Progress | None = None,
) -> Tuned:
    """Fine-tune.

    Args:
        data: uploads that all have features in `cache`.
        cache: what the frozen part gives.
        tail: the last blocks, as packaged; it is left as it is.
        head, kind: fitted on the packaged embeddings.
        labels, background: as the head was fitted on.
        plan: how.
        device: where; the same code on CPU and CUDA.
        checkpoint: file that is written after each epoch and removed at the end; None: not resumable.
        resume: go on from it, if it is there and of the same run.
        progress: told after each epoch.
    """
    run = _Run(data, cache, tail, head, kind, labels, background, plan, device)
    facts = [data.hash, list(labels), list(background), asdict(plan), kind, str(cache.folder.name)]
    name = hashlib.sha256(json.dumps(facts).encode()).hexdigest()
    resumed_from = run.load(checkpoint, name) if checkpoint is not None and resume else 0
    if not resumed_from:
        run.judge()
    while run.epoch < plan.epochs and run.epoch - run.best_epoch < PATIENCE:
        best = run.step()
        if progress is not None:
            progress(run.epoch, plan.epochs, run.train_loss, run.validation_loss, best)
        if checkpoint is not None:
            run.save(checkpoint, name)
    if checkpoint is not None:
        checkpoint.unlink(missing_ok=True)
    return Tuned(run.best, run.epoch, run.best_epoch, run.base_loss, run.best_loss, resumed_from)


class _Run:
    """The state of one run."""

    def __init__(
        self,
        data: DataSet,
        cache: FeatureCache,
        tail: nn.Module,
        head: Fitted,
        kind: Any,
        labels: Sequence[str],
        background: Sequence[str],
        plan: TuningPlan,
        device: torch.device,
    ) -> None:
        self.data, self.cache, self.plan, self.device = data, cache, plan, device
        self.tail = copy.deepcopy(tail).to(device)
        for value in self.tail.state_dict(keep_vars=True).values():
            value.requires_grad_(True)
        arrays = {name: torch.from_numpy(np.asarray(value)) for name, value in head.arrays.items()}
        self.head = TrainedHead(kind, head.arrays["mean"], head.arrays["scale"], len(labels)).to(device)
        self.head.load_state_dict(arrays)
        self.positive = torch.from_numpy(np.asarray(head.positive_weights)).to(device)
        self.train, self.validation = (
            targets(data, data.of(split), labels, background)
            for split in ("train", "validation")  # type: ignore[arg-type]
        )
        blocks = list(self.tail.state_dict(keep_vars=True).values())
        groups = [{"params": blocks, "lr": BLOCKS_RATE}, {"params": list(self.head.parameters()), "lr": HEAD_RATE}]
        self.optimizer = torch.optim.AdamW(groups, weight_decay=0.0)
        self.epoch = self.best_epoch = 0
        self.base_loss = self.best_loss = self.train_loss = self.validation_loss = float("inf")
        self.best = self.arrays()

    def arrays(self) -> dict[str, Floats]:
        """The blocks' tensors, on the CPU."""
        return {name: value.detach().cpu().numpy().copy() for name, value in self.tail.state_dict().items()}

    def judge(self) -> float:
        """The validation loss now, at the temperature that suits it best; the first time, that of the packaged
        encoder."""
        logits = []
        with torch.inference_mode():
            self.head.eval()
            for number, item in enumerate(self.validation.items):
                size = item.rows[1] - item.rows[0]
                frames = np.unique(np.linspace(0, size - 1, min(size, MOST_FRAMES)).round().astype(np.intp))
                logits.append(self._logits(self.validation, [number], [frames]))
            known = self.validation
            values, weights = (torch.from_numpy(one).to(self.device) for one in (known.values, known.weights))
            # A head that has become too sure of itself is calibrated later: only what calibration cannot mend counts.
            seen, count = torch.cat(logits) if logits else values, max(float(weights.sum()), 1e-9)
            loss = min(float(self._lost(seen / one, values, weights)) / count for one in TEMPERATURES)
        if self.epoch == 0:
            self.base_loss = self.best_loss = loss
        return loss

    def step(self) -> bool:
        """One epoch; whether it is the best so far."""
        random = np.random.default_rng([self.plan.seed, self.epoch])
        order = random.permutation(len(self.train.items))
        total, count = 0.0, 0.0
        self.head.train()
        with torch.random.fork_rng(devices=[self.device] if self.device.type == "cuda" else []):
            torch.manual_seed(self.plan.seed * 100_003 + self.epoch)
            for start in range(0, len(order), UPLOADS_AT_ONCE):
                mine = order[start : start + UPLOADS_AT_ONCE].tolist()
                loss, known = self._loss(self.train, mine, [self._drawn(self.train.items[n], random) for n in mine])
                if known == 0:
                    continue
                self.optimizer.zero_grad()
                (loss / known).backward()
                self.optimizer.step()
                total, count = total + float(loss.detach()), count + known
        self.train_loss, self.validation_loss = total / max(count, 1e-9), float("inf")
        self.epoch += 1
        self.validation_loss = self.judge()
        if self.validation_loss >= self.best_loss * (1 - BETTER):
            return False
        self.best_loss, self.best_epoch, self.best = self.validation_loss, self.epoch, self.arrays()
        return True

    @staticmethod
    def _drawn(item: Item, random: np.random.Generator) -> npt.NDArray[np.intp]:
        size = item.rows[1] - item.rows[0]
        return np.sort(random.permutation(size)[:FRAMES])

    def _loss(
        self, known: Targets, mine: Sequence[int], frames: Sequence[npt.NDArray[np.intp]]
    ) -> tuple[Tensor, float]:
        """Sum of the losses of these uploads, and how much took part."""
        values, weights = (torch.from_numpy(one[list(mine)]).to(self.device) for one in (known.values, known.weights))
        return self._lost(self._logits(known, mine, frames), values, weights), float(weights.sum())

    def _lost(self, logits: Tensor, values: Tensor, weights: Tensor) -> Tensor:
        return functional.binary_cross_entropy_with_logits(
            logits, values, weight=weights, pos_weight=self.positive, reduction="sum"
        )

    def _logits(self, known: Targets, mine: Sequence[int], frames: Sequence[npt.NDArray[np.intp]]) -> Tensor:
        """[uploads, labels] of these frames of these uploads."""
        features = []
        for number, chosen in zip(mine, frames, strict=True):
            found = self.cache.get(known.items[number])
            if found is None:
                raise ValueError(f"the features of {known.items[number].upload_id!r} are gone")
            features.append(found[chosen].astype(np.float32))
        seen = torch.from_numpy(np.concatenate(features)).to(self.device)
        rows = self.tail(seen.contiguous(memory_format=torch.channels_last))
        longest = max(len(one) for one in frames)
        width = self.data.dimension
        padded = rows.new_zeros((len(mine), longest, width))
        mask = torch.zeros((len(mine), longest), dtype=torch.bool, device=self.device)
        at = 0
        for place, (number, chosen) in enumerate(zip(mine, frames, strict=True)):
            count = len(chosen)
            padded[place, :count, : rows.shape[1]] = rows[at : at + count]
            if width > rows.shape[1]:
                beside = self.data.rows(known.items[number])[chosen, rows.shape[1] :]
                padded[place, :count, rows.shape[1] :] = torch.from_numpy(beside).to(self.device)
            mask[place, :count] = True
            at += count
        logits: Tensor = self.head(padded, mask)
        return logits

    def save(self, path: Path, name: str) -> None:
        """Write the whole state, in one step."""
        arrays = {f"tail/{key}": value for key, value in self.arrays().items()}
        arrays |= {f"head/{key}": value for key, value in self.head.arrays().items()}
        arrays |= {f"best/{key}": value for key, value in self.best.items()}
        facts = {part: getattr(self, part) for part in ("epoch", "best_epoch", "best_loss", "base_loss")}
        write_checkpoint(path, name, arrays, self.optimizer, facts)

    def load(self, path: Path, name: str) -> int:
        """Take up a checkpoint. Returns the epochs that it had done; 0, and nothing taken up: it is not this run's."""
        found = read_checkpoint(path, name)
        if found is None:
            return 0
        arrays, facts = found
        with torch.no_grad():
            for key, value in self.tail.state_dict(keep_vars=True).items():
                value.copy_(torch.from_numpy(arrays[f"tail/{key}"].copy()))
        self.head.load_state_dict({key: torch.from_numpy(value) for key, value in under("head/", arrays).items()})
        restore_moments(self.optimizer, arrays)
        self.best = under("best/", arrays)
        for part, value in facts.items():
            setattr(self, part, value)
        return self.epoch
