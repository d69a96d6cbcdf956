"""CPU time of one upload through everything, against what FFmpeg takes merely to decode it.

    python -m benchmarks.pipeline            # measure, write benchmarks/results/pipeline.{json,md}
    python -m benchmarks.pipeline --check    # the same, and exit 1 if a bar is missed

The clip is 15 s of Big Buck Bunny, 720p with sound. The farm's parts are built once, as in a node, and one upload goes
through before counting. Then, in turn, FFmpeg decodes the clip (`ffmpeg -i clip -f null -`, a process of its own) and
the pipeline tags it: CPU time of this process and of its decoder processes, fetch to match. The networks' own forward
time is what their batchers counted.
"""

from __future__ import annotations

import argparse
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psutil
from rich.progress import track

from benchmarks.report import Bar, check, table, write
from scripts import demo_media
from tasks.contract import TagUpload
from tasks.pipeline import Parts, analyse
from tasks.sound_library import SoundLibrary
from workers.build import build_parts
from workers.scratch import NodeScratch
from workers.settings import Settings

ROUNDS = 7
MAX_RATIO = 3.0
"""CPU time beside the networks, in decodes."""


@dataclass(frozen=True)
class Round:
    """CPU seconds of one round."""

    ffmpeg: float
    node: float
    """This process, the networks' forward passes among it"""
    decoder: float
    forward: float

    @property
    def ratio(self) -> float:
        """All but the networks, in decodes."""
        return (self.node + self.decoder - self.forward) / self.ffmpeg


def ffmpeg() -> str:
    """FFmpeg's program: the system's, or the one that imageio-ffmpeg brings."""
    found = shutil.which("ffmpeg")
    if found:
        return found
    from imageio_ffmpeg import get_ffmpeg_exe

    return str(get_ffmpeg_exe())


def measure(clip: Path, rounds: int, without: Collection[str] = ()) -> tuple[list[Round], dict[str, Any]]:
    """Rounds, and the last document. `without`: encoders that are left out, with the taggers that need them."""
    with tempfile.TemporaryDirectory() as home:
        settings = Settings(home=Path(home), _env_file=None)  # type: ignore[call-arg]
        settings.media.roots = [clip.parent]
        settings.media.decoders = 1
        scratch = NodeScratch(settings.scratch)
        parts = leave_out(build_parts(settings, scratch.path), without)
        library = SoundLibrary(settings.index)
        upload = TagUpload(upload_id="clip", media=clip.as_uri())
        try:
            _tag(upload, parts, library)
            measured = []
            document: dict[str, Any] = {}
            for _ in track(range(rounds), "measuring"):
                decode = _children_of(lambda: _ffmpeg(clip))
                before = _now(parts)
                document = _tag(upload, parts, library)
                after = _now(parts)
                node, decoder, forward = (end - start for start, end in zip(before, after, strict=True))
                measured.append(Round(decode, node, decoder, forward))
        finally:
            parts.close()
    return measured, document


def leave_out(parts: Parts, names: Collection[str]) -> Parts:
    """The parts without some encoders and without the taggers that need them."""
    for name in names:
        parts.encoders[name].close()
    encoders = {name: encoder for name, encoder in parts.encoders.items() if name not in names}
    return replace(parts, encoders=encoders, taggers=[one for one in parts.taggers if not set(one.encoders) & {*names}])


def _tag(upload: TagUpload, parts: Parts, library: SoundLibrary) -> dict[str, Any]:
    analysis = analyse(upload, parts)
    if analysis.fingerprint is not None:
        library.match(analysis.fingerprint)
    if analysis.document.outcome != "ok":
        raise SystemExit(f"the clip was not tagged: {analysis.document.reason}")
    return analysis.document.to_json()


def _now(parts: Parts) -> tuple[float, float, float]:
    """CPU seconds so far: this process, its decoders, the networks' forward passes."""
    own = psutil.Process()
    times = own.cpu_times()
    children = 0.0
    for child in own.children(recursive=True):
        spent = child.cpu_times()
        # Each upload is decoded in a process of its own, which has ended by now: its parent has its times.
        children += spent.user + spent.system + spent.children_user + spent.children_system
    batchers = (getattr(encoder, "batcher", None) for encoder in parts.encoders.values())
    forward = sum(batcher.stats().forward_cpu_s for batcher in batchers if batcher is not None)
    return times.user + times.system, children, forward


def _ffmpeg(clip: Path) -> None:
    command = [ffmpeg(), "-v", "error", "-nostdin", "-i", str(clip), "-f", "null", "-"]
    subprocess.run(command, check=True, capture_output=True)


def _children_of(call: Any) -> float:
    """CPU seconds of the processes that `call` runs to their end."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    call()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def main() -> int:
    """Measure, write the page, and with `--check` judge."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="exit 1 if a bar is missed")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    options = parser.parse_args()
    clip = demo_media.make(demo_media.CACHE, lambda _: None)["bunny-original"]
    rounds, document = measure(clip, options.rounds)

    def median(name: str) -> float:
        return statistics.median(getattr(one, name) for one in rounds)

    bars = [
        Bar(
            "CPU time of an upload beside the networks' forward passes, in FFmpeg decodes of it",
            round(median("ratio"), 3),
            MAX_RATIO,
            "<=",
            "x",
            "15 s, 720p, with sound",
        )
    ]
    rows = [
        ("FFmpeg decodes the clip", median("ffmpeg"), 1.0),
        (
            "decoder process: decode, shots, frames, measures, fingerprint",
            median("decoder"),
            median("decoder") / median("ffmpeg"),
        ),
        (
            "node: batches, heads, matching",
            median("node") - median("forward"),
            (median("node") - median("forward")) / median("ffmpeg"),
        ),
        ("networks' forward passes", median("forward"), median("forward") / median("ffmpeg")),
    ]
    seen = document["coverage"]
    body = (
        table(("part", "CPU s, median", "decodes"), rows)
        + f"\nMedian of {len(rounds)} rounds, FFmpeg and the pipeline in turn; ratios by round: "
        + ", ".join(f"{one.ratio:.2f}" for one in rounds)
        + f".\nThe clip: {seen['frames_decoded']} frames decoded and seen, {seen['frames_embedded']} of them by the "
        f"picture network, {seen['audio_s']:.1f} s of sound, {seen['shots']} shots.\n"
    )
    data = {"rounds": [vars(one) for one in rounds], "coverage": seen}
    page = write(
        "pipeline",
        title="What an upload costs",
        command="python -m benchmarks.pipeline",
        bars=bars,
        data=data,
        body=body,
    )
    sys.stderr.write(f"wrote {page.name}\n")
    return check(bars) if options.check else 0


if __name__ == "__main__":
    sys.exit(main())
