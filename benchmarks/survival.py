"""What is broken on purpose, part by part, and the bars of each: see `benchmarks.survives`."""

from __future__ import annotations

import argparse
import collections
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from rich.progress import Progress

from benchmarks import chaos, fuzz, planted
from benchmarks.mutations import SEED as SEED_OF_FILES
from benchmarks.report import Bar
from benchmarks.survival_media import frames, peak_of, small_clips, sound
from media.pool import DecoderPool
from media.types import Limits
from scripts import clips
from store.store import Store
from tasks.enqueue import Sender
from workers.build import OBSERVERS
from workers.embedded import EmbeddedFarm

ROOT = Path(__file__).parents[1]
GUARD_TESTS = (
    "tests/media/test_fetch.py",
    "tests/media/test_sandbox.py",
    "tests/media/test_seccomp.py",
    "tests/media/test_pool.py",
    "tests/workers/test_safety.py",
)
PATIENCE_S = 6 * 3600.0
WARM_SHARE = 0.2
"""Of a soak's uploads, before the node counts as warm."""


@dataclass(frozen=True)
class Sizes:
    """How much is done."""

    uploads: int
    kills: int
    cut_uploads: int
    cut_s: float
    good: int
    fuzz_files: int
    long_s: float
    soak: int


SMALL = Sizes(uploads=60, kills=10, cut_uploads=40, cut_s=10.0, good=20, fuzz_files=1500, long_s=1800.0, soak=400)
FULL = Sizes(
    uploads=500, kills=40, cut_uploads=200, cut_s=30.0, good=100, fuzz_files=20_000, long_s=10_800.0, soak=5000
)
Found = tuple[list[Bar], dict[str, Any]]


def part_kills(sizes: Sizes, options: argparse.Namespace) -> Found:
    """Parts are killed at random moments."""
    found = chaos.kills(options.broker, sizes.uploads, sizes.kills, options.seed)
    what = f"{sizes.kills} kills on {options.broker}"
    met = Bar(f"{what}: that met uploads in hand", found["kills_with_uploads_in_hand"], sizes.kills)
    return [*_whole(what, found), met], found


def part_cut(sizes: Sizes, options: argparse.Namespace) -> Found:
    """The network drops everything for a while."""
    found = chaos.cut_off(options.broker, sizes.cut_uploads, sizes.cut_s)
    return _whole(f"lines cut for {sizes.cut_s:g} s, three times, on {options.broker}", found), found


def _whole(what: str, found: dict[str, Any]) -> list[Bar]:
    return [
        Bar(f"{what}: documents", found["ok"], found["uploads"]),
        Bar(f"{what}: uploads lost", found["lost"], 0, "<="),
        Bar(f"{what}: uploads doubled", found["doubled"], 0, "<="),
        Bar(f"{what}: the feed is complete and in order", float(found["feed_in_order"]), 1),
    ]


def part_mine(sizes: Sizes, options: argparse.Namespace) -> Found:
    """A file ends its decoder every time, among good ones."""
    most = 4
    with tempfile.TemporaryDirectory(prefix="tagfarm-mine-") as folder:
        home = Path(folder)
        files = home / "files"
        files.mkdir()
        mine = clips.write(files / "mine.mp4", planted.mine_pictures(), None, fps=12)
        good = small_clips(files, sizes.good)
        with (home / "log").open("wb") as log, chaos.planted_farm(home, log, most) as farm:
            store, sender = Store.open(f"sqlite:///{home / 'tagfarm.db'}"), Sender(farm.broker_url)
            for number, path in enumerate(good):
                if number == len(good) // 2:
                    sender.send({"upload_id": "mine", "media": mine.as_uri()})
                sender.send({"upload_id": f"g{number}", "media": path.as_uri()})
            _until(lambda: store.feed_head() > len(good))
            document = store.document("mine") or {}
            done = sum((store.document(f"g{number}") or {}).get("outcome") == "ok" for number in range(len(good)))
            extra = sum((store.document(f"g{number}") or {}).get("attempts", 0) - 1 for number in range(len(good)))
            deaths = sum(node.poll() is not None for node in farm.nodes)
            store.close()
            sender.close()
        decodes = (home / "log").read_text(errors="replace").count("ended its decoder")
    found = {"good": len(good), "done": done, "decodes_of_the_mine": decodes, "outcome": document.get("outcome")}
    return [
        Bar("a file that ends its decoder: quarantined", float(document.get("outcome") == "quarantined"), 1),
        Bar("a file that ends its decoder: its decodes", decodes, most, "<="),
        Bar("a file that ends its decoder: good ones done", done, len(good)),
        Bar("a file that ends its decoder: extra attempts of others", extra, 0, "<="),
        Bar("a file that ends its decoder: nodes that died", deaths, 0, "<="),
    ], found


