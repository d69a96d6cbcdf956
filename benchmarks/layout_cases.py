"""Uploads whose layout is known, composed from real clips: duets, insets, bars, slides; and ordinary ones.

Every choice follows from the case's number and the seed, so a case is the same on every run.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np

from .layout_sources import FRAMES, Frames, Rng, Sources, covered

Box = tuple[float, float, float, float]

SHAPES = ((640, 360), (640, 360), (360, 640), (480, 480))
"""Height and width of a case's frames, px; most uploads are tall."""
CASES = {"duet_left_right": 70, "duet_up_down": 70, "picture_in_picture": 70, "bars": 50, "slideshow": 40}
"""How many of each are composed."""
ORDINARY = 300
SEEN_STEP = 10
"""A step across a line is seen from here on, grey levels."""
SEEN_CONTENT = 8.0
"""Standard deviation that a pane has at least, grey levels: a black one is no picture."""
SEEN_ALONG = 0.6
"""Share of each line at which it must be, or the case is drawn again."""
WORDS = ("wait for it", "POV: monday", "part 2", "how to bake bread", "day 14", "follow for more", "no way!!", "LOL")


@dataclass(frozen=True)
class Case:
    """One upload and what it is."""

    name: str
    frames: Frames
    kind: str
    panes: Sequence[Box] = ()
    bars: str | None = None
    content: Box | None = None
    of: tuple[str, ...] = field(default=())
    """What it was made of."""

    @property
    def visible(self) -> bool:
        """Whether a person could see the layout: along each of its lines most places have a step.

        Space beside a night sky, or a blurred ground beside a soft picture, has no line to be found.
        """
        boxes = [box for box in (*self.panes, self.content) if box is not None]
        height, width = self.frames[0].shape[:2]
        for left, top, right, bottom in boxes:
            x0, y0, x1, y1 = round(left * width), round(top * height), round(right * width), round(bottom * height)
            sides = [(slice(y0, y1), at, 1) for at in (x0, x1) if 4 < at < width - 4]
            sides += [(slice(x0, x1), at, 0) for at in (y0, y1) if 4 < at < height - 4]
            if any(_step(self.frames, *side) < SEEN_ALONG for side in sides):
                return False
            inner = [frame[y0 + 6 : y1 - 6, x0 + 6 : x1 - 6] for frame in self.frames[:: FRAMES // 5]]
            if any(float(one.std(axis=(0, 1)).mean()) < SEEN_CONTENT for one in inner):
                return False
        return True


def _step(frames: Frames, along: slice, at: int, axis: int) -> float:
    """Share of a line's places where the picture's step across it is seen, in one frame or another."""
    steps = []
    for frame in frames[:: FRAMES // 5]:
        grey = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY).astype(np.int16)
        grey = grey if axis else grey.T
        steps.append(np.abs(grey[along, at + 3] - grey[along, at - 4]))
    return float((np.mean(steps, axis=0) >= SEEN_STEP).mean())


def captioned(rng: Rng, frames: Frames) -> Frames:
    """With a line of text, as authors put one over everything; with or without a plate behind it."""
    height, width = frames[0].shape[:2]
    text = str(rng.choice(WORDS))
    scale = width / 360 * float(rng.uniform(0.6, 1.1))
    (wide, high), base = cv2.getTextSize(text, cv2.FONT_HERSHEY_DUPLEX, scale, 2)
    left = max(4, (width - wide) // 2)
    baseline = int(height * rng.uniform(0.1, 0.9)) + high
    plate = bool(rng.integers(2))
    made = [frame.copy() for frame in frames]
    for frame in made:
        if plate:
            pad = high // 2
            cv2.rectangle(
                frame, (left - pad, baseline - high - pad), (left + wide + pad, baseline + base), (255,) * 3, -1
            )
        ink = (0, 0, 0) if plate else (255, 255, 255)
        cv2.putText(frame, text, (left, baseline), cv2.FONT_HERSHEY_DUPLEX, scale, ink, 2, cv2.LINE_AA)
    return made


def duet(rng: Rng, sources: Sources, name: str, across: bool) -> Case:
    """Two clips beside or above each other: even or not, with or without a line, of different brightness."""
    (first, one), (second, other) = sources.pair(rng)
    height, width = SHAPES[int(rng.integers(len(SHAPES)))]
    share = 0.5 if rng.random() < 0.6 else float(rng.uniform(0.45, 0.55))
    line, colour = int(rng.choice([0, 0, 2, 4])), int(rng.choice([0, 255]))
    gain = float(rng.uniform(0.7, 1.0))
    cut = round((width if across else height) * share)
    if across:
        pair = covered(one, cut, height), covered(other, width - cut, height)
    else:
        pair = covered(one, width, cut), covered(other, width, height - cut)
    frames = []
    for left, right in zip(*pair, strict=True):
        frame = np.concatenate([left, (right * gain).astype(np.uint8)], axis=1 if across else 0)
        if line:
            edge = slice(cut - line // 2, cut + line // 2)
            frame[(slice(None), edge) if across else edge] = colour
        frames.append(frame)
    if rng.random() < 0.2:
        frames = captioned(rng, frames)
    at = cut / (width if across else height)
    panes = ((0.0, 0.0, at, 1.0), (at, 0.0, 1.0, 1.0)) if across else ((0.0, 0.0, 1.0, at), (0.0, at, 1.0, 1.0))
    return Case(name, frames, "duet_left_right" if across else "duet_up_down", panes, of=(first, second))


def inset(rng: Rng, sources: Sources, name: str) -> Case:
    """A small picture over a large one: in a corner or at an edge, with or without a border, sharp or round corners."""
    (first, large), (second, small) = sources.pair(rng)
    height, width = SHAPES[int(rng.integers(len(SHAPES)))]
    aspect = float(rng.choice([9 / 16, 3 / 4, 1.0, 4 / 3, 16 / 9]))
    wide = float(rng.uniform(0.24, 0.42)) * min(width, height * 1.2)
    high = min(wide / aspect, 0.45 * height)
    wide = high * aspect
    if wide > 0.5 * width:
        wide, high = 0.5 * width, 0.5 * width / aspect
    wide, high = int(wide), int(high)
    margin = int(rng.uniform(0.02, 0.08) * min(width, height))
    left = int(rng.choice([margin, width - wide - margin]))
    top = int(rng.choice([margin, height - high - margin]))
    if rng.random() < 0.2:  # slid along its edge
        top = int(rng.uniform(margin, height - high - margin))
    border = int(rng.choice([0, 0, 2, 3]))
    radius = int(rng.choice([0, 0, 1]) * 0.08 * min(wide, high))
    mask = np.zeros((high, wide), np.uint8)
    cv2.rectangle(mask, (radius, 0), (wide - 1 - radius, high - 1), 255, -1)
    cv2.rectangle(mask, (0, radius), (wide - 1, high - 1 - radius), 255, -1)
    for x in (radius, wide - 1 - radius):
        for y in (radius, high - 1 - radius):
            cv2.circle(mask, (x, y), radius, 255, -1, cv2.LINE_AA)
    solid = mask[:, :, None] > 127
    frames = []
    for ground, over in zip(covered(large, width, height), covered(small, wide, high), strict=True):
        if border:
            over[:border], over[-border:], over[:, :border], over[:, -border:] = 255, 255, 255, 255
        region = ground[top : top + high, left : left + wide]
        ground[top : top + high, left : left + wide] = np.where(solid, over, region)
        frames.append(ground)
    if rng.random() < 0.2:
        frames = captioned(rng, frames)
    box = (left / width, top / height, (left + wide) / width, (top + high) / height)
    return Case(name, frames, "picture_in_picture", ((0.0, 0.0, 1.0, 1.0), box), of=(first, second))


def barred(rng: Rng, sources: Sources, name: str) -> Case:
    """One clip between bars: black, of a colour, or its own blurred enlargement."""
    of, clip = sources.moving(rng)
    tall = bool(rng.integers(2))
    height, width = (640, 360) if tall else (360, 640)
    share = float(rng.uniform(0.3, 0.85))
    size = (width, int(height * share)) if tall else (int(width * share), height)
    inner = covered(clip, *size)
    style = str(rng.choice(["black", "black", "colour", "blurred", "blurred"]))
    left, top = (width - size[0]) // 2, (height - size[1]) // 2
    colour = rng.integers(0, 256, 3).astype(np.uint8)
    grounds = covered(clip, width, height)
    frames = []
    for behind, picture in zip(grounds, inner, strict=True):
        ground = np.empty_like(behind)
        ground[:] = 0 if style == "black" else colour
        if style == "blurred":
            ground = (cv2.GaussianBlur(behind, (0, 0), width / 40) * 0.8).astype(np.uint8)
        ground[top : top + size[1], left : left + size[0]] = picture
        frames.append(ground)
    content = (left / width, top / height, (left + size[0]) / width, (top + size[1]) / height)
    return Case(name, frames, "single", (), "letterbox" if tall else "pillarbox", content, (of, style))


def slides(rng: Rng, sources: Sources, name: str) -> Case:
    """One to four photos, each standing still; cut, or faded into the next."""
    height, width = SHAPES[int(rng.integers(len(SHAPES)))]
    drawn = [sources.photo(rng) for _ in range(int(rng.choice([1, 2, 3, 4])))]
    pictures = [covered([photo], width, height)[0] for _, photo in drawn]
    fade = bool(rng.integers(2))
    each = FRAMES // len(pictures)
    frames = []
    for number in range(FRAMES):
        at = min(number // each, len(pictures) - 1)
        picture = pictures[at]
        if fade and at and number % each == 0 and number // each == at:
            picture = cv2.addWeighted(pictures[at - 1], 0.5, picture, 0.5, 0)
        frames.append(np.asarray(picture, np.uint8))
    return Case(name, frames, "slideshow", of=tuple(key for key, _ in drawn))


def ordinary(rng: Rng, sources: Sources, name: str) -> Case:
    """One clip as it is, cut to an upload's shape; now and then with a line of text over it."""
    if rng.random() < 0.5:
        of, clip = sources.video(rng)
    else:
        of, clip = sources.moving(rng)
    height, width = SHAPES[int(rng.integers(len(SHAPES)))]
    frames = covered(clip, width, height)
    if rng.random() < 0.3:
        frames = captioned(rng, frames)
    return Case(name, frames, "single", of=(of,))


MAKERS: dict[str, Callable[[Rng, Sources, str], Case]] = {
    "duet_left_right": lambda rng, sources, name: duet(rng, sources, name, True),
    "duet_up_down": lambda rng, sources, name: duet(rng, sources, name, False),
    "picture_in_picture": inset,
    "bars": barred,
    "slideshow": slides,
    "ordinary": ordinary,
}


def case(kind: str, number: int, sources: Sources, seed: int = 0) -> Case:
    """Case `number` of a kind; drawn again until its layout can be seen."""
    rng = np.random.default_rng([seed, list(MAKERS).index(kind), number])
    while True:
        made = MAKERS[kind](rng, sources, f"{kind}-{number:03d}")
        if made.visible:
            return made
