from typing import Any

import numpy as np
import pytest

from models.layout.tagger import LayoutTagger
from models.protocol import Evidence, Tagger
from tasks.contract import Layout

Clip = list[np.ndarray]


def _evidence(frames: np.ndarray, shots: list[tuple[float, float]] | None = None, still: bool = False) -> Evidence:
    times = np.arange(len(frames)) * 0.5
    return Evidence(
        duration_s=len(frames) * 0.5, frames=frames, frame_times_s=times, shots=shots or [(0.0, len(frames) * 0.5)],
        waveform=np.zeros(0, np.float32), still=still,
    )  # fmt: skip


def _tag(evidence: Evidence) -> dict[str, Any]:
    section = LayoutTagger().tag(evidence)
    assert section is not None
    assert Layout.model_validate(section).model_dump(mode="json") == section
    return section


def test_no_picture_no_layout() -> None:
    assert isinstance(LayoutTagger(), Tagger)
    assert LayoutTagger().tag(_evidence(np.zeros((0, 297, 297, 3), np.uint8))) is None


@pytest.mark.parametrize("fill", [0, 255])
def test_a_blank_screen_is_unknown(fill: int) -> None:
    assert _tag(_evidence(np.full((5, 100, 100, 3), fill, np.uint8)))["kind"] is None


def test_a_still_is_a_slideshow(clips: dict[str, Clip], finish: Any) -> None:
    assert _tag(_evidence(finish(clips["cat"][:1]), still=True))["kind"] == "slideshow"


def test_slides_with_found_and_missed_cuts(clips: dict[str, Clip], cover: Any, finish: Any) -> None:
    slides = [cover(clips[name], 400, 600)[0] for name in ("cat", "coffee", "astronaut")]
    frames = finish([slide for slide in slides for _ in range(5)])
    # A coder's ripple on every frame.
    ripple = np.random.default_rng(0).normal(0.0, 1.5, frames.shape)
    rippled = np.clip(frames + ripple, 0, 255).astype(np.uint8)
    assert _tag(_evidence(rippled, [(0.0, 2.5), (2.5, 5.0), (5.0, 7.5)]))["kind"] == "slideshow"
    assert _tag(_evidence(rippled))["kind"] == "slideshow"


def test_moving_pictures_are_single(clips: dict[str, Clip], cover: Any, finish: Any) -> None:
    for name, clip in clips.items():
        section = _tag(_evidence(finish(cover(clip, 405, 720))))
        assert section["kind"] == "single" and section["panes"] == [], name


def test_a_small_mover_before_a_still_ground_is_no_slideshow(clips: dict[str, Clip], cover: Any, finish: Any) -> None:
    ground, mover = cover(clips["coffee"], 600, 400)[0], cover(clips["cat"], 90, 90)
    frames = []
    for small in mover:
        frame = ground.copy()
        frame[150:240, 420:510] = small
        frames.append(frame)
    section = _tag(_evidence(finish(frames)))
    assert section["kind"] == "picture_in_picture"
    np.testing.assert_allclose(section["panes"][1]["box"], [0.7, 0.375, 0.85, 0.6], atol=0.01)


def test_a_duet_has_its_panes(clips: dict[str, Clip], cover: Any, finish: Any) -> None:
    pair = zip(cover(clips["cat"], 300, 500), cover(clips["rocket"], 300, 500), strict=True)
    section = _tag(_evidence(finish([np.concatenate(both, axis=1) for both in pair])))
    assert section["kind"] == "duet_left_right" and section["score"] > 0.75
    np.testing.assert_allclose([pane["box"] for pane in section["panes"]], [[0, 0, 0.5, 1], [0.5, 0, 1, 1]], atol=0.01)


def test_a_duet_with_a_still_half_is_a_duet(clips: dict[str, Clip], cover: Any, finish: Any) -> None:
    still, moving = cover(clips["astronaut"], 400, 300)[0], cover(clips["coffee"], 400, 300)
    assert _tag(_evidence(finish([np.concatenate([frame, still]) for frame in moving])))["kind"] == "duet_up_down"