def part_fuzz(sizes: Sizes, options: argparse.Namespace) -> Found:
    """Mutated files."""
    found = fuzz.run(0.0, sizes.fuzz_files, SEED_OF_FILES, options.keep)
    bars = [
        Bar(f"{found['files']} mutated files: {bar.name}", bar.value, bar.bar, bar.sense) for bar in fuzz.bars_of(found)
    ]
    return bars, {key: found[key] for key in found if key != "kinds"}


def part_long(sizes: Sizes, options: argparse.Namespace) -> Found:
    """A long video takes no more memory than a short one."""
    with tempfile.TemporaryDirectory(prefix="tagfarm-long-") as folder:
        home = Path(folder)
        peaks = {}
        # Past 600 s of sound and 96 sampled frames nothing more is kept; a minute has neither, so the caps are lowered.
        limits = Limits(deadline_s=3600.0, max_audio_s=30.0, max_sampled=32)
        for name, seconds in (("short", 60.0), ("long", sizes.long_s)):
            path = clips.write(home / f"{name}.mp4", frames(seconds), sound(seconds), fps=12)
            with DecoderPool(1, limits, OBSERVERS, home) as pool:
                pool.decode(home / "short.mp4")  # what is loaded once belongs to the warm process
                peaks[name] = peak_of(partial(pool.decode, path))
    ratio = peaks["long"][0] / peaks["short"][0]
    found = {
        "long_s": sizes.long_s,
        "short_s": 60.0,
        "peak_mib": {name: peak >> 20 for name, (peak, _) in peaks.items()},
        "of_it_not_shared_mib": {name: alone >> 20 for name, (_, alone) in peaks.items()},
    }
    return [
        Bar(f"peak resident memory of a decode, {sizes.long_s:.0f} s of video against 60 s", round(ratio, 3), 1.2, "<=")
    ], found


def part_soak(sizes: Sizes, options: argparse.Namespace) -> Found:
    """Many uploads through one node: its memory stays."""
    with tempfile.TemporaryDirectory(prefix="tagfarm-soak-") as folder:
        home = Path(folder)
        files = home / "files"
        files.mkdir()
        paths = small_clips(files, 1)
        with (home / "log").open("wb") as log, EmbeddedFarm(home, [files], 1, log=log) as farm:
            store, sender = Store.open(f"sqlite:///{home / 'tagfarm.db'}"), Sender(farm.broker_url)
            for number in range(sizes.soak):
                sender.send({"upload_id": f"s{number}", "media": paths[0].as_uri(), "caption": str(number)})
            node = psutil.Process(farm.nodes[0].pid)
            samples: list[tuple[int, int]] = []
            with Progress() as bars:
                row = bars.add_task("soak", total=sizes.soak)
                while (head := store.feed_head()) < sizes.soak:
                    samples.append((head, node.memory_info().rss))
                    bars.update(row, completed=head)
                    time.sleep(1.0)
            samples.append((sizes.soak, node.memory_info().rss))
            ok = store.counts().get("ok", 0)
            store.close()
            sender.close()
    warm = [rss for head, rss in samples if head >= WARM_SHARE * sizes.soak]
    growth = float(np.median(warm[-10:]) / np.median(warm[:10]))
    found = {"uploads": sizes.soak, "ok": ok, "warm_mib": warm[0] >> 20, "end_mib": warm[-1] >> 20}
    return [
        Bar(f"{sizes.soak} uploads through one node: done", ok, sizes.soak),
        Bar(f"{sizes.soak} uploads through one node: memory at the end against warm", round(growth, 3), 1.05, "<="),
    ], found


