"""What one luma plane says of focus, noise and compression, measured on native pixels.

A scaled picture tells none of this, so the decoder's observer calls `measure_plane` on full-resolution luma of the
sampled frames. Planes above `WHOLE_PLANE_PIXELS` are looked at through a grid of windows, so that the cost has a bound.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

Plane = npt.NDArray[np.uint8]

MIN_SIDE = 16
"""Smallest side that has anything to measure, px."""
WHOLE_PLANE_PIXELS = 1280 * 736
"""Up to here the whole plane is measured, px."""
WINDOWS = 3
"""Larger planes: this many windows each way."""
BLOCK = 16
"""Block over which noise is pooled, and the alignment of windows, px: keeps the 8-px coding grid in phase."""

REBLUR_SIGMA = 1.0
"""Blur that is added to measure the blur that is there, px."""
EDGE_SHARE = 0.02
"""The steepest pixels are the edges that focus is read from."""
MIN_EDGE_SLOPE = 2.0
"""Weakest slope that counts as an edge, grey levels per px."""
EDGE_OVER_NOISE = 3.0
"""An edge is at least this many times as steep as the noise alone."""
EDGE_STRIDE = 3
"""Lines looked at: each n-th."""
MIN_EDGES = 16
"""Fewer edge pixels than this say nothing."""
SHARPEST_SHARE = 30.0
"""Percentile of edge widths reported: a sharp subject before a soft ground is a sharp picture."""
COARSER_ABOVE = 1.8
"""Wider blurs are measured again at half size, where the added blur is again of their order, px."""
LEVELS = 4
"""Times the plane is halved at most."""
MAX_BLUR = 24.0
"""Widest blur told apart, px."""

NOISE_PERCENTILE = 15.0
"""The calmest blocks show the noise; the others show texture."""
WIPED_LEVEL = 0.2
"""Mean high-frequency residual below which a block has no texture, grey levels."""
DARK_RAIL, BRIGHT_RAIL = 12.0, 243.0
"""Blocks whose mean lies outside are near clipping and hide their noise, grey levels."""
_NOISE_KERNEL = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], dtype=np.float32)
_NOISE_SCALE = float(np.sqrt(np.pi / 2.0) / 6.0)

GRID = 8
"""Period of the coding grid, px."""
MAX_STEP = 24
"""A larger step between neighbours is an edge of the picture, not of a block; counted as this much, grey levels."""
STEP_FLOOR = 0.25
"""Added to the steps elsewhere, so that a blank picture is not blocky, grey levels."""


@dataclass(frozen=True)
class PlaneMeasures:
    """One plane's measures; None where the plane has nothing to tell it from."""

    blur_px: float | None
    """Width (Gaussian sigma) of the sharper edges, native px. Holds the pixels' and the
    slope filter's own aperture: 0.5 to 0.7 is as sharp as pictures are."""
    noise: float | None
    """Standard deviation of the noise, grey levels."""
    blockiness: float | None
    """How much steps stand out on an 8-px grid: 0 none, 1 as much again as everywhere else."""
    wiped_share: float | None
    """Share of the picture without any texture left, as strong compression leaves it (and drawn pictures are)."""


def measure_plane(luma: Plane) -> PlaneMeasures:
    """Measure one plane [height, width] of full-range luma. Any size; a tiny one gives Nones."""
    if min(luma.shape) < MIN_SIDE:
        return PlaneMeasures(None, None, None, None)
    parts = [_measure_window(window) for window in _windows(luma)]

    def pooled(name: str) -> float | None:
        values = [value for value in (getattr(part, name) for part in parts) if value is not None]
        return float(np.median(values)) if values else None

    # The sharpest third of the windows is where the focus was meant to be.
    blurs = [part.blur_px for part in parts if part.blur_px is not None]
    blur = float(np.percentile(blurs, 30.0)) if blurs else None
    return PlaneMeasures(blur, pooled("noise"), pooled("blockiness"), pooled("wiped_share"))


def _windows(luma: Plane) -> Iterator[Plane]:
    """The whole plane, or a grid of windows of the same area in all."""
    height, width = luma.shape
    if height * width <= WHOLE_PLANE_PIXELS:
        yield luma
        return
    shrink = float(np.sqrt(WHOLE_PLANE_PIXELS / (height * width))) / WINDOWS
    window_h = min(height, max(64, int(height * shrink)))
    window_w = min(width, max(64, int(width * shrink)))
    for row in range(WINDOWS):
        top = (height - window_h) * row // (WINDOWS - 1) // BLOCK * BLOCK
        for column in range(WINDOWS):
            left = (width - window_w) * column // (WINDOWS - 1) // BLOCK * BLOCK
            yield luma[top : top + window_h, left : left + window_w]


def _measure_window(luma: Plane) -> PlaneMeasures:
    noise, wiped = texture(luma)
    return PlaneMeasures(blur_width(luma, noise or 0.0), noise, blockiness(luma), wiped)


