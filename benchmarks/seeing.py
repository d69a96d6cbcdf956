"""What each tagger of the picture costs, on one 15-s 720p upload, and what it reads in text laid over real clips.

    python -m benchmarks.seeing --check

CPU seconds of one upload on the CPU, one thread: the encoder with its batches and pre- and post-processing, then the
tagger. Text: words of known wording, size and ground are laid over real frames; a line is found when it is read to a
character error of at most a tenth. Objects and faces: pictures whose content is known from where they come from.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from rich.progress import track

from media.pool import DecoderPool
from media.types import Limits
from models.faces.blazeface import FacesEncoder
from models.faces.tagger import PeopleTagger
from models.layout.editing import EditingTagger
from models.layout.tagger import LayoutTagger
from models.objects.coco import INDEX, confidences
from models.objects.yolox import ObjectsEncoder
from models.protocol import Encoder, Evidence, Tagger
from models.safety.open_nsfw import SafetyEncoder, SafetyTagger
from models.text.rapid import TextEncoder
from models.text.tagger import TextTagger
from models.topics.efficientnet import PictureEncoder
from scripts import demo_media
from workers.settings import ModelSettings

from .clips import read_photo
from .encodings import evidence_of
from .layout_sources import VIDEOS, Sources, covered
from .report import Bar, check, table, write
from .truths import photos

ROUNDS = 5
LINES = 60
"""Lines of text that are laid over frames."""
WORDING = (
    "wait for it", "how to bake bread", "part 2", "follow for more", "POV: monday", "50% off today", "day 14 of 30",
    "ricetta della nonna", "best goals 2024", "do not try this",
)  # fmt: skip
FACE_VIDEO, NO_FACE_VIDEOS = "carphone", ("tree", "cockatoo", "earth", "bikes")
ANIMALS = {"cat": "animals/cat", "dog": "animals/dog", "bird": "animals/bird", "horse": "animals/horse"}
"""COCO classes that photos of the corpus show, by the photos' topic."""
SEEN_AT = 0.4


def cost(evidence: Evidence, encoder: Encoder | None, tagger: Tagger | None) -> float:
    """CPU seconds of one upload, median of some rounds."""
    spent = []
    for _ in range(ROUNDS):
        began = time.process_time()
        seen = evidence
        if encoder is not None:
            encoding = encoder.encode(evidence)
            seen = Evidence(**{**vars(evidence), "encodings": {**evidence.encodings, encoder.name: encoding}})
        if tagger is not None:
            tagger.tag(seen)
        spent.append(time.process_time() - began)
    return statistics.median(spent)


def costs(weights: Path) -> tuple[list[tuple[str, float, int]], dict[str, Any]]:
    """Name, CPU s and frames looked at of each part; and the clip's facts."""
    clip = demo_media.make(demo_media.CACHE, lambda _: None)["bunny-original"]
    device = torch.device("cpu")
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder, DecoderPool(1, Limits()) as pool:
        evidence = evidence_of(pool.decode(clip, Path(folder)))
        objects, faces = ObjectsEncoder(weights, device=device), FacesEncoder(weights, device=device)
        counted = {encoder.name: encoder.encode(evidence) for encoder in (objects, faces)}
        people = Evidence(**{**vars(evidence), "encodings": counted})
        parts: list[tuple[str, Evidence, Encoder | None, Tagger | None]] = [
            ("topics' picture network, for comparison", evidence, PictureEncoder(weights, device=device), None),
            ("objects", evidence, objects, None),
            ("faces", evidence, faces, None),
            ("people (from both)", people, None, PeopleTagger()),
            ("safety", evidence, SafetyEncoder(weights, device=device), SafetyTagger()),
            ("text", evidence, TextEncoder(), TextTagger()),
            ("layout, with bars and insets", evidence, None, LayoutTagger()),
            ("editing", evidence, None, EditingTagger()),
        ]
        rows = []
        for name, seen, encoder, tagger in track(parts, description="costs"):
            rows.append((name, cost(seen, encoder, tagger), len(encoder.encode(seen).times_s) if encoder else 0))
            if encoder is not None:
                encoder.close()
    facts = {"frames": len(evidence.frames), "shots": len(evidence.shots), "duration_s": round(evidence.duration_s, 2)}
    return rows, facts


def _still(picture: np.ndarray[Any, Any]) -> Evidence:
    return Evidence(0.0, picture[None], np.zeros(1), [], np.zeros(0, np.float32), still=True)


def _fitted(picture: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """As the decoder hands frames on: the short side at most 297 px."""
    scale = min(1.0, 297 / min(picture.shape[:2]))
    return np.asarray(cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), np.uint8)