def part_guards(sizes: Sizes, options: argparse.Namespace) -> Found:
    """Every way in or out that is guarded, tried by the tests."""
    command = [sys.executable, "-m", "pytest", "-q", "-m", "slow or not slow", *GUARD_TESTS]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    counts = {word: int(number) for number, word in re.findall(r"(\d+) (passed|failed|skipped|error)", done.stdout)}
    failed = counts.get("failed", 0) + counts.get("error", 0)
    return [
        Bar("escapes and forged requests that were let through", failed if counts else None, 0, "<="),
        Bar("escapes and forged requests that were tried", counts.get("passed", 0) + failed, 150),
    ], counts


def part_upgrade(sizes: Sizes, options: argparse.Namespace) -> Found:
    """An old node and a new one serve one queue; messages of both kinds."""
    if options.old is None:
        return [], {"skipped": "no --old COMMIT"}
    count = max(20, sizes.cut_uploads // 2)
    with tempfile.TemporaryDirectory(prefix="tagfarm-upgrade-") as folder:
        home, old = Path(folder) / "home", Path(folder) / "old"
        files = home / "files"
        files.mkdir(parents=True)
        old.mkdir()
        archive = subprocess.run(["git", "archive", options.old], cwd=ROOT, capture_output=True, check=True)
        subprocess.run(["tar", "-x", "-C", str(old)], input=archive.stdout, check=True)
        paths = small_clips(files, count)
        environment = {"TAGFARM_WORKER__LEASE_S": "6"}
        with (home / "log").open("wb") as log, EmbeddedFarm(home, [files], 0, environment, log) as farm:
            code = ["-m", "scripts.cli", "worker", "--name", "old"]
            env = {**farm.environment, "PYTHONPATH": str(old)}
            former = subprocess.Popen(
                [sys.executable, *code], env=env, cwd=old, stdout=log, stderr=log, start_new_session=True
            )
            try:
                _until(lambda: (home / "tagfarm.db").exists() and "ready" in (home / "log").read_text(errors="replace"))
                sender = Sender(farm.broker_url)
                for number, path in enumerate(paths):
                    upload = {"upload_id": f"u{number}", "media": path.as_uri(), "a_newer_field": number}
                    if number % 2:  # as plain Celery sends it
                        sender._app.send_task("tagfarm.tag_upload", kwargs={"upload": upload}, queue="uploads")
                    else:
                        sender.send(upload)
                    if number == count // 3:
                        farm.start_node()
                store = Store.open(f"sqlite:///{home / 'tagfarm.db'}")
                _until(lambda: store.feed_head() > count // 3)
                former.send_signal(signal.SIGTERM)
                _until(lambda: store.feed_head() >= count, 600.0)
                events = collections.Counter(event.upload_id for event in store.feed(0, 10 * count))
                owners = _owners(home / "tagfarm.db")
                store.close()
                sender.close()
            finally:
                if former.poll() is None:
                    os.killpg(former.pid, signal.SIGKILL)
                former.wait()
    found = {"uploads": count, "documents": len(events), "by_node": owners, "old": options.old}
    return [
        Bar("rolling upgrade: documents", len(events), count),
        Bar("rolling upgrade: uploads doubled", sum(many > 1 for many in events.values()), 0, "<="),
    ], found


def _owners(database: Path) -> dict[str, int]:
    import sqlite3

    with sqlite3.connect(database) as connection:
        rows = connection.execute("SELECT owner, count(*) FROM attempts WHERE ending = 'committed' GROUP BY owner")
        return {f"node {number}": many for number, (_, many) in enumerate(rows.fetchall())}


def _until(condition: Callable[[], bool], patience_s: float = PATIENCE_S) -> None:
    deadline = time.monotonic() + patience_s
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.3)


PARTS: dict[str, Callable[[Sizes, argparse.Namespace], Found]] = {
    "kills": part_kills,
    "cut": part_cut,
    "mine": part_mine,
    "fuzz": part_fuzz,
    "long": part_long,
    "soak": part_soak,
    "guards": part_guards,
    "upgrade": part_upgrade,
}
