"""Re-tagging an archive: how fast heads run again on kept embeddings, beside what a full re-tag costs.

    python -m benchmarks.retag            # measure, write benchmarks/results/retag.{json,md}
    python -m benchmarks.retag --check    # the same, and exit 1 if a bar is missed

Real clips go through the farm's own pipeline once; their documents and what is kept of them make an archive of 2,000
uploads in a fresh store. Then a new version of the topics head tags it again from what is kept, in a process that is
bound to one core: what counts is that core's time from the run's first upload to its last, reading, heads and
committing with it; the wall's is beside it, and has in it what else runs on the machine. The same run is killed three
times at random moments (SIGKILL) and must end with the same store. The full re-tag is the same clips through the same
store by one node's desk and one decoder on one core, broker apart.
"""

from __future__ import annotations

import argparse
import random
import shutil
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.progress import track

from benchmarks.report import Bar, check, table, write
from benchmarks.retag_archive import (
    UPLOADS,
    clips,
    everything,
    fill,
    full_rate,
    restore,
    run_child,
    settings_of,
)
from models.protocol import optional_encoders
from store.artifacts import ArtifactStore
from store.store import Selection, Store
from tasks.contract import TagUpload
from tasks.kept import FRAMES_ONLY, evidence_of, names_for
from tasks.pipeline import Analysis, Parts, analyse
from tasks.retag import Heads, refusal
from workers.build import build_parts
from workers.scratch import NodeScratch

MIN_RATE = 200.0
"""Uploads a second from embeddings, on one core."""
KILLS = 3
SEED = 11


def same_of_kept(analyses: list[Analysis], requests: list[dict[str, Any]], parts: Parts) -> int:
    """Sections that heads say otherwise of what is kept than of the file."""
    differ = 0
    for analysis, request in zip(analyses, requests, strict=True):
        document = analysis.document.to_json()
        for tagger in parts.taggers:
            if tagger.name in FRAMES_ONLY:
                continue
            welcome = {name: parts.encoders[name] for name in optional_encoders(tagger) if name in parts.encoders}
            names = names_for([*tagger.encoders, *welcome])
            kept = {name: analysis.artifacts[name] for name in names if name in analysis.artifacts}
            encoders = {name: parts.encoders[name] for name in tagger.encoders}
            said = request.get("caption", ""), request.get("hashtags", ())
            evidence = evidence_of(kept, encoders, *said, welcome).evidence
            again = analysis.document.model_validate({**document, tagger.section: tagger.tag(evidence)}).to_json()
            differ += again[tagger.section] != document[tagger.section]
    return differ


def sizes(analyses: list[Analysis]) -> dict[str, float]:
    """What is kept of a minute of upload, kB: rows for heads by part, of those uploads that have any, and the whole."""
    found: dict[str, float] = {}
    minutes: dict[str, float] = {}
    for analysis in analyses:
        mine: dict[str, float] = {}
        for name, array in analysis.artifacts.items():
            part, *rest = name.split("/")
            part = f"{part} of {rest[0]}" if part in ("embeddings", "scores") else part
            mine[part] = mine.get(part, 0.0) + np.asarray(array).nbytes / 1000
        mine["all of it"] = sum(mine.values())
        for part, size in mine.items():
            if size:
                found[part] = found.get(part, 0.0) + size
                minutes[part] = minutes.get(part, 0.0) + float(analysis.document.media.duration_s or 0) / 60
    return {part: size / minutes[part] for part, size in found.items()}