def texts(encoder: TextEncoder) -> tuple[int, int, int]:
    """Lines that were read, of how many; and lines that were read on as many frames without any."""
    rng = np.random.default_rng(14)
    sources = Sources("test")
    found = invented = 0
    for _ in track(range(LINES), description="text"):
        _, frames = sources.video(rng, str(rng.choice(["bikes", "bunny", "pedestrians", "tree", "cockatoo", "earth"])))
        plain = covered(frames[:1], 720, 1280)[0]
        frame, wording = plain.copy(), str(rng.choice(WORDING))
        scale = float(rng.uniform(1.1, 2.4))
        (wide, high), _ = cv2.getTextSize(wording, cv2.FONT_HERSHEY_DUPLEX, scale, 3)
        at = max(10, (720 - wide) // 2), int(rng.uniform(200, 1100))
        if rng.integers(2):
            cv2.rectangle(frame, (at[0] - 16, at[1] - high - 16), (at[0] + wide + 16, at[1] + 16), (255, 255, 255), -1)
            cv2.putText(frame, wording, at, cv2.FONT_HERSHEY_DUPLEX, scale, (20, 20, 20), 3, cv2.LINE_AA)
        else:
            cv2.putText(frame, wording, at, cv2.FONT_HERSHEY_DUPLEX, scale, (0, 0, 0), 9, cv2.LINE_AA)
            cv2.putText(frame, wording, at, cv2.FONT_HERSHEY_DUPLEX, scale, (255, 255, 255), 3, cv2.LINE_AA)
        read = [line.text for line in encoder.encode(_still(_fitted(frame))).lines]
        ratios = [SequenceMatcher(None, _bare(wording), _bare(one), autojunk=False).ratio() for one in read]
        found += max(ratios, default=0.0) >= 0.9
        invented += len(encoder.encode(_still(_fitted(plain))).lines) > 0
    return found, LINES, invented


def _bare(text: str) -> str:
    return "".join(text.casefold().split())


def detections(objects: ObjectsEncoder, faces: FacesEncoder) -> list[tuple[str, int, int]]:
    """What was found of what is known to be there, and of what is not: description, found, of."""
    rows = []
    items = photos().items
    for name, topic in ANIMALS.items():
        mine = [item for item in items if topic in item.accept and item.source == "gcompris-qt-data"]
        hits = [confidences(objects.encode(_still(_fitted(read_photo(item.path)))))[0, INDEX[name]] for item in mine]
        if mine:
            rows.append(
                (f"photos of a {name} in which one is found", int(np.sum(np.array(hits) >= SEEN_AT)), len(mine))
            )
    wild = [item for item in items if item.folder.endswith(("tools", "fishes")) and item.source == "gcompris-qt-data"]
    persons = [confidences(objects.encode(_still(_fitted(read_photo(item.path)))))[0, 0] >= SEEN_AT for item in wild]
    rows.append(("photos of tools and fishes in which a person is found", int(sum(persons)), len(wild)))
    sources, rng = Sources("test"), np.random.default_rng(3)

    def with_face(name: str) -> list[bool]:
        _, frames = sources.video(rng, name)
        return [bool(faces.encode(_still(_fitted(frame))).embeddings[0, 1] > 0) for frame in frames[::8]]

    seen = with_face(FACE_VIDEO)
    rows.append(("frames of a person who talks in which a face is found", int(sum(seen)), len(seen)))
    none = [found for name in NO_FACE_VIDEOS for found in with_face(name)]
    rows.append(("frames without a face in which one is found", int(sum(none)), len(none)))
    stills = [faces.encode(_still(_fitted(read_photo(item.path)))).embeddings[0, 1] > 0 for item in wild]
    rows.append(("photos of tools and fishes in which a face is found", int(sum(stills)), len(stills)))
    return rows


def safe(encoder: SafetyEncoder) -> tuple[float, float]:
    """Share of ordinary photos that score 0.5 and more, and the highest score."""
    items = [item for item in photos().items if item.source == "gcompris-qt-data"]
    scores = [float(encoder.encode(_still(_fitted(read_photo(item.path)))).scores[0, 0]) for item in items]
    return float(np.mean(np.array(scores) >= 0.5)), max(scores)


def _closed(encoder: Encoder, ask: Callable[[], Any]) -> Any:
    try:
        return ask()
    finally:
        encoder.close()


def main() -> int:
    """Measure, write the page, and with `--check` judge."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="exit 1 if a bar is missed")
    options = parser.parse_args()
    weights, device = ModelSettings().weights.expanduser(), torch.device("cpu")
    rows, facts = costs(weights)
    reader = TextEncoder()
    read, lines, invented = _closed(reader, lambda: texts(reader))
    objects, faces = ObjectsEncoder(weights, device=device), FacesEncoder(weights, device=device)
    found = _closed(faces, lambda: _closed(objects, lambda: detections(objects, faces)))
    judge = SafetyEncoder(weights, device=device)
    unsafe, highest = _closed(judge, lambda: safe(judge))
    bars = [
        Bar("lines of text laid over real frames that are read", read / lines, 0.9, note=f"{lines}"),
        Bar("frames without text in which some is read", invented / lines, 0.1, "<=", note=f"{lines}"),
        Bar("ordinary photos that are called unsafe", unsafe, 0.01, "<="),
    ]
    body = (
        "## What each costs\n\n"
        + table(("part", "CPU s an upload", "frames looked at"), [(a, b, c or None) for a, b, c in rows])
        + f"\nA clip of {facts['duration_s']} s at 720p: {facts['frames']} frames sampled, {facts['shots']} shots. "
        f"Median of {ROUNDS}.\n\n## What is found\n\n"
        + table(("what", "found", "of"), found)
        + f"\nThe highest score of an ordinary photo for not safe for work is {highest:.2f}; how many unsafe pictures "
        f"are found was not measured. Text is read in frames whose short side is 297 px: small print is not.\n"
    )
    data = {"costs": [list(row) for row in rows], "clip": facts, "found": [list(row) for row in found], "nsfw": highest}
    write(
        "seeing",
        title="What the picture's taggers cost and find",
        command="python -m benchmarks.seeing --check",
        bars=bars,
        data=data,
        body=body,
    )
    return check(bars) if options.check else 0


if __name__ == "__main__":
    assert FACE_VIDEO in VIDEOS
    sys.exit(main())
