"""How well picture and sound quality follow what is wrong: `python -m benchmarks.quality [--check]`.

Real clips and sounds are damaged in known ways at six levels, encoded as uploads are, and go through the farm's
decoder with its observers and through the quality tagger. Of each kind of damage: Spearman's rank correlation of
score and severity within each source (mean over the sources) and over all sources together. Beside it, on the same
clips: BRISQUE, which sees the damaged picture alone as tagfarm does, and SSIM, which is shown the original too.

Writes `results/quality.json`, `.md` and two plots. Damaged clips are kept in the corpus's cache, so that a later run is
several times quicker than the first. With `--check`, exits 1 when a bar is missed.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from multiprocessing import get_context
from typing import Any

import numpy as np
from rich.progress import track
from scipy.stats import spearmanr

from models.quality.scores import picture_parts, picture_score
from models.quality.tagger import QualityTagger

from .corpus import CorpusError, chosen, corpus_root, pull_all, sources
from .picture_faults import FAULTS
from .picture_sources import COUNT, SOURCES
from .picture_trials import PEERS, UNSPOILT, Trial, judge_source
from .quality_plots import curves_plot
from .report import RESULTS, Bar, check, table, write
from .sound_faults import SOUND_FAULTS
from .sound_sources import SOUND_SOURCES
from .sound_trials import SoundTrial, judge_sounds

NAME = "quality"
COMMAND = "python -m benchmarks.quality --check"
WITHIN_BAR, ACROSS_BAR = 0.97, 0.85
WORKERS = 2
PARTS = {
    "blur": "sharpness",
    "compression": "blockiness",
    "noise": "noise",
    "too dark": "exposure",
    "too bright": "exposure",
    "low contrast": "contrast",
    "banding": "banding",
    "upscaled": "sharpness",
    "flicker": "flicker",
    "freeze": "freeze_share",
    "judder": "judder",
    "shake": "stability",
}
"""The part of picture quality that each damage is about: its own score stands beside the score in all."""
HALVES = ("dev", "test", "both")

Trials = Sequence[Trial] | Sequence[SoundTrial]
Value = Callable[[Any], float]


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.quality", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="print the bars; exit 1 when one is missed")
    parser.add_argument("--workers", type=int, default=WORKERS, help="processes")
    options = parser.parse_args(arguments)
    errors = pull_all(chosen([*SOURCES, *SOUND_SOURCES], sources()), corpus_root())
    if errors:
        sys.stderr.write("".join(f"{error}\n" for error in errors))
        return 2
    try:
        pictures, sounds = _trials(options.workers)
    except CorpusError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    bars = report(pictures, sounds)
    return check(bars) if options.check else 0


def _trials(workers: int) -> tuple[list[Trial], list[SoundTrial]]:
    with get_context("spawn").Pool(workers) as pool:
        found = pool.imap(judge_source, range(COUNT))
        pictures = [trial for trials in track(found, "pictures", total=COUNT) for trial in trials]
        parts = 2 * workers
        heard = pool.starmap_async(judge_sounds, [(part, parts) for part in range(parts)])
        sounds = [trial for trials in heard.get() for trial in trials]
    return pictures, sorted(sounds, key=lambda trial: trial.source)


def correlations(trials: Trials, fault: str, value: Value, half: str = "both") -> tuple[float, float]:
    """Of one fault, of value and mildness: the mean of each source's rank correlation, and that of all together.

    A source whose values are all alike counts as 0: nothing was told of it.
    """
    mine = [trial for trial in trials if trial.fault == fault and half in ("both", trial.half)]
    within = []
    for source in dict.fromkeys(trial.source for trial in mine):
        points = sorted((trial.level, value(trial)) for trial in mine if trial.source == source)
        within.append(_rank([level for level, _ in points], [found for _, found in points]))
    return float(np.mean(within)), _rank([trial.level for trial in mine], [value(trial) for trial in mine])


def _rank(levels: Sequence[int], values: Sequence[float]) -> float:
    if len(set(values)) < 2:
        return 0.0
    return -float(spearmanr(levels, values)[0])


def report(pictures: Sequence[Trial], sounds: Sequence[SoundTrial]) -> list[Bar]:
    """Write the page and its plots; the bars."""
    seen = {fault: _picture_row(pictures, fault) for fault in FAULTS}
    heard = {fault: _row(sounds, fault) for fault in SOUND_FAULTS}
    bars = [*_bars("picture", seen), *_bars("sound", {f: r for f, r in heard.items() if SOUND_FAULTS[f].counted})]
    above = min(row["both"][place] - row["BRISQUE"][place] for row in seen.values() for place in range(2))
    bars.append(Bar("picture: least lead over BRISQUE in any row, of either correlation", round(above, 3), 0.0))
    plots = {
        f"{NAME}-picture.svg": curves_plot(_curves(pictures, FAULTS), "picture"),
        f"{NAME}-sound.svg": curves_plot(_curves(sounds, SOUND_FAULTS), "sound"),
    }
    RESULTS.mkdir(parents=True, exist_ok=True)
    for name, content in plots.items():
        (RESULTS / name).write_text(content, encoding="utf-8")
    data = {
        "tagger": QualityTagger.version,
        "picture": seen,
        "sound": heard,
        "picture_scores": _scores(pictures),
        "sound_scores": _scores(sounds),
    }
    page = write(
        NAME,
        title="Picture and sound quality",
        command=COMMAND,
        bars=bars,
        data=data,
        body=_body(pictures, sounds, seen, heard),
    )
    sys.stderr.write(f"wrote {page.name}\n")
    return bars


def _row(trials: Trials, fault: str) -> dict[str, list[float]]:
    return {half: _rounded(correlations(trials, fault, lambda trial: trial.score, half)) for half in HALVES}


def _picture_row(trials: Sequence[Trial], fault: str) -> dict[str, list[float]]:
    row = _row(trials, fault)
    part = PARTS[fault]
    row["own"] = _rounded(correlations(trials, fault, lambda trial: picture_parts(trial.measures).get(part, 1.0)))
    for peer in PEERS:
        row[peer] = _rounded(correlations(trials, fault, lambda trial, name=peer: trial.peers[name]))  # type: ignore[misc]
    return row


def _rounded(pair: tuple[float, float]) -> list[float]:
    return [round(value, 4) for value in pair]


def _bars(part: str, rows: dict[str, dict[str, list[float]]]) -> list[Bar]:
    bars = []
    for half in ("test", "both"):
        note = "test half" if half == "test" else "all"
        for place, (name, bar) in enumerate((("within a source", WITHIN_BAR), ("across sources", ACROSS_BAR))):
            values = {fault: row[half][place] for fault, row in rows.items()}
            worst = min(values, key=lambda fault: values[fault])
            mean = round(float(np.mean(list(values.values()))), 4)
            bars.append(
                Bar(f"{part}: rank correlation {name}, mean of {len(rows)} kinds of damage", mean, bar, note=note)
            )
            label = f"{part}: rank correlation {name}, worst kind of damage"
            bars.append(Bar(label, values[worst], bar, note=f"{note}: {worst}"))
    return bars


def _curves(trials: Trials, faults: Any) -> dict[str, dict[str, list[float]]]:
    """By fault and source, the score at levels 0 to 6."""
    found: dict[str, dict[str, list[float]]] = {}
    clean = {trial.source: trial.score for trial in trials if trial.fault == UNSPOILT}
    for fault in faults:
        found[fault] = {}
        for source, score in clean.items():
            mine = sorted((t.level, t.score) for t in trials if t.source == source and t.fault == fault)
            found[fault][source] = [score, *(value for _, value in mine)]
    return found


def _scores(trials: Trials) -> dict[str, dict[str, list[float]]]:
    faults = dict.fromkeys(trial.fault for trial in trials if trial.fault != UNSPOILT)
    return _curves(trials, faults)


def _body(pictures: Sequence[Trial], sounds: Sequence[SoundTrial], seen: Any, heard: Any) -> str:
    def cells(row: dict[str, list[float]], *keys: str) -> list[float]:
        return [value for key in keys for value in row[key]]

    picture_rows = [
        (fault, FAULTS[fault].unit, *cells(row, "both", "dev", "test", "own", *PEERS)) for fault, row in seen.items()
    ]
    sound_rows = [
        (
            fault if SOUND_FAULTS[fault].counted else f"{fault} (beside the bars)",
            SOUND_FAULTS[fault].unit,
            *cells(row, "both", "dev", "test"),
        )
        for fault, row in heard.items()
    ]
    pairs = [f"{name}: {place}" for name in ("all", "dev", "test") for place in ("within", "across")]
    peers = [f"{name}: {place}" for name in ("own score", *PEERS) for place in ("within", "across")]
    return "\n".join(
        (
            f"{_count(pictures)} moving pictures of {_seconds(pictures)}, {_count(sounds)} sounds; every kind of damage"
            " at six levels. `within`: mean over the sources of Spearman's rank correlation of score and mildness;"
            " `across`: of all sources' clips together. Curves and weights were set with the `dev` half in view (every"
            " second source); `test` was kept aside, but for bikes and pedestrians, and for one defect that only the"
            " sounds of `test` showed: a constant offset passed for crushed dynamics, whose kurtosis is taken about the"
            " mean since; and the offset is taken off the sources, since it makes the limiter that damages them"
            " one-sided. Severity is the amount that was put in: no person judged these clips."
            " BRISQUE sees what tagfarm sees; SSIM also sees the original, which nobody has of an upload: no"
            " rival but a ceiling.\n",
            "## Picture\n",
            "![score against level, by damage](quality-picture.svg)\n",
            "`own score`: of the part that the damage is about (sharpness of blur, and so on), in place of the score in"
            " all.\n",
            table(("damage", "in", *pairs, *peers), picture_rows),
            _unread(pictures),
            "## Sound\n",
            "![score against level, by damage](quality-sound.svg)\n",
            table(("damage", "in", *pairs), sound_rows),
            "## What is said of the worst\n",
            "The explanation of one source of the test half at the gravest level of each damage.\n",
            table(("damage", "explanation"), _words(pictures) + _words(sounds)),
        )
    )


def _unread(trials: Sequence[Trial]) -> str:
    """How well compression is seen where the stream does not tell it: another codec, or a copy's copy."""
    within, across = correlations(trials, "compression", _score_unread)
    return (
        "The quantiser that H.264's decoder tells carries the row of compression. Without it (another codec; a file"
        f" that was coded coarsely once and finely since) the picture alone gives {within:.3f} within a source and"
        f" {across:.3f} across them.\n"
    )


def _score_unread(trial: Trial) -> float:
    return picture_score(picture_parts({**trial.measures, "quantiser": None}))


def _count(trials: Trials) -> int:
    return len({trial.source for trial in trials})


def _seconds(trials: Sequence[Trial]) -> str:
    return f"{trials[0].measures['frames'] / 25:.1f} s"


def _words(trials: Trials) -> list[tuple[str, str]]:
    source = next(trial.source for trial in trials if trial.half == "test")
    worst = [trial for trial in trials if trial.source == source and trial.level in (0, 6)]
    return [(f"{trial.fault} ({source})", ", ".join(trial.quality["explanation"]) or "–") for trial in worst]


if __name__ == "__main__":
    sys.exit(main())
