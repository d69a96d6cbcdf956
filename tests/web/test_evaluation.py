"""The page stands alone, and escapes what came from outside."""

from __future__ import annotations

import re
from pathlib import Path

from models.training.evaluate import Evaluation, LabelRow, Mistake, SliceRow
from models.training.graded import GradedMetrics
from models.training.graded_evaluation import GradedEvaluation, GradedRow, GradedSlice, Rated
from models.training.metrics import LabelMetrics
from web.evaluation import render, render_graded


def evaluation(objections: tuple[str, ...] = ()) -> Evaluation:
    figures = LabelMetrics("a", 10, 20, 0.9, (0.8, 1.0), 0.85, None, 0.8, 0.9, 0.05, 0.4)
    return Evaluation(
        version="topics/3",
        champion="topics/2",
        data_hash="0" * 64,
        split="test",
        uploads=30,
        labels=[LabelRow("<b>a</b>", figures, figures, -0.02, (-0.1, 0.05), 0.0)],
        slices=[SliceRow("language", "it", 10, 0.5, None)],
        confusions=[("a", "b", 3)],
        reliability=[(0.1, 0.0, 20), (0.9, 0.8, 10)],
        champion_reliability=[(0.5, 0.5, 30)],
        worst=[
            Mistake("u<1>", "a", 0.99, 0.1, False, "keyframes/u1.jpg"),
            Mistake("u2", "a", 0.9, 0.2, False, "keyframes/gone.jpg"),
        ],
        most_loss=0.01,
        objections=objections,
    )


def test_the_page_has_everything_and_needs_nothing(tmp_path: Path) -> None:
    (tmp_path / "keyframes").mkdir()
    (tmp_path / "keyframes" / "u1.jpg").write_bytes(b"\xff\xd8picture")
    html = render(evaluation(), tmp_path)
    assert "May be promoted" in html
    assert "&lt;b&gt;a&lt;/b&gt;" in html
    assert "u&lt;1&gt;" in html
    assert html.count("data:image/jpeg;base64,") == 1
    assert html.count("<circle") == 3
    assert "-0.020" in html
    assert not re.search(r"(src|href)=\"(?!data:)", html)
    assert "<script" not in html


def test_objections_are_said(tmp_path: Path) -> None:
    html = render(evaluation(("a loses <much>",)))
    assert "Should not be promoted" in html
    assert "a loses &lt;much&gt;" in html


def test_amounts_have_a_page_of_their_own(tmp_path: Path) -> None:
    figures = GradedMetrics("picture", 40, 0.8, (0.7, 0.9), 0.07, (0.06, 0.08), -0.01, 0.12)
    rated = Rated("u<1>", "picture", 0.5, 0.7, None, None)
    html = render_graded(
        GradedEvaluation(
            version="quality/1",
            champion=None,
            data_hash="0" * 64,
            split="test",
            uploads=40,
            labels=[GradedRow("picture", figures, None, True)],
            slices=[GradedSlice("country", "<it>", 3, 0.1, None)],
            rated=[rated],
            worst=[rated],
            most_loss=0.01,
        ),
        tmp_path,
    )
    assert "0.70 to 0.90" in html
    assert "u&lt;1&gt;" in html and "&lt;it&gt;" in html
    assert "held against nobody" in html
    assert html.count("<circle") == 1
    assert "<script" not in html
