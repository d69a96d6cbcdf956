"""An evaluation as one self-contained HTML page: figures, slices, a reliability diagram, the worst with pictures."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2

from models.training.evaluate import Evaluation, Mistake
from models.training.graded_evaluation import GradedEvaluation, Rated

SIDE = 200
"""Of the reliability diagram, px."""
MOST_PICTURE_BYTES = 200_000
FEW = 10
"""Uploads of a slice below which its figure says little."""

_environment = jinja2.Environment(
    loader=jinja2.PackageLoader("web"), autoescape=True, trim_blocks=True, lstrip_blocks=True
)


@dataclass(frozen=True)
class Dot:
    """One bin of the diagram."""

    x: float
    y: float
    radius: float
    title: str


def render(evaluation: Evaluation, folder: Path | None = None) -> str:
    """The page. `folder`: the data set's, where its key frames are."""
    pictures = [_picture(mistake, folder) for mistake in evaluation.worst]
    dots = (_dots(evaluation.reliability), _dots(evaluation.champion_reliability))
    return _environment.get_template("evaluation.html").render(
        evaluation=evaluation,
        worst=list(zip(evaluation.worst, pictures, strict=True)),
        dots=dots[0],
        champion_dots=dots[1],
        side=SIDE,
        figure=_figure,
        interval=_interval,
        few=FEW,
        change=_change,
    )


def render_graded(evaluation: GradedEvaluation, folder: Path | None = None) -> str:
    """The page of amounts."""
    pictures = [_picture(rated, folder) for rated in evaluation.worst]
    return _environment.get_template("evaluation_graded.html").render(
        evaluation=evaluation,
        worst=list(zip(evaluation.worst, pictures, strict=True)),
        dots=[
            Dot(
                round(one.given * SIDE, 1),
                round((1 - one.score) * SIDE, 1),
                3,
                f"{one.upload_id}, {one.label}: given {one.given:.2f}, said {one.score:.2f}",
            )
            for one in evaluation.rated
        ],
        side=SIDE,
        figure=_figure,
        interval=_interval,
        few=FEW,
    )


def _dots(bins: Sequence[tuple[float, float, int]]) -> list[Dot]:
    total = sum(count for _, _, count in bins) or 1
    return [
        Dot(
            round(score * SIDE, 1),
            round((1 - share) * SIDE, 1),
            round(3 + 9 * (count / total) ** 0.5, 1),
            f"score {score:.2f}, present {share:.2f}, {count} judgements",
        )
        for score, share, count in bins
    ]


def _picture(mistake: Mistake | Rated, folder: Path | None) -> str | None:
    if folder is None or mistake.keyframe is None:
        return None
    path = folder / mistake.keyframe
    if not path.is_file() or path.stat().st_size > MOST_PICTURE_BYTES:
        return None
    return base64.b64encode(path.read_bytes()).decode()


def _figure(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _interval(value: Sequence[float] | None) -> str:
    return "" if value is None else f"{value[0]:.2f} to {value[1]:.2f}"


def _change(value: Any) -> str:
    return "–" if value is None else f"{value:+.3f}"
