"""Broken and hostile files through a running farm: each must end in a typed outcome, and harm nobody.

    python -m benchmarks.broken            # 300 files; writes benchmarks/results/broken.{json,md}
    python -m benchmarks.broken --check    # the same, and exit 1 if a bar is missed

Files are made from seeded mutations of small real ones in every container: truncations, bit flips, zeroed stretches,
splices, wrong extensions, and headers that declare far more than there is. A few are no media at all.
"""

from __future__ import annotations

import argparse
import collections
import io
import sys
import tempfile
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, get_args

import av
import numpy as np
import psutil
from celery import Celery
from rich.progress import Progress

from benchmarks.report import Bar, check, table, write
from scripts import clips
from store.store import Store
from tasks.contract import Outcome
from workers.embedded import EmbeddedFarm

COUNT = 300
SEED = 20261124
PATIENCE_S = 900.0
Random = np.random.Generator
WILD = (b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\x00\x00\x00\x00")


def bases() -> dict[str, bytes]:
    """Small sound files of every kind, by extension."""
    random = np.random.default_rng(SEED)
    pictures = [random.integers(0, 255, (72, 96, 3), dtype=np.uint8) for _ in range(12)]
    heard = (0.3 * np.sin(np.linspace(0, 2000, clips.SOUND_RATE)) * np.ones((2, 1))).astype(np.float32)
    kinds: dict[str, tuple[str | None, str | None]] = {
        "mp4": ("libx264", "aac"),
        "mov": ("mpeg4", "aac"),
        "mkv": ("libx265", "aac"),
        "webm": ("libvpx-vp9", "libopus"),
        "avi": ("mpeg4", "mp3"),
        "ts": ("mpeg2video", "mp2"),
        "m4a": (None, "aac"),
        "mp3": (None, "mp3"),
        "wav": (None, "pcm_s16le"),
        "flac": (None, "flac"),
    }
    files: dict[str, bytes] = {}
    with tempfile.TemporaryDirectory() as folder:
        for suffix, (video, audio) in kinds.items():
            path = Path(folder) / f"base.{suffix}"
            sound = heard if suffix != "webm" else heard[:, : clips.SOUND_RATE // 2]
            clips.write(
                path,
                pictures if video else None,
                sound if audio not in (None, "libopus") else None,
                fps=12,
                video_codec=video or "libx264",
                audio_codec=audio or "aac",
            )
            files[suffix] = path.read_bytes()
    for suffix, codec, pixels in (("png", "png", "rgb24"), ("jpg", "mjpeg", "yuvj420p"), ("gif", "gif", "rgb8")):
        files[suffix] = still(pictures[0], codec, pixels)
    return files


def still(picture: clips.Frame, codec: str, pixels: str) -> bytes:
    """A picture's file."""
    buffer = io.BytesIO()
    container = "gif" if codec == "gif" else "image2pipe"
    with av.open(buffer, "w", format=container) as output:
        stream: Any = output.add_stream(codec, rate=1)
        stream.height, stream.width = picture.shape[:2]
        stream.pix_fmt = pixels
        output.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        output.mux(stream.encode(None))
    return buffer.getvalue()


def truncated(data: bytes, random: Random) -> bytes:
    """The end is missing."""
    return data[: int(random.integers(1, len(data)))]


def flipped(data: bytes, random: Random) -> bytes:
    """Single bits are wrong."""
    array = np.frombuffer(data, np.uint8).copy()
    places = random.integers(0, len(array), int(random.integers(1, 64)))
    array[places] ^= (1 << random.integers(0, 8, len(places))).astype(np.uint8)
    return array.tobytes()


def zeroed(data: bytes, random: Random) -> bytes:
    """A stretch is lost."""
    start = int(random.integers(0, len(data)))
    length = int(random.integers(1, max(2, len(data) // 4)))
    return data[:start] + bytes(min(length, len(data) - start)) + data[start + length :]


def shuffled(data: bytes, random: Random) -> bytes:
    """Two stretches have changed places."""
    a, b = sorted(int(at) for at in random.integers(0, len(data), 2))
    return data[b:] + data[a:b] + data[:a]


def header_noise(data: bytes, random: Random) -> bytes:
    """Numbers near the start are wild: sizes, counts, durations."""
    array = np.frombuffer(data, np.uint8).copy()
    for _ in range(int(random.integers(1, 6))):
        at = int(random.integers(4, max(5, min(len(array), 600) - 4)))
        array[at : at + 4] = np.frombuffer(WILD[int(random.integers(len(WILD)))], np.uint8)
    return array.tobytes()


MUTATIONS: dict[str, Callable[[bytes, Random], bytes]] = {
    "truncated": truncated,
    "bits flipped": flipped,
    "stretch zeroed": zeroed,
    "stretches swapped": shuffled,
    "wild header": header_noise,
}


def png_bomb(width: int, height: int) -> bytes:
    """A PNG that declares, and would unpack to, far more than its bytes."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return len(body).to_bytes(4, "big") + kind + body + zlib.crc32(kind + body).to_bytes(4, "big")

    header = width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes([8, 2, 0, 0, 0])
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(bytes(20_000_000), 9))
        + chunk(b"IEND", b"")
    )


def declared(data: bytes, find: bytes, offset: int, value: bytes) -> bytes:
    """A file whose field, `offset` bytes after `find`, is something else."""
    at = data.index(find) + offset
    return data[:at] + value + data[at + len(value) :]


def hostile(files: dict[str, bytes]) -> Iterator[tuple[str, str, bytes]]:
    """Kind, extension and bytes of what no mutation makes."""
    zipped = io.BytesIO()
    with zipfile.ZipFile(zipped, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(zipfile.ZipInfo("clip.mp4"), bytes(5_000_000), zipfile.ZIP_DEFLATED)
    yield "declared size", "png", png_bomb(60_000, 60_000)
    yield "declared size", "png", png_bomb(30_000, 30_000)
    yield "declared size", "gif", declared(files["gif"], b"GIF89a", 6, b"\xff\xff\xff\xff")
    yield "declared size", "jpg", declared(files["jpg"], b"\xff\xc0", 5, b"\xff\xf0\xff\xf0")
    yield "declared size", "mp4", declared(files["mp4"], b"avc1", 28, b"\xff\xff\xff\xff")
    yield "declared duration", "mp4", declared(files["mp4"], b"mvhd", 20, b"\xff\xff\xff\xff")
    yield "declared size", "wav", declared(files["wav"], b"RIFF", 4, b"\xff\xff\xff\xff")
    yield "no media", "mp4", b""
    yield "no media", "mp4", b"\x00"
    yield "no media", "mp4", b"just a text\n" * 40
    yield "no media", "mp4", zipped.getvalue()
    yield "no media", "mp4", b"<html><script>alert(1)</script></html>"
    yield "no media", "mp4", b"\x7fELF" + bytes(4000)
    yield "playlist", "mp4", b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n"
    yield "playlist", "m3u8", b"#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1:1/x.ts\n"
    yield "playlist", "txt", b"ffconcat version 1.0\nfile /etc/passwd\n"
    yield "playlist", "sdp", b"v=0\nc=IN IP4 127.0.0.1\nm=video 5000 RTP/AVP 96\n"


def generate(folder: Path, count: int = COUNT, seed: int = SEED) -> list[tuple[str, Path]]:
    """`count` files and what was done to each. The same seed gives the same files."""
    random = np.random.default_rng(seed)
    files = bases()
    folder.mkdir(parents=True, exist_ok=True)
    made: list[tuple[str, Path]] = []

    def put(kind: str, suffix: str, data: bytes) -> None:
        path = folder / f"{len(made):04d}.{suffix}"
        path.write_bytes(data)
        made.append((kind, path))

    for kind, suffix, data in hostile(files):
        put(kind, suffix, data)
    suffixes = sorted(files)
    while len(made) < count:
        suffix = str(random.choice(suffixes))
        if random.random() < 0.1:
            put("wrong extension", str(random.choice(suffixes)), files[suffix])
            continue
        mutation = str(random.choice(sorted(MUTATIONS)))
        put(mutation, suffix, MUTATIONS[mutation](files[suffix], random))
    return made[:count]


def run(count: int, home: Path) -> dict[str, Any]:
    """Send the files through a farm of one node; outcomes, deaths and what was left."""
    made = generate(home / "files", count)
    sound = home / "files" / "sound.mp4"
    sound.write_bytes(bases()["mp4"])
    with (home / "node.log").open("wb") as log, EmbeddedFarm(home, [home / "files"], log=log) as farm:
        store = Store.open(f"sqlite:///{home / 'tagfarm.db'}")
        sender = Celery(broker=farm.broker_url)
        for number, (_, path) in enumerate([*made, ("sound", sound)]):
            upload = {"upload_id": f"b{number:04d}", "media": path.as_uri()}
            sender.send_task("tagfarm.tag_upload", kwargs={"upload": upload}, queue="uploads")
        deadline = time.monotonic() + PATIENCE_S
        with Progress() as bars:
            row = bars.add_task("tagging", total=count + 1)
            while (done := store.feed_head()) <= count and time.monotonic() < deadline:
                bars.update(row, completed=done)
                time.sleep(0.5)
        node = farm.nodes[0]
        deaths = int(node.poll() is not None)
        threads = psutil.Process(node.pid).num_threads() if not deaths else 0
        scratch = [path for path in (home / "scratch").rglob("*") if path.is_file() and path.name != "lock"]
        documents = [store.document(f"b{number:04d}") for number in range(count + 1)]
        store.close()
        sender.close()
    outcomes: dict[str, collections.Counter[str]] = collections.defaultdict(collections.Counter)
    for (kind, _), document in zip(made, documents, strict=False):
        outcomes[kind][document["outcome"] if document else "no document"] += 1
    after = documents[-1]
    return {
        "files": count,
        "documents": sum(document is not None for document in documents[:-1]),
        "typed": sum(document is not None and document["outcome"] in get_args(Outcome) for document in documents[:-1]),
        "node_deaths": deaths,
        "threads_at_end": threads,
        "left_in_scratch": len(scratch),
        "sound_file_after": after["outcome"] if after else "no document",
        "outcomes": {kind: dict(sorted(counted.items())) for kind, counted in sorted(outcomes.items())},
        "log_errors": (home / "node.log").read_text(errors="replace").count("Traceback"),
    }


def main() -> int:
    """Run, write the page, and with `--check` judge."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="exit 1 if a bar is missed")
    parser.add_argument("--count", type=int, default=COUNT)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="tagfarm-broken-") as home:
        result = run(options.count, Path(home))
    bars = [
        Bar("broken files that end in a typed outcome", result["typed"], options.count),
        Bar("node processes that died", result["node_deaths"], 0, "<="),
        Bar("files left in scratch", result["left_in_scratch"], 0, "<="),
        Bar("tracebacks in the node's log", result["log_errors"], 0, "<="),
        Bar("a sound file sent last is tagged", float(result["sound_file_after"] == "ok"), 1),
    ]
    names = [name for name in get_args(Outcome) if any(name in row for row in result["outcomes"].values())]
    rows = [
        (kind, sum(counted.values()), *(counted.get(name, 0) for name in names))
        for kind, counted in result["outcomes"].items()
    ]
    page = write(
        "broken",
        title="Broken files through a running farm",
        command="python -m benchmarks.broken",
        bars=bars,
        data=result,
        body=table(("what was done", "files", *names), rows),
    )
    sys.stderr.write(f"wrote {page.name}\n")
    return check(bars) if options.check else 0


if __name__ == "__main__":
    sys.exit(main())
