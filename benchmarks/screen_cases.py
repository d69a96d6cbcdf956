"""Recordings of screens, and what is not one but looks alike. Everything follows from a case's number and the seed."""

from __future__ import annotations

import random
from pathlib import Path

import cv2
import numpy as np

from .clips import ken_burns, read_photo
from .corpus import locate
from .layout_cases import case
from .layout_sources import FRAMES, Frame, Frames, Sources
from .screen_pages import APPS, App, Page, screenshots

LONG_SIDE = 640
"""Of a recording, px."""
FLICKS = (80, 140, 220, -90)
"""Pixels in the first eighth of a second after a finger's flick,"""
FLICK, SLOWS = 0.18, 0.62
"""how often one comes, and how fast it dies down."""
OTHERS = {"ordinary": 150, "composed": 60, "lyrics": 20, "slides": 20, "game": 40}
"""How many of each: real clips; duets, insets, bars and slideshows of them; words that appear line by line on a plain
ground; screenshots shown one after another; a camera over pictures of games."""
COMPOSED = ("duet_left_right", "duet_up_down", "picture_in_picture", "bars", "slideshow")
GAMES = "games-thumbnails"


def recording(name: str, seed: str) -> Frames:
    """A screen with an app on it; something happens on it in each half of the time."""
    app, rng = APPS[name], random.Random(f"{name} {seed}")
    shots, (width, height) = screenshots(app, f"{name} {seed}")
    if app.scrolls:
        frames = [_window(shots[0], app, at, height) for at in _flicked(rng, len(shots[0]) - height)]
    else:
        cuts = sorted(rng.sample(range(4, FRAMES - 2), len(shots) - 1))
        frames = [shots[sum(number >= cut for cut in cuts)].copy() for number in range(FRAMES)]
        if width > height:
            _pointed(frames, rng)
    scale = LONG_SIDE / max(width, height)
    size = int(width * scale) // 2 * 2, int(height * scale) // 2 * 2
    return [cv2.resize(frame, size, interpolation=cv2.INTER_AREA) for frame in frames]


def other(group: str, number: int, seed: int) -> Frames:
    """What is no recording of a screen."""
    rng = random.Random(f"{group} {number} {seed}")
    if group in ("ordinary", "composed"):
        kind = group if group == "ordinary" else COMPOSED[number % len(COMPOSED)]
        return case(kind, number, Sources("test"), seed).frames
    if group == "lyrics":
        return _lyrics(rng, f"lyrics {number} {seed}")
    if group == "slides":
        shots = []
        for name in rng.sample(["feed", "article", "settings", "mail"], 3):
            pages, (width, height) = screenshots(APPS[name], f"slides {name} {number} {seed}")
            shots.append(cv2.resize(pages[0][:height], (360, 640) if height > width else (640, 360)))
        shots = [cv2.resize(shot, shots[0].shape[1::-1]) for shot in shots]
        return [shots[at * len(shots) // FRAMES] for at in range(FRAMES)]
    picture = _games()[rng.randrange(len(_games()))]
    moved = ken_burns(read_photo(picture), f"{picture.stem} {seed}")
    return [moved[at] for at in np.linspace(0, len(moved) - 1, FRAMES).round().astype(int)]


def _games() -> list[Path]:
    return sorted(locate(GAMES).rglob("*.png"))


def _flicked(rng: random.Random, most: int) -> list[int]:
    at, speed, places = 0.0, 0.0, []
    for number in range(FRAMES):
        if rng.random() < FLICK or number in (FRAMES // 8, 5 * FRAMES // 8):
            speed = float(rng.choice(FLICKS))
        at = min(max(at + speed, 0.0), float(most))
        speed *= SLOWS
        places.append(int(at))
    return places


def _window(page: Frame, app: App, at: int, height: int) -> Frame:
    frame = page[at : at + height].copy()
    frame[: app.above] = page[: app.above]
    if app.below:
        frame[-app.below :] = page[-app.below :]
    return frame


def _pointed(frames: Frames, rng: random.Random) -> None:
    """With a pointer that goes here and there."""
    height, width = frames[0].shape[:2]
    x, y = goal = width * rng.random(), height * rng.random()
    for frame in frames:
        if rng.random() < 0.15:
            goal = width * rng.random(), height * rng.random()
        x, y = x + (goal[0] - x) * 0.3, y + (goal[1] - y) * 0.3
        arrow = np.array([[x, y], [x, y + 22], [x + 6, y + 17], [x + 14, y + 17]], np.int32)
        cv2.fillPoly(frame, [arrow], (255, 255, 255))
        cv2.polylines(frame, [arrow], True, (0, 0, 0), 1)


def _lyrics(rng: random.Random, seed: str) -> Frames:
    height, width = rng.choice([(640, 360), (360, 640), (480, 480)])
    first, last = (np.array([rng.randrange(256) for _ in range(3)]) for _ in range(2))
    fade = np.linspace(0, 1, height)[:, None, None] * (rng.random() < 0.5)
    ground = np.repeat((first + (last - first) * fade).astype(np.uint8), width, axis=1)
    ink = (255, 255, 255) if ground.mean() < 128 else (0, 0, 0)
    page = Page(seed)
    page.said = [text for text in page.said if text.isascii()] or ["la la la"]
    step, frames = rng.choice([5, 6, 7, 8]), []
    for number in range(FRAMES):
        if number % step == 0:
            place = int(width * 0.06), int(height * (0.2 + 0.09 * (number // step)))
            text = page.words(14)[:24]
            ground = cv2.putText(ground.copy(), text, place, cv2.FONT_HERSHEY_DUPLEX, width / 600, ink, 1, cv2.LINE_AA)
        frames.append(ground)
    return frames
