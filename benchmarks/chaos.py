"""A farm whose parts are killed at random moments, or cut off, while it works; and what must be so afterwards."""

from __future__ import annotations

import collections
import json
import os
import random
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
import psutil
from rich.progress import Progress

from benchmarks.rabbit import RabbitNode
from benchmarks.servers import Line, Postgres, Valkey
from scripts import clips
from store.store import Store, StoreUnavailable
from tasks.enqueue import Sender
from workers.embedded import EmbeddedFarm

PATIENCE_S = 3600.0
KILL_EVERY_S = (0.2, 6.0)
LEAST_IN_HAND = 3
"""Uploads at which more are sent, and at which a kill comes at once."""
VICTIMS = ("node", "decoder", "broker", "store", "beat")
ENVIRONMENT = {
    # The shortest that the validator allows for short jobs: what was lost comes back sooner.
    "TAGFARM_WORKER__LEASE_S": "6",
    "TAGFARM_MEDIA__FETCH_DEADLINE_S": "5",
    "TAGFARM_MEDIA__DECODE_DEADLINE_S": "20",
    "TAGFARM_BROKER__VISIBILITY_TIMEOUT_S": "60",
    # Here a node is killed every few seconds: an upload that was there each time is not to blame.
    "TAGFARM_WORKER__MAX_ATTEMPTS": "50",
}


class Chaos:
    """A farm of two nodes and a beat, on a real broker and a real PostgreSQL."""

    def __init__(self, broker: str, home: Path, log: IO[bytes], cut: bool = False) -> None:
        self.home = home
        self.files = home / "files"
        self.files.mkdir(parents=True)
        self.broker: Valkey | RabbitNode = RabbitNode() if broker == "rabbitmq" else Valkey()
        self.broker.start()
        self.database = Postgres()
        self._log = log
        url, store_url = self.broker.url, self.database.url
        self.lines: list[Line] = []
        if cut:
            to_broker, to_store = Line(self.broker.port), Line(self.database.socket)
            self.lines = [to_broker, to_store]
            url = url.replace(f":{self.broker.port}", f":{to_broker.port}")
            store_url = f"postgresql://postgres@127.0.0.1:{to_store.port}/tagfarm"
        self.farm = EmbeddedFarm(
            home, [self.files], 2, {**ENVIRONMENT, "TAGFARM_STORE__URL": store_url}, log, broker=url
        )
        self.store = Store.open(self.database.url)
        self._sender = Sender(self.broker.url)
        self.beat: subprocess.Popen[bytes] | None = None
        self.names: list[str] = []
        """Of the uploads that were sent."""

    def start(self) -> None:
        """Start nodes and beat."""
        self.farm.start()
        self._start_beat()

    def _start_beat(self) -> None:
        command = [sys.executable, "-m", "celery", "-A", "workers.app", "beat", "-s", str(self.home / "beat")]
        self.beat = subprocess.Popen(
            command, env=self.farm.environment, stdout=self._log, stderr=self._log, start_new_session=True
        )

    def send(self, count: int) -> None:
        """Enqueue so many more small uploads, each another file."""
        base = self.files / "base.mp4"
        if not base.exists():
            rng = np.random.default_rng(7)
            pictures = [rng.integers(0, 255, (72, 96, 3), dtype=np.uint8) for _ in range(12)]
            clips.write(base, pictures, None, fps=12)
        for name in (f"u{number:05d}" for number in range(len(self.names), len(self.names) + count)):
            path = Path(shutil.copy(base, self.files / f"{name}.mp4"))
            self._sender.send({"upload_id": name, "media": path.as_uri()})
            self.names.append(name)

    @property
    def in_hand(self) -> int:
        """Uploads that were sent and have no document; as many as were sent where the store does not answer."""
        return len(self.names) - max(0, self.head())

    def kill(self, victim: str, choose: random.Random) -> bool:
        """kill -9 one part, and start it again where nobody else does. False: there was none to kill."""
        if victim == "node":
            place = choose.randrange(len(self.farm.nodes))
            os.kill(self.farm.nodes[place].pid, signal.SIGKILL)
            self.farm.nodes[place].wait()
            self.farm.nodes[place] = self.farm._launch(place + 1)
            return True
        if victim == "decoder":
            return self._kill_decoder(choose)
        if victim == "beat":
            assert self.beat is not None
            self.beat.kill()
            self.beat.wait()
            self._start_beat()
            return True
        server: Any = self.broker if victim == "broker" else self.database
        server.kill()
        time.sleep(1.0)
        server.start()
        return True

    def _kill_decoder(self, choose: random.Random) -> bool:
        for node in self.farm.nodes:
            try:
                family = psutil.Process(node.pid).children(recursive=True)
                decoders = [one for one in family if "spawn_main" in " ".join(one.cmdline())]
                if decoders:
                    choose.choice(decoders).kill()
                    return True
            except psutil.Error:
                continue
        return False

    def head(self) -> int:
        """Documents so far; -1: the store does not answer."""
        try:
            return self.store.feed_head()
        except StoreUnavailable:
            return -1

    def verdict(self) -> dict[str, Any]:
        """What became of the uploads."""
        names = self.names
        events = self.store.feed(0, 10 * len(names) + 100)
        counted = collections.Counter(event.upload_id for event in events)
        documents = {name: self.store.document(name) for name in names}
        return {
            "uploads": len(names),
            "documents": sum(one is not None for one in documents.values()),
            "ok": sum(one is not None and one["outcome"] == "ok" for one in documents.values()),
            "lost": sum(one is None for one in documents.values()),
            "doubled": sum(count > 1 for count in counted.values()),
            "feed_in_order": [event.cursor for event in events] == list(range(1, len(events) + 1)),
            "outcomes": dict(collections.Counter(one["outcome"] if one else "none" for one in documents.values())),
        }

    def close(self) -> None:
        """End all of it."""
        for line in self.lines:
            line.mend()
        if self.beat is not None:
            self.beat.kill()
            self.beat.wait()
        self.farm.stop()
        self._sender.close()
        self.store.close()
        for line in self.lines:
            line.close()
        self.broker.stop()
        self.database.stop()


