from __future__ import annotations

import cv2
import numpy as np
import pytest

from models.layout.screen import find_screen, scrolled
from models.layout.tagger import LayoutTagger
from models.protocol import Evidence

Frame = np.ndarray
WIDE, HIGH, SHOWN = 300, 2400, 600


def page(seed: int = 0, lines: int = 120) -> Frame:
    """A long page of words under each other."""
    rng = np.random.default_rng(seed)
    drawn = np.full((HIGH, WIDE, 3), 245, np.uint8)
    for line in range(lines):
        words = " ".join("".join(chr(97 + c) for c in rng.integers(0, 26, rng.integers(2, 9))) for _ in range(5))
        cv2.putText(drawn, words[:34], (10, 20 + 20 * line), cv2.FONT_HERSHEY_SIMPLEX, 0.42, (20, 20, 30), 1)
    return drawn


def window(drawn: Frame, at: int) -> Frame:
    """What a telephone shows of it, under a bar that stands."""
    frame = drawn[at : at + SHOWN].copy()
    frame[:40] = (70, 90, 180)
    return frame


def noisy(frames: list[Frame], seed: int = 1) -> np.ndarray:
    """As a coder leaves them."""
    rng = np.random.default_rng(seed)
    return np.stack([np.clip(frame + rng.normal(0, 1.2, frame.shape), 0, 255).astype(np.uint8) for frame in frames])


def photo(seed: int) -> Frame:
    """Soft shapes at all sizes, as in a picture of the world."""
    rng = np.random.default_rng(seed)
    sizes = [(SHOWN // n, WIDE // n, 3) for n in (100, 30, 10, 3)]
    layers = [cv2.resize(rng.normal(0, 30, size), (WIDE, SHOWN), interpolation=cv2.INTER_CUBIC) for size in sizes]
    return np.clip(120 + sum(layers), 0, 255).astype(np.uint8)


def test_a_page_that_is_scrolled_is_a_screen():
    drawn = page()
    found = find_screen(noisy([window(drawn, at) for at in (0, 0, 90, 230, 230, 410, 340, 340)]))
    assert found is not None and found.how == "scrolls" and 0.5 <= found.score <= 1.0


@pytest.mark.parametrize("shift", [12, 57, -90, 301])
def test_a_shift_is_found_in_either_direction_and_at_odd_lines(shift: int):
    here, there, elsewhere = (
        cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)
        for frame in (window(page(), 400), window(page(), 400 + shift), window(page(7), 400))
    )
    assert scrolled(here, there) > 0.8
    assert scrolled(here, elsewhere) < 0.3


def test_a_page_that_is_typed_into_is_a_screen():
    frames = []
    for number in range(8):
        frame = window(page(3), 0)
        cv2.putText(frame, "hello there"[: 1 + number], (60, 500), cv2.FONT_HERSHEY_SIMPLEX, 0.9, (200, 30, 30), 2)
        frames.append(frame)
    found = find_screen(noisy(frames))
    assert found is not None and found.how == "stands"


def test_slides_of_text_are_none():
    slides = [window(page(seed), 100) for seed in (0, 1, 2) for _ in range(4)]
    assert find_screen(noisy(slides)) is None


def test_a_camera_that_tilts_over_a_picture_is_none():
    tall = cv2.resize(photo(5), (WIDE * 2, SHOWN * 2))
    frames = [cv2.resize(tall[at : at + SHOWN + at, at : at + WIDE + at], (WIDE, SHOWN)) for at in range(0, 280, 35)]
    assert find_screen(noisy(frames)) is None


def test_a_few_words_on_a_plain_ground_are_none():
    frames = []
    for number in range(8):
        frame = np.full((SHOWN, WIDE, 3), 20, np.uint8)
        for line in range(number):
            cv2.putText(frame, "la la la", (30, 80 + 50 * line), cv2.FONT_HERSHEY_DUPLEX, 0.8, (255, 255, 255), 1)
        frames.append(frame)
    assert find_screen(noisy(frames)) is None


def test_too_little_to_tell_is_none():
    drawn = page()
    frames = noisy([window(drawn, at) for at in (0, 90, 230)])
    assert find_screen(frames[:2]) is None
    assert find_screen(frames[:, :80, :80]) is None
    assert find_screen(np.zeros((4, 0, 300, 3), np.uint8)) is None
    assert find_screen(np.zeros((4, 300, 300, 3), np.uint8)) is None


def test_the_document_says_so():
    drawn = page()
    frames = noisy([window(drawn, at) for at in (0, 0, 90, 230, 230, 410, 340, 340)])
    times = np.arange(len(frames)) * 0.5
    section = LayoutTagger().tag(Evidence(4.0, frames, times, [(0.0, 4.0)], np.zeros(0, np.float32)))
    assert section is not None and section["kind"] == "screen_recording" and section["panes"] == []