def texture(luma: Plane) -> tuple[float | None, float | None]:
    """Standard deviation of white noise, grey levels, and the share of blocks without any texture.

    Immerkaer (1996), with the noise read from the calmest blocks only. Even a strong blur leaves the rounding of its
    slopes as texture; a coder that zeroes a block's coefficients leaves nothing.
    """
    height, width = (side // BLOCK for side in luma.shape)
    if height < 1 or width < 1:
        return None, None
    luma = luma[: height * BLOCK, : width * BLOCK]
    residual = cv2.convertScaleAbs(cv2.filter2D(luma, cv2.CV_16S, _NOISE_KERNEL)).astype(np.float32)
    level = cv2.resize(residual, (width, height), interpolation=cv2.INTER_AREA)
    mean = cv2.resize(luma, (width, height), interpolation=cv2.INTER_AREA)
    usable = level[(mean > DARK_RAIL) & (mean < BRIGHT_RAIL)]
    if usable.size == 0:
        return None, None
    return float(np.percentile(usable, NOISE_PERCENTILE)) * _NOISE_SCALE, float(np.mean(usable < WIPED_LEVEL))


def blur_width(luma: Plane, noise: float) -> float | None:
    """Gaussian sigma of the sharper edges, px (gradient ratio against a re-blurred copy: Zhuo and Sim 2011)."""
    scale = 1.0
    width: float | None = None
    for _ in range(LEVELS):
        measured = _blur_at_scale(luma, noise)
        if measured is not None:
            width = measured * scale
            if measured <= COARSER_ABOVE:
                break
        if min(luma.shape) < 2 * MIN_SIDE:
            break
        half = (luma.shape[1] // 2, luma.shape[0] // 2)
        luma = np.asarray(cv2.resize(luma, half, interpolation=cv2.INTER_AREA), dtype=np.uint8)
        noise /= 2.0
        scale *= 2.0
    return None if width is None else min(width, MAX_BLUR)


def _blur_at_scale(luma: Plane, noise: float) -> float | None:
    blurred = cv2.GaussianBlur(luma, (7, 7), REBLUR_SIGMA)
    widths = []
    for dx, dy in ((1, 0), (0, 1)):
        # Lines across the edges; every `EDGE_STRIDE`-th is enough. Sobel sums to 8 times the slope per px.
        lines = (slice(None, None, EDGE_STRIDE), slice(None)) if dx else (slice(None), slice(None, None, EDGE_STRIDE))
        soft = np.abs(cv2.Sobel(blurred, cv2.CV_16S, dx, dy, ksize=3)[lines])
        # Of white noise, Sobel's standard deviation is sqrt(12) times the noise's.
        floor = max(8.0 * MIN_EDGE_SLOPE, EDGE_OVER_NOISE * 3.46 * noise)
        steep = max(floor, float(np.percentile(soft[1::4, 1::4], 100.0 * (1.0 - EDGE_SHARE))))
        inner = (slice(None), slice(1, -1)) if dx else (slice(1, -1), slice(None))
        rows, columns = np.nonzero(soft[inner] >= steep)
        rows, columns = rows + dy, columns + dx
        slope = soft[rows, columns]
        # Only the steepest point across each edge: beside it the ratio tells of something else.
        crest = (slope >= soft[rows + dy, columns + dx]) & (slope >= soft[rows - dy, columns - dx])
        if np.count_nonzero(crest) < MIN_EDGES:
            continue
        sharp = np.abs(cv2.Sobel(luma, cv2.CV_16S, dx, dy, ksize=3)[lines][rows[crest], columns[crest]])
        ratio = np.maximum(sharp / slope[crest].astype(np.float64), 1.0 + 1e-3)
        widths.append(float(np.percentile(REBLUR_SIGMA / np.sqrt(ratio**2 - 1.0), SHARPEST_SHARE)))
    # The mean of both directions: blur by motion widens the edges across it only.
    return float(np.mean(widths)) if widths else None


def blockiness(luma: Plane) -> float | None:
    """How steps stand out on an 8-px grid at any offset, after Wang, Bovik and Evans (2000): 0 is none."""
    known = []
    for axis, one_on, one_back in ((0, luma[:, 1:], luma[:, :-1]), (1, luma[1:], luma[:-1])):
        if one_on.shape[1 - axis] < 4 * GRID:
            continue
        step = cv2.threshold(cv2.absdiff(one_on, one_back), MAX_STEP, 0, cv2.THRESH_TRUNC)[1]
        profile = cv2.reduce(step, axis, cv2.REDUCE_SUM, dtype=cv2.CV_32S).reshape(-1) / float(luma.shape[axis])
        # The picture's own edges fall on any phase of the grid; only a coder's fall on one.
        phases = np.median(profile[: profile.size // GRID * GRID].reshape(-1, GRID), axis=0)
        first, second = np.sort(phases)[:-3:-1]
        known.append(float((first - second) / ((phases.sum() - first) / (GRID - 1) + STEP_FLOOR)))
    return float(np.mean(known)) if known else None
