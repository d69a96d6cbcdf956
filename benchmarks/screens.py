"""Recordings of screens: how many are told, and what else is: `python -m benchmarks.screens [--check]`.

Chromium draws ten made-up apps in colours, fonts, languages and sizes of their own; fingers scroll them, words are
typed, fields chosen, pointers moved; each goes the way of an upload (H.264, decoder pool, sampled frames, tagger). So
do real clips, what is composed of them, and what looks like a screen and is none. The rule was made on other seeds, and
before the apps `mail` and `terminal`. Needs Chromium.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import cv2
import numpy as np
from rich.progress import track

from media.pool import DecoderPool
from media.types import Limits
from models.layout.screen import find_screen
from models.layout.tagger import LayoutTagger

from .clips import write_clip
from .corpus import CorpusError, chosen, corpus_root, pull_all, sources
from .encodings import evidence_of
from .layout_sources import FPS, VIDEOS
from .report import RESULTS, Bar, check, table, write
from .screen_cases import GAMES, OTHERS, other, recording
from .screen_pages import APPS
from .voices_corpus import SOURCE

NAME = "screens"
COMMAND = "python -m benchmarks.screens --check"
SEED = 20261201
EACH = 12
"""Recordings of an app."""
KIND = "screen_recording"
WALLPAPERED = "desktop"
"""The app whose two tones a photograph hides: counted apart."""
TOLD_BAR, FALSE_BAR, CPU_BAR_MS = 0.85, 0.005, 15.0


@dataclass(frozen=True)
class Answer:
    """One case and what was said of it."""

    group: str
    number: int
    screen: bool
    kind: str | None
    how: str | None
    cpu_ms: float
    """Of the search for a screen alone."""


def ask(plan: Sequence[tuple[str, int]], seed: int, pictures: Path | None) -> list[Answer]:
    """Make, encode, decode and tag the cases of a plan."""
    tagger, answers = LayoutTagger(), []
    cv2.setNumThreads(1)
    with DecoderPool(1, Limits()) as pool, tempfile.TemporaryDirectory(prefix="tagfarm-benchmark-") as folder:
        for group, number in track(list(plan), description="screens"):
            screen = group in APPS
            frames = recording(group, f"{seed} {number}") if screen else other(group, number, seed)
            clip = Path(folder) / "upload.mp4"
            write_clip(frames, clip, FPS, repeatable=True)
            evidence = evidence_of(pool.decode(clip, Path(folder)))
            began = time.process_time()
            found = find_screen(evidence.frames)
            cpu_ms = 1000 * (time.process_time() - began)
            said = tagger.tag(evidence)
            kind = None if said is None else said["kind"]
            answers.append(Answer(group, number, screen, kind, found.how if found else None, cpu_ms))
            if pictures is not None and (number < 3 or (kind == KIND) != screen):
                pictures.mkdir(parents=True, exist_ok=True)
                middle = cv2.cvtColor(evidence.frames[len(evidence.frames) // 2], cv2.COLOR_RGB2BGR)
                cv2.imwrite(str(pictures / f"{group}-{number}-{kind}.png"), middle)
    return answers


def bars_of(answers: Sequence[Answer]) -> list[Bar]:
    """What has to hold."""
    pages = [one for one in answers if one.screen and one.group != WALLPAPERED]
    others = [one for one in answers if not one.screen]
    told = float(np.mean([one.kind == KIND for one in pages]))
    false = float(np.mean([one.kind == KIND for one in others]))
    cpu = float(np.median([one.cpu_ms for one in others]))
    return [
        Bar("recordings of pages that are told", told, TOLD_BAR, note=f"{len(pages)}"),
        Bar("uploads that are none and are told as one", false, FALSE_BAR, "<=", note=f"{len(others)}"),
        Bar("CPU of the search in an upload that is none, median", cpu, CPU_BAR_MS, "<=", "ms"),
    ]


def page_of(answers: Sequence[Answer]) -> str:
    """The page behind the bars."""
    groups: dict[str, list[Answer]] = defaultdict(list)
    for one in answers:
        groups[one.group].append(one)
    rows = []
    for group, mine in groups.items():
        kinds = Counter(str(one.kind) for one in mine)
        hows = Counter(one.how for one in mine if one.how)
        rows.append(
            (
                group,
                "yes" if mine[0].screen else "no",
                len(mine),
                kinds[KIND] / len(mine),
                ", ".join(f"{how} {count}" for how, count in sorted(hows.items())) or "–",
                ", ".join(f"{kind} {count}" for kind, count in kinds.most_common() if kind != KIND) or "–",
            )
        )
    return (
        f"The bar on recordings leaves `{WALLPAPERED}` out: windows before a photograph are mostly not told, since it"
        " hides the two tones, and nothing scrolls.\n\n"
        + table(("what", "a screen", "uploads", "told as one", "by what", "told as something else"), rows)
        + "\nThese pages were written for this benchmark; no real recording is in the corpus.\n"
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; the exit status."""
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks.{NAME}", description=__doc__)
    parser.add_argument("--check", action="store_true", help="print the bars; exit 1 when one is missed")
    parser.add_argument("--seed", type=int, default=SEED, help="of the cases; another one writes no page")
    parser.add_argument("--share", type=float, default=1.0, help="of the cases; fewer than all write no page")
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    parser.add_argument("--pictures", type=Path, help="folder for frames of what is wrong, and of a few others")
    parser.add_argument("--results", type=Path, default=RESULTS, help="where to write")
    options = parser.parse_args(arguments)
    wanted = ["photos", SOURCE, GAMES, *{source for source, _ in VIDEOS.values()}]
    errors = pull_all(chosen(wanted, sources()), corpus_root())
    if errors:
        sys.stderr.write("".join(f"{error}\n" for error in errors))
        return 2
    counts = {**dict.fromkeys(APPS, EACH), **OTHERS}
    plan = [(group, number) for group, count in counts.items() for number in range(round(count * options.share))]
    try:
        with ProcessPoolExecutor(options.jobs, mp_context=get_context("spawn")) as workers:
            parts = [
                workers.submit(ask, plan[number :: options.jobs], options.seed, options.pictures)
                for number in range(options.jobs)
            ]
            found = {(one.group, one.number): one for part in parts for one in part.result()}
    except CorpusError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    answers = [found[one] for one in plan]
    bars, body = bars_of(answers), page_of(answers)
    if options.seed == SEED and options.share == 1.0:
        data = {"seed": SEED, "answers": [{**vars(one), "cpu_ms": round(one.cpu_ms, 1)} for one in answers]}
        title = "Recordings of screens"
        write(NAME, title=title, command=COMMAND, bars=bars, data=data, body=body, folder=options.results)
        sys.stderr.write(f"wrote {NAME}.md\n")
    else:
        sys.stdout.write(body)
    return check(bars) if options.check else 0


if __name__ == "__main__":
    sys.exit(main())
