"""Languages of synthetic voices: fits `models/sounds/synthetic_voices.safetensors`, and says what it is worth.

    python -m benchmarks.voices [--fit] [--check]

With `--fit` the linear map is fitted on the dev half: what espeak-ng reads, people's recordings, and sounds without a
language. What is measured: languages of readings in five folds (no variant of a voice on both sides); people's
recordings of the test half, by Whisper alone and with the map; sounds without a language. `benchmarks.hearing` has
other sentences in ten languages, which nothing here was fitted on. Whisper hears about 2,000 clips for `--fit`, half
an hour on two cores; what it heard is kept in the corpus' cache.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from rich.progress import track

from models.protocol import Encoding
from models.serving.scores import as_kept
from models.sounds.speech import SURE_LANGUAGE, spoken_language
from models.sounds.synthetic_voices import (
    FITTED,
    FLOOR,
    NOBODY,
    PERSON,
    POOLED,
    SyntheticVoices,
    load_synthetic_voices,
    save_synthetic_voices,
)
from models.sounds.whisper import WEIGHTS, WINDOW_S, LanguageEncoder, Whisper

from .corpus import CorpusError, corpus_root
from .report import RESULTS, Bar, check, table, today, write
from .truths import Half
from .voices_corpus import READ, RECORDED, Voice, nobody, readings, recorded

NAME = "voices"
COMMAND = "python -m benchmarks.voices --check"
CACHE = Path.home() / ".cache" / "tagfarm" / "weights"
EACH = 32
"""Readings of a language."""
NOBODY_EVERY = 8
"""Of the readings, one of so many is reversed, vocoded or joins a babble; of recordings, one of a quarter of that."""
STRENGTH = 1.0
"""Inverse of the ridge on standardised rows: of 0.3, 1 and 3 the most right less wrong in the folds."""
FOLDS = 5

Rows = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Heard:
    """A clip and what Whisper kept of it."""

    name: str
    group: str
    language: str | None
    kept: Rows
    """[1123]"""


def hear(voices: Iterable[Voice], weights: Path, doing: str) -> list[Heard]:
    """Put clips through Whisper, one by one; what it heard before is taken from the cache."""
    folder = corpus_root() / "heard-voices"
    folder.mkdir(parents=True, exist_ok=True)
    network = cache(lambda: Whisper(weights))

    def one(voice: Voice) -> Heard:
        key = hashlib.sha256(WEIGHTS.encode() + voice.sound.tobytes()).hexdigest()[:24]
        path = folder / f"{key}.npy"
        if not path.is_file():
            scratch = path.with_suffix(f".{id(voice)}.tmp")
            with scratch.open("wb") as file:
                np.save(file, network().heard(voice.sound))
            scratch.replace(path)
        return Heard(voice.name, voice.group, voice.language, as_kept(np.load(path)))

    return [one(voice) for voice in track(list(voices), description=doing)]


def told(rows: Sequence[Heard], fitted: SyntheticVoices | None) -> list[str | None]:
    """What the speech head says of each; without `fitted`, by Whisper alone."""
    found = []
    for heard in rows:
        scores = np.exp(heard.kept[None, POOLED:]) - FLOOR if fitted is None else fitted.languages(heard.kept[None])
        found.append(spoken_language(Encoding("", np.zeros(1), WINDOW_S, heard.kept[None], scores)))
    return found


def label(heard: Heard) -> str:
    """What the map is to say of a clip."""
    if heard.language is None:
        return NOBODY
    return PERSON if heard.group.startswith("recorded") else heard.language


def fit(rows: Sequence[Heard]) -> SyntheticVoices:
    """Multinomial logistic regression on standardised rows."""
    from sklearn.linear_model import LogisticRegression

    x = np.stack([heard.kept for heard in rows])
    mean, scale = x.mean(axis=0), 1 / (x.std(axis=0) + 1e-3)
    model = LogisticRegression(C=STRENGTH, max_iter=400).fit((x - mean) * scale, [label(heard) for heard in rows])
    weight = (model.coef_.T * scale[:, None]).astype(np.float16).astype(np.float32)
    bias = (model.intercept_ - (mean * scale) @ model.coef_.T).astype(np.float32)
    return SyntheticVoices(LanguageEncoder.version, tuple(map(str, model.classes_)), weight, bias)


def folds(rows: Sequence[Heard]) -> list[str | None]:
    """What is told of each clip by a map that has heard neither its variant of a voice nor, of people, its language."""
    groups = sorted({heard.group for heard in rows})
    number = np.array([groups.index(heard.group) % FOLDS for heard in rows])
    found: list[str | None] = [None] * len(rows)
    for fold in track(range(FOLDS), description="folds"):
        fitted = fit([heard for heard, at in zip(rows, number, strict=True) if at != fold])
        left = [place for place, at in enumerate(number) if at == fold]
        for place, said in zip(left, told([rows[place] for place in left], fitted), strict=True):
            found[place] = said
    return found


def figures(rows: Sequence[Heard], said: Sequence[str | None]) -> dict[str, Any]:
    """Shares told right and wrong."""
    return {
        "clips": len(rows),
        "right": round(float(np.mean([one == heard.language for heard, one in zip(rows, said, strict=True)])), 4),
        "wrong": round(
            float(np.mean([one not in (None, heard.language) for heard, one in zip(rows, said, strict=True)])), 4
        ),
    }


def clips(half: Half, weights: Path) -> tuple[list[Heard], list[Heard]]:
    """People of a half, and nobody."""
    people = list(recorded(half))
    without = list(nobody(people[:: NOBODY_EVERY // 4]))
    return hear(people, weights, f"people, {half}"), hear(without, weights, f"nobody, {half}")


def measure(weights: Path, fit_again: bool) -> dict[str, Any]:
    """All figures; `fit_again` fits first."""
    made = list(readings(EACH))
    read_aloud = hear(made, weights, "espeak-ng")
    without_read = hear(nobody(made[::NOBODY_EVERY]), weights, "nobody, espeak-ng")
    people, without = clips("dev", weights)
    rows = [*read_aloud, *people, *without_read, *without]
    if fit_again:
        save_synthetic_voices(
            fit(rows),
            FITTED,
            {
                "method": f"multinomial logistic regression, C = {STRENGTH}, on standardised rows",
                "data": f"{len(read_aloud)} readings by espeak-ng of tuxpaint's descriptions in {len(READ)} languages,"
                f" {len(people)} recordings of people, {len(without_read) + len(without)} sounds without a language;"
                f" dev half; {today()}",
            },
        )
    fitted = load_synthetic_voices()
    crossed = folds(rows)
    test_people, test_without = clips("test", weights)
    parts = {"espeak-ng": slice(0, len(read_aloud)), "people": slice(len(read_aloud), len(read_aloud) + len(people))}
    by_language = {}
    for language in (*RECORDED, "en"):
        mine = [heard for heard in test_people if heard.language == language]
        by_language[language] = [figures(mine, told(mine, way)) for way in (None, fitted)]
    return {
        "languages": len(READ),
        "folds": {name: figures(rows[part], crossed[part]) for name, part in parts.items()},
        "folds_nobody": figures(rows[parts["people"].stop :], crossed[parts["people"].stop :]),
        "alone": {name: figures(rows[part], told(rows[part], None)) for name, part in parts.items()},
        "alone_nobody": figures(rows[parts["people"].stop :], told(rows[parts["people"].stop :], None)),
        "test": {
            name: [figures(found, told(found, way)) for way in (None, fitted)]
            for name, found in (("people", test_people), ("nobody", test_without))
        },
        "recorded": by_language,
    }


def bars_of(data: dict[str, Any]) -> list[Bar]:
    """What the map must reach, and must not spoil."""
    people = data["test"]["people"]
    return [
        Bar("language of espeak-ng's readings, unheard variants of a voice", data["folds"]["espeak-ng"]["right"], 0.7),
        Bar("told wrong of them", data["folds"]["espeak-ng"]["wrong"], 0.05, "<="),
        Bar("people's language told right, against Whisper alone", people[1]["right"] - people[0]["right"], -0.01),
        Bar("a language told where there is none (test half)", data["test"]["nobody"][1]["wrong"], 0.05, "<="),
    ]


def page_of(data: dict[str, Any]) -> str:
    """The page."""
    test = data["test"]
    rows = [
        ("espeak-ng, dev half, in folds", data["alone"]["espeak-ng"], data["folds"]["espeak-ng"]),
        ("people, dev half, in folds", data["alone"]["people"], data["folds"]["people"]),
        ("nobody, dev half, in folds", data["alone_nobody"], data["folds_nobody"]),
        ("people, test half", *test["people"]),
        ("nobody, test half", *test["nobody"]),
    ]
    return "\n".join(
        (
            f"espeak-ng reads descriptions in {data['languages']} languages, a third of them through noise, a"
            " telephone or a room. In folds, neither a variant of a voice nor, of people, a language is on both"
            " sides. A language counts as told from a probability of"
            f" {SURE_LANGUAGE} on; of nobody, *right* is that none is.\n",
            table(
                ("sound", "clips", "Whisper: right", "wrong", "with the map: right", "wrong"),
                [(name, a["clips"], a["right"], a["wrong"], b["right"], b["wrong"]) for name, a, b in rows],
            ),
            "## People\n",
            "Descriptions of the test half in nine languages, mostly one speaker each, and English prompts. The map"
            " leaves Whisper its word on people: these figures are Whisper's.\n",
            table(
                ("language", "clips", "Whisper: right", "wrong", "with the map: right", "wrong"),
                [
                    (language, a["clips"], a["right"], a["wrong"], b["right"], b["wrong"])
                    for language, (a, b) in data["recorded"].items()
                ],
            ),
        )
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; the exit status."""
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks.{NAME}", description=__doc__)
    parser.add_argument("--fit", action="store_true", help="fit the map on the dev half first")
    parser.add_argument("--check", action="store_true", help="print the bars; exit 1 when one is missed")
    parser.add_argument("--weights", type=Path, default=CACHE, help="the weights cache")
    parser.add_argument("--results", type=Path, default=RESULTS, help="where to write")
    options = parser.parse_args(arguments)
    try:
        data = measure(options.weights, options.fit)
    except CorpusError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    bars = bars_of(data)
    page = write(
        NAME,
        title="Languages of synthetic voices",
        command=COMMAND,
        bars=bars,
        data=data,
        body=page_of(data),
        folder=options.results,
    )
    sys.stderr.write(f"wrote {page.name}\n")
    return check(bars) if options.check else 0


if __name__ == "__main__":
    sys.exit(main())
