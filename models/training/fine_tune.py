"""A new encoder version with a head of its own, from labelled uploads whose frames were had again.

What comes of it is one version: head and encoder are signed, promoted and rolled back together, so no document is half
of one pair and half of another.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from ..registry.versions import Registry
from ..topics.tuned import Tail
from .dataset import DataSet
from .features import FeatureCache, embedded, with_embeddings
from .fit import Plan, Progress
from .targets import TrainingError, background_labels, trainable
from .train import FineTuned, Trained, metrics_of, plain_head, train
from .tune import Tuned, TuningPlan, tune


def fine_tune(
    data: DataSet,
    cache: FeatureCache,
    tail: Tail,
    plan: Plan,
    tuning: TuningPlan,
    registry: Registry,
    device: torch.device,
    *,
    only: Sequence[str] = (),
    background: bool = True,
    extra_topics: Mapping[str, Any] | None = None,
    resume: bool = False,
    progress: Progress | None = None,
) -> tuple[Trained, Tuned]:
    """Fine-tune the last blocks with a head, fit the head anew on what they give, and put both into the registry.

    Args:
        data: read from its folder. Uploads without features in `cache` are left out.
        cache: features before the last blocks.
        tail: the last blocks, as packaged.
        plan, only, background, extra_topics: as `train` has them.
        tuning: how the blocks are tuned.
        registry: where it goes.
        device: CPU or CUDA.
        resume: go on from what a killed run left.
        progress: told after each epoch of the tuning.

    Raises:
        TrainingError: the data do not suffice, or no epoch was better than the packaged encoder.
    """
    there = replace(data, items=tuple(item for item in data.items if cache.get(item) is not None))
    labels, _ = trainable(there, only)
    lacking = background_labels(there, labels)
    if lacking and not background:
        raise TrainingError(f"{lacking[0]!r} has hardly a judged absence: label some, or allow a background")
    fitted, head = plain_head(there, plan, device, labels, lacking)
    tuned = tune(
        there,
        cache,
        tail,
        fitted,
        plan.kind,
        labels,
        lacking,
        tuning,
        device,
        checkpoint=_checkpoint(registry.root, data, labels, plan, tuning),
        resume=resume,
        progress=progress,
    )
    if tuned.best_epoch == 0:
        raise TrainingError(
            f"fine-tuning {tuning.blocks} blocks got no better than the packaged encoder on the validation split in "
            f"{tuned.epochs} epochs (loss {tuned.base_loss:.4f}); train a head alone, label more uploads, or try "
            "another number of blocks"
        )
    tail.load(tuned.arrays)
    rows = embedded(there, there.items, cache, tail.to(device), device)
    packaged = metrics_of(there, head, lacking)
    facts = {
        "blocks": tuning.blocks,
        "epochs_run": tuned.epochs,
        "best_epoch": tuned.best_epoch,
        "seed": tuning.seed,
        "packaged_validation_loss": round(tuned.base_loss, 6),
        "validation_loss": round(tuned.validation_loss, 6),
        "packaged_encoder": {key: value for key, value in packaged.items() if key != "labels"},
        "uploads_without_frames": len(data.items) - len(there.items),
    }
    trained = train(
        with_embeddings(there, rows),
        plan,
        registry,
        device,
        only=labels,
        background=background,
        extra_topics=extra_topics,
        fine_tuned=FineTuned(tuned.arrays, facts),
    )
    return trained, tuned


def _checkpoint(root: Path, data: DataSet, labels: Sequence[str], plan: Plan, tuning: TuningPlan) -> Path:
    named = hashlib.sha256(json.dumps([data.hash, list(labels), plan.kind]).encode()).hexdigest()
    return root / data.tagger / f".training-{named[:16]}-{plan.kind}-tuning-{tuning.blocks}-{tuning.seed}.safetensors"
