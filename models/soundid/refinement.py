"""From an alignment that votes proposed to the one that its peaks agree on: tempo, offset and pitch by a fit.

Every peak of the sound near where the proposal expects one of the upload's gives a point; a Hough transform over tempo
and offset finds the line that most of them lie on, least squares its exact place.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from models.soundid.features import Peaks
from models.soundid.jit import compiled
from models.soundid.proposals import AS_IT_IS, HALF_WINDOW, STEPS_PER_SEMITONE, Alignment
from models.soundid.view import PairTable

REACH_FRAMES = 12
"""How far from its proposed place a peak of the sound is looked for, frames of the sound, ..."""
REACH_STEPS = 14
"""... and 1/`BIN_STEPS` bands."""
NEAR_STEPS = 4
"""How far from the common pitch a point may lie."""
NEAR_FRAMES = 2.5
"""How far from the line."""
SLOPE = 0.0018
SLOPES = 14
"""Tempo is tried in so many steps of `SLOPE` to either side."""
MAX_POINTS = 40_000
SAME_TEMPO, OTHER_TEMPO = 0.001, 0.03
"""Tempi by time and by pitch that differ by less are one, and by more are an error."""
MIN_POINTS = 6
FITS = 3


def refine(view: PairTable, peaks: Peaks, alignment: Alignment) -> tuple[Alignment, float, float] | None:
    """The alignment that peaks agree on; and the first and last time of the upload, frames, where most of them lie.

    None: too few.
    """
    first = alignment.tempo * (float(peaks.times[0]) + HALF_WINDOW) + alignment.offset - HALF_WINDOW - REACH_FRAMES
    last = alignment.tempo * (float(peaks.times[-1]) + HALF_WINDOW) + alignment.offset - HALF_WINDOW + REACH_FRAMES
    times, bins = view.peaks(alignment.sound)
    low, high = np.searchsorted(times, [max(0.0, first), max(0.0, last)])
    fit = _fit(
        times[low:high].astype(np.float64) + HALF_WINDOW,
        bins[low:high].astype(np.float64),
        peaks.times.astype(np.float64) + HALF_WINDOW,
        peaks.bins.astype(np.float64),
        alignment.tempo,
        alignment.steps,
        alignment.offset,
    )
    points, tempo, steps, offset, begin, end = fit
    if points < MIN_POINTS:
        return None
    return replace(alignment, tempo=tempo, steps=steps, offset=offset), begin, end


def tempi(alignment: Alignment) -> tuple[float, ...]:
    """The tempi that an alignment may have: where few peaks lie close together, their pitch tells it better."""
    if alignment.playing == AS_IT_IS:
        return (1.0,)
    by_pitch = 2.0 ** (alignment.steps / (12 * STEPS_PER_SEMITONE))
    apart = abs(by_pitch / alignment.tempo - 1.0)
    return (alignment.tempo, by_pitch) if SAME_TEMPO < apart < OTHER_TEMPO else (alignment.tempo,)


@compiled
def _fit(  # noqa: PLR0912, PLR0915
    times: npt.NDArray[np.float64],
    bins: npt.NDArray[np.float64],
    query_times: npt.NDArray[np.float64],
    query_bins: npt.NDArray[np.float64],
    tempo: float,
    steps: float,
    offset: float,
) -> tuple[int, float, float, float, float, float]:
    """Points on the line, tempo, steps, offset, and where the middle nine tenths of the points lie."""
    at = np.empty(MAX_POINTS)
    late = np.empty(MAX_POINTS)
    high = np.empty(MAX_POINTS)
    size = 0
    middle = 0.5 * (query_times[0] + query_times[-1])
    for query in range(len(query_times)):
        expected = tempo * query_times[query] + offset
        band = query_bins[query] - steps
        peak = np.searchsorted(times, expected - REACH_FRAMES)
        while peak < len(times) and times[peak] <= expected + REACH_FRAMES and size < MAX_POINTS:
            if abs(bins[peak] - band) <= REACH_STEPS:
                at[size] = query_times[query] - middle
                late[size] = times[peak] - expected
                high[size] = bins[peak] - band
                size += 1
            peak += 1
    if size < MIN_POINTS:
        return 0, tempo, steps, offset, 0.0, 0.0
    heights = np.zeros(2 * REACH_STEPS + 1)
    for point in range(size):
        heights[int(high[point] + REACH_STEPS + 0.5)] += 1
    best = -1.0
    pitch = 0.0
    for step in range(NEAR_STEPS - 1, len(heights) - NEAR_STEPS + 1):
        near = heights[step - NEAR_STEPS + 1 : step + NEAR_STEPS].sum()
        if near > best:
            best, pitch = near, float(step - REACH_STEPS)
    best = -1.0
    slope = 0.0
    shift = 0.0
    room = 2 * REACH_FRAMES + 60
    for turn in range(2 * SLOPES + 1):
        # From the middle outwards: of equals the smallest change.
        trial = ((turn + 1) // 2) * (1 if turn % 2 else -1) * SLOPE * tempo
        line = np.zeros(room)
        for point in range(size):
            if abs(high[point] - pitch) <= NEAR_STEPS:
                place = int(late[point] - trial * at[point] + REACH_FRAMES + 30.5)
                if 0 <= place < room:
                    line[place] += 1
        for place in range(1, room - 1):
            there = line[place] + 0.7 * (line[place - 1] + line[place + 1])
            if there > best:
                best, slope, shift = there, trial, place - REACH_FRAMES - 30.0
    on = 0
    for _ in range(FITS):
        on = 0
        sums = np.zeros(5)
        for point in range(size):
            if abs(high[point] - pitch) <= NEAR_STEPS and abs(late[point] - slope * at[point] - shift) <= NEAR_FRAMES:
                on += 1
                sums[0] += at[point]
                sums[1] += late[point]
                sums[2] += at[point] ** 2
                sums[3] += at[point] * late[point]
                sums[4] += high[point]
        if on < MIN_POINTS:
            return on, tempo, steps, offset, 0.0, 0.0
        spread = on * sums[2] - sums[0] ** 2
        if spread > 1:
            slope = (on * sums[3] - sums[0] * sums[1]) / spread
            shift = (sums[1] - slope * sums[0]) / on
        pitch = sums[4] / on
    places = np.empty(on)
    on = 0
    for point in range(size):
        there = abs(high[point] - pitch) <= NEAR_STEPS and abs(late[point] - slope * at[point] - shift) <= NEAR_FRAMES
        if there and on < len(places):
            places[on] = at[point]
            on += 1
    if on == 0:  # the last fit left none
        return 0, tempo, steps, offset, 0.0, 0.0
    places = np.sort(places[:on])
    begin, end = places[on // 20] + middle, places[on - 1 - on // 20] + middle
    return on, tempo + slope, steps - pitch, offset + shift - slope * middle, begin, end
