from __future__ import annotations

import random

from benchmarks.layout_sources import FRAMES
from benchmarks.screen_cases import _flicked
from benchmarks.screens import KIND, WALLPAPERED, Answer, bars_of, page_of


def answer(group: str, screen: bool, kind: str, cpu_ms: float = 5.0) -> Answer:
    return Answer(group, 0, screen, kind, "scrolls" if kind == KIND else None, cpu_ms)


def test_bars_count_pages_and_others_apart() -> None:
    answers = [answer("feed", True, KIND)] * 9 + [answer("feed", True, "single")]
    answers += [answer(WALLPAPERED, True, "single")] * 10
    answers += [answer("ordinary", False, "single", 7.0)] * 99 + [answer("ordinary", False, KIND, 7.0)]
    told, false, cpu = bars_of(answers)
    assert (told.value, told.met) == (0.9, True)
    assert (false.value, false.met) == (0.01, False)
    assert cpu.value == 7.0
    assert "| ordinary | no | 100 | 0.010 | scrolls 1 | single 99 |" in page_of(answers)


def test_a_finger_scrolls_in_both_halves_and_stays_on_the_page() -> None:
    for seed in range(20):
        places = _flicked(random.Random(seed), 2000)
        assert len(places) == FRAMES and min(places) >= 0 and max(places) <= 2000
        assert len(set(places[FRAMES // 2 :])) > 1