@contextmanager
def chaos(broker: str, cut: bool = False) -> Iterator[Chaos]:
    """A farm for the taking apart; its log is printed if it goes wrong."""
    with tempfile.TemporaryDirectory(prefix="tagfarm-chaos-") as folder, (Path(folder) / "log").open("wb") as log:
        made = Chaos(broker, Path(folder) / "home", log, cut)
        try:
            made.start()
            yield made
        except BaseException:
            sys.stderr.write((Path(folder) / "log").read_text(errors="replace")[-5000:])
            raise
        finally:
            made.close()


def kills(broker: str, uploads: int, count: int, seed: int) -> dict[str, Any]:
    """`count` kills while `uploads` are worked off. They come in by shares, so that each kill meets some in hand."""
    choose = random.Random(seed)
    done: collections.Counter[str] = collections.Counter()
    in_hand: list[int] = []
    with chaos(broker) as farm:
        farm.send(uploads % count)
        _wait(lambda: farm.head() > 0, "the first document")
        with Progress() as bars:
            row = bars.add_task(f"kills on {broker}", total=count)
            while done.total() < count:
                if farm.in_hand < LEAST_IN_HAND and len(farm.names) < uploads:
                    farm.send(uploads // count)
                moment = time.monotonic() + choose.uniform(*KILL_EVERY_S)
                while time.monotonic() < moment and farm.in_hand >= LEAST_IN_HAND:
                    time.sleep(0.02)
                victim, left = VICTIMS[done.total() % len(VICTIMS)], farm.in_hand
                if not farm.kill(victim, choose):
                    continue
                in_hand.append(left)
                done[victim] += 1
                bars.advance(row)
        farm.send(uploads - len(farm.names))
        return {
            **_settled(farm),
            "kills": dict(done),
            "kills_with_uploads_in_hand": sum(left > 0 for left in in_hand),
            "in_hand_at_a_kill": statistics.median(in_hand),
        }


def cut_off(broker: str, uploads: int, seconds: float) -> dict[str, Any]:
    """The nodes' lines to broker and store are cut for so long, one after the other and both, while they work."""
    in_hand: list[int] = []
    with chaos(broker, cut=True) as farm:
        farm.send(uploads % 3)
        for lines in ([farm.lines[0]], [farm.lines[1]], farm.lines):
            farm.send(uploads // 3)
            waiting = farm.in_hand
            while farm.in_hand >= waiting > 0:
                time.sleep(0.05)
            in_hand.append(farm.in_hand)
            for line in lines:
                line.cut()
            time.sleep(seconds)
            for line in lines:
                line.mend()
        return {**_settled(farm), "cut_s": seconds, "in_hand_at_the_cuts": in_hand}


def _settled(farm: Chaos) -> dict[str, Any]:
    """What became of the uploads when all have their documents, or patience ends."""
    started = time.monotonic()
    _wait(lambda: farm.in_hand <= 0, "all documents", must=False)
    took = time.monotonic() - started
    time.sleep(3.0)  # what comes twice comes late
    return {**farm.verdict(), "settled_after_s": round(took, 1)}


def _wait(condition: Callable[[], bool], what: str, must: bool = True) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        if time.monotonic() > deadline:
            if must:
                raise TimeoutError(what)
            return
        time.sleep(0.3)


def planted_farm(home: Path, log: IO[bytes], max_attempts: int) -> EmbeddedFarm:
    """A farm on its own Valkey whose decoders die of a certain picture."""
    from benchmarks import planted

    environment = {"TAGFARM_WORKER__MAX_ATTEMPTS": str(max_attempts), "TAGFARM_CELERY": json.dumps({})}
    return EmbeddedFarm(home, [home / "files"], 1, environment, log, program=(sys.executable, *planted.PROGRAM))
