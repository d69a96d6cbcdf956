"""From a data set to a version in the registry: fit, calibrate, measure on the test split, sign."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..registry.versions import Registry, Version
from ..serving.head import Head
from .calibrate import Curve, calibrate
from .dataset import DataSet
from .fit import Fitted, Plan, Progress, fit
from .graded import graded_metrics_of
from .metrics import label_metrics, mean
from .statistics import statistics
from .targets import Targets, TrainingError, background_labels, targets, trainable


@dataclass(frozen=True)
class FineTuned:
    """An encoder's own last blocks: their tensors, and what the manifest says of them (`blocks` at least)."""

    arrays: Mapping[str, Any]
    facts: Mapping[str, Any]


@dataclass(frozen=True)
class Trained:
    """A version, and what people should know of how it came about."""

    version: Version
    fitted: Fitted
    left_out: Mapping[str, str]
    """Labels of the data set that were not trained, and why."""
    background: tuple[str, ...]
    """Labels that took uploads which nobody judged for them as their background."""


def train(
    data: DataSet,
    plan: Plan,
    registry: Registry,
    device: torch.device,
    *,
    only: Sequence[str] = (),
    background: bool = True,
    extra_topics: Mapping[str, Any] | None = None,
    resume: bool = False,
    progress: Progress | None = None,
    fine_tuned: FineTuned | None = None,
) -> Trained:
    """Train a head on a data set and put it into the registry.

    Args:
        data: read from its folder.
        plan: which head, which seed, how long.
        registry: where it goes.
        device: CPU or CUDA.
        only: train these labels; empty: all that can be.
        background: whether a label that has hardly a judged absence may take unjudged uploads as its background.
        extra_topics: document of topics that the packaged taxonomy lacks (`models.topics.extension`).
        resume: go on from what a killed run left.
        progress: told after each epoch.
        fine_tuned: the encoder that the data set's embeddings are of, if it is not a packaged one.

    Raises:
        TrainingError: the data do not suffice; the message says what is missing.
    """
    labels, left_out = trainable(data, only)
    lacking = background_labels(data, labels)
    if lacking and not background:
        raise TrainingError(f"{lacking[0]!r} has hardly a judged absence: label some, or allow a background")
    parts = {split: targets(data, data.of(split), labels, lacking) for split in ("train", "validation")}  # type: ignore[arg-type]
    named = hashlib.sha256(json.dumps([data.hash, labels, lacking]).encode()).hexdigest()
    checkpoint = registry.root / data.tagger / f".training-{named[:16]}-{plan.kind}-{plan.seed}.safetensors"
    fitted = fit(
        parts["train"],
        parts["validation"],
        plan,
        device,
        data_hash=named,
        checkpoint=checkpoint,
        resume=resume,
        progress=progress,
    )
    curves = _calibrated(fitted, plan, labels, parts["validation"])
    manifest = _manifest(data, plan, labels, lacking, fitted, curves)
    if fine_tuned is not None:
        manifest["fine_tuning"] = dict(fine_tuned.facts)
    head = Head.of(manifest, fitted.arrays)
    manifest["metrics"] = metrics_of(data, head, lacking)
    kept = [item for item in (*data.of("train"), *data.of("validation")) if item.rows[1] > item.rows[0]]
    scores = np.stack([head.scores(data.rows(item)) for item in kept])
    manifest["statistics"] = statistics(labels, scores, head.thresholds).to_json()
    encoder = fine_tuned.arrays if fine_tuned is not None else None
    added = registry.add(data.tagger, manifest, fitted.arrays, extra_topics, encoder)
    return Trained(added, fitted, left_out, lacking)


def plain_head(
    data: DataSet,
    plan: Plan,
    device: torch.device,
    labels: Sequence[str],
    background: Sequence[str],
) -> tuple[Fitted, Head]:
    """A head that is in no registry: as it comes from the fit, and calibrated."""
    parts = {split: targets(data, data.of(split), labels, background) for split in ("train", "validation")}  # type: ignore[arg-type]
    fitted = fit(parts["train"], parts["validation"], plan, device)
    curves = _calibrated(fitted, plan, labels, parts["validation"])
    return fitted, Head.of(_manifest(data, plan, labels, background, fitted, curves), fitted.arrays)


def code_version() -> str:
    """tagfarm's own version."""
    try:
        return version("tagfarm")
    except PackageNotFoundError:
        return "unknown"


def _calibrated(fitted: Fitted, plan: Plan, labels: Sequence[str], known: Targets) -> list[Curve]:
    plain = Head(plan.kind, tuple(labels), fitted.arrays, *([np.ones(len(labels))] * 3))
    logits = np.stack([plain.logits(rows[mask]) for rows, mask in zip(known.rows, known.mask, strict=True)])
    return [
        calibrate(
            logits[:, column],
            known.values[:, column].astype(np.float64),
            known.weights[:, column].astype(np.float64),
            float(fitted.positive_weights[column]),
        )
        for column in range(len(labels))
    ]


def _manifest(
    data: DataSet,
    plan: Plan,
    labels: Sequence[str],
    background: Sequence[str],
    fitted: Fitted,
    curves: Sequence[Curve],
) -> dict[str, Any]:
    named = dict(zip(labels, curves, strict=True))
    return {
        "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "code_version": code_version(),
        "encoder": data.encoder,
        "taxonomy": data.taxonomy,
        "labels": list(labels),
        "head": {
            "kind": plan.kind,
            "dimension": data.dimension,
            **({"measures": data.measures} if data.measures else {}),
        },
        "data": {
            "hash": data.hash,
            "created_at": data.created_at,
            "uploads": {split: len(data.of(split)) for split in ("train", "validation", "test")},  # type: ignore[arg-type]
            "background": list(background),
        },
        "training": {
            **asdict(plan),
            "epochs_run": fitted.epochs,
            "best_epoch": fitted.best_epoch,
            "train_loss": round(fitted.train_loss, 6),
            "validation_loss": round(fitted.validation_loss, 6),
        },
        "calibration": {label: {"slope": c.slope, "offset": c.offset} for label, c in named.items()},
        "thresholds": {label: curve.threshold for label, curve in named.items()},
    }


def metrics_of(data: DataSet, head: Head, background: Sequence[str]) -> dict[str, Any]:
    """On the test split; where it has none of a label's uploads, on the validation split, and it says so."""
    if data.graded:
        return graded_metrics_of(data, head)
    rows: dict[str, Any] = {}
    for column, label in enumerate(head.labels):
        for split in ("test", "validation"):
            judged = [
                item
                for item in data.of(split)  # type: ignore[arg-type]
                if (label in item.labels or label in background) and item.rows[1] > item.rows[0]
            ]
            present = np.array([item.labels.get(label, 0.0) >= 0.5 for item in judged], np.bool_)
            if present.any():
                break
        scores = np.array([head.scores(data.rows(item))[column] for item in judged], np.float64)
        threshold = float(head.thresholds[column])
        found = label_metrics(label, scores, present, [item.group for item in judged], threshold)
        rows[label] = {"split": split, **{key: value for key, value in found.to_json().items() if key != "label"}}
    return {
        "labels": rows,
        "mean_average_precision": mean([row["average_precision"] for row in rows.values()]),
        "mean_f1": mean([row["f1"] for row in rows.values()]),
    }


def checkpoints(registry: Path, tagger: str) -> list[Path]:
    """What killed runs have left."""
    return sorted((registry / tagger).glob(".training-*.safetensors"))