def measure(home: Path) -> dict[str, Any]:
    """Everything that the page says."""
    files = clips()
    settings = settings_of(home, sorted({file.parent for file in files}))
    scratch = NodeScratch(settings.scratch)
    parts = build_parts(settings, scratch.path)
    requests = [{"media": file.as_uri(), "caption": file.stem.replace("-", " ")} for file in files]
    analyses = [
        analyse(TagUpload(upload_id="u", **request), parts) for request in track(requests, "analysing the clips")
    ]
    if bad := [one.document.reason for one in analyses if one.document.outcome != "ok"]:
        raise SystemExit(f"a clip was not tagged: {bad}")
    store = Store.open(f"sqlite:///{home / 'tagfarm.db'}")
    fill(store, ArtifactStore((home / "artifacts").as_uri()), analyses, requests)
    heads = Heads(parts.encoders, parts.taggers)
    target = heads.target("topics")
    newer = replace(target, version="of-a-new-encoder@1", encoders={"picture": "efficientnet-lite2@next"})
    counts = store.retag_counts(Selection(stale=("topics",)), [newer])
    data: dict[str, Any] = {
        "clips": [one.document.media.duration_s for one in analyses],
        "rows": [[row.rows for row in one.encodings] for one in analyses],
        "differ": same_of_kept(analyses, requests, parts),
        "sizes_kb_a_minute": sizes(analyses),
        "stale_told": counts.stale,
        "refusal": refusal(counts, [newer]),
    }
    store.close()
    parts.close()
    scratch.close()
    archive = home / "archive.db"
    shutil.copyfile(home / "tagfarm.db", archive)
    data["from_embeddings"] = run_child(home)
    through = everything(home)
    restore(home, archive)
    draw = random.Random(SEED)
    wall = data["from_embeddings"]["wall_s"]
    data["killed_after_s"] = []
    while len(data["killed_after_s"]) < KILLS:
        moment = draw.uniform(0.0, wall / (KILLS + 1))
        if run_child(home, kill_after_s=moment) is not None:
            raise SystemExit("the run was over before it could be killed")
        data["killed_after_s"].append(moment)
    data["last_part"] = run_child(home)
    after = everything(home)
    data["tables_that_differ"] = sorted(name for name in through if through[name] != after[name])
    restore(home, archive)
    data["every_head"] = run_child(home, every_head=True)
    data["full"] = full_rate(home, files)
    return data


def main() -> int:
    """Measure, write the page, and with `--check` judge."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="exit 1 if a bar is missed")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="tagfarm-retag-") as folder:
        data = measure(Path(folder))
    cheap, every, full = data["from_embeddings"], data["every_head"], data["full"]
    rate = cheap["uploads"] / cheap["cpu_s"]
    seconds = sum(data["clips"]) / len(data["clips"])
    bars = [
        Bar("uploads a second of one core from embeddings", round(rate, 1), MIN_RATE, ">=", "/s", f"{UPLOADS} uploads"),
        Bar("tables that differ after three kills", len(data["tables_that_differ"]), 0, "<="),
        Bar("uploads of an old encoder told apart", data["stale_told"], UPLOADS, ">="),
        Bar("sections that differ between embeddings and file", data["differ"], 0, "<="),
    ]
    ways = [
        (name, one["uploads"] / one["cpu_s"], one["uploads"] / one["wall_s"])
        for name, one in (
            ("topics, from embeddings", cheap),
            ("all five heads that can be, from embeddings", every),
            ("full: fetch, decode, networks, heads, sounds, commit", full),
        )
    ]
    rows = np.array([sum(row) for row in data["rows"]])
    moments = ", ".join(f"{moment:.2f}" for moment in data["killed_after_s"])
    archive = f"{UPLOADS} uploads of {len(data['clips'])} clips, {seconds:.1f} s and {rows.mean():.0f} rows"
    changed = cheap["items"].get("changed", 0)
    body = (
        table(("way, one core", "uploads a second of its time", "of the wall's"), ways)
        + f"\nThe archive: {archive} of three encoders on average. Of the topics' run {changed} documents changed, and "
        f"as many events were written. Killed {moments} s after its first commit, each time gone on with; compared are "
        "all rows of all tables but for times.\n\n"
        + table(("kept of a minute of upload", "kB"), sorted(data["sizes_kb_a_minute"].items()))
        + f"\nWith a new encoder: “{data['refusal']}”\n"
    )
    page = write("retag", title="Re-tagging", command="python -m benchmarks.retag", bars=bars, data=data, body=body)
    sys.stderr.write(f"wrote {page.name}\n")
    return check(bars) if options.check else 0


if __name__ == "__main__":
    sys.exit(main())
