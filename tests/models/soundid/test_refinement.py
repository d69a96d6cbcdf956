import math
from dataclasses import replace

import numpy as np
import pytest

from models.soundid.fingerprint import Fingerprint
from models.soundid.proposals import AS_IT_IS, STEPS_PER_SEMITONE, Alignment
from models.soundid.refinement import refine

SECONDS = 6.0


def case(tracks, make, number, speed=1.0, change=None, seconds=SECONDS):
    """An upload's fingerprint and how the sound truly lies in it."""
    start = 9.0 + number + 0.0037
    wave = make["played"](tracks[f"song-{number}"], start, seconds, speed)
    query = Fingerprint.of(wave if change is None else change(wave))
    steps = 12 * math.log2(speed) * STEPS_PER_SEMITONE
    return query, Alignment(number, speed, steps, 100 * start, 0.0, AS_IT_IS)


def proposed(true, query, by_tempo, by_frames, by_steps=0.0):
    """`true`, wrong by so much in the middle of the upload."""
    tempo = true.tempo * (1 + by_tempo)
    offset = true.offset + (true.tempo - tempo) * 0.5 * query.frames + by_frames
    return replace(true, tempo=tempo, offset=offset, steps=true.steps + by_steps)


def off(found, true, query):
    middle = 0.5 * query.frames
    return found.tempo * middle + found.offset - true.tempo * middle - true.offset


@pytest.mark.parametrize("by_tempo", [0.015, -0.015])
@pytest.mark.parametrize("by_frames", [3, -3])
def test_a_proposal_is_put_right(songs, tracks, make, by_tempo, by_frames):
    for number in range(8):
        query, true = case(tracks, make, number)
        fit = refine(songs.view(), query.peaks, proposed(true, query, by_tempo, by_frames, by_steps=5.0))
        assert fit is not None
        found, begin, end = fit
        assert found.tempo == pytest.approx(1.0, abs=0.001)
        assert abs(off(found, true, query)) < 1.0
        assert abs(found.steps) < 0.5
        assert 0 <= begin < 150
        assert 450 < end <= 100 * SECONDS
        assert (found.sound, found.playing) == (number, AS_IT_IS)


@pytest.mark.parametrize("by_tempo", [0.022, -0.022])
def test_a_tempo_is_found_that_leads_many_frames_astray(songs, tracks, make, by_tempo):
    # Eleven frames at the ends, four times as far as a line's own points lie from it.
    for number in range(8):
        query, true = case(tracks, make, number, seconds=10.0)
        found, *_ = refine(songs.view(), query.peaks, proposed(true, query, by_tempo, 0))
        assert found.tempo == pytest.approx(1.0, abs=0.001)
        assert abs(off(found, true, query)) < 1.0


@pytest.mark.parametrize("speed", [0.8, 1.1, 1.25])
def test_a_proposal_of_another_speed_is_put_right(songs, tracks, make, speed):
    for number in (1, 2, 5, 6):
        query, true = case(tracks, make, number, speed)
        found, *_ = refine(songs.view(), query.peaks, proposed(true, query, 0.012, -2, by_steps=-4.0))
        # A frame of jitter over so few seconds; the phases, which decide, need it to 0.3 %.
        assert found.tempo == pytest.approx(speed, rel=0.0015)
        assert abs(off(found, true, query)) < 1.0
        assert found.steps == pytest.approx(true.steps, abs=1.0)


def test_speech_as_loud_does_not_lead_astray(songs, tracks, make):
    query, true = case(tracks, make, 3, change=lambda wave: make["mix"](wave, make["speech"](7, SECONDS), 0))
    found, *_ = refine(songs.view(), query.peaks, proposed(true, query, 0.012, 3))
    assert found.tempo == pytest.approx(1.0, abs=0.0015)
    assert abs(off(found, true, query)) < 1.0


def test_too_few_peaks_are_no_fit(songs, tracks, make):
    query, true = case(tracks, make, 0)
    assert refine(songs.view(), query.peaks.where(np.arange(1)), true) is None
    # Nor is a place after the sound's end, or before its beginning.
    for offset in (1e6, -1e6):
        assert refine(songs.view(), query.peaks, replace(true, offset=offset)) is None
