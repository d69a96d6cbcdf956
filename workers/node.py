"""One node: what its threads share, and the small threads that keep it honest (leases, sweeper, feed push, gauges)."""

from __future__ import annotations

import logging
import os
import signal
import socket
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

from celery import Celery

from models.serving.device import choose_device
from store.artifacts import ArtifactStore
from store.push import StreamPusher
from store.store import Store, StoreError
from store.webhooks import WebhookFailed, WebhookPusher, key_of
from tasks import runtime
from tasks.enqueue import send
from tasks.gate import Gate
from tasks.job import Desk
from tasks.leases import LeaseKeeper
from tasks.queues import OVERFLOW_QUEUE
from tasks.reconcile import reconcile
from tasks.sound_library import SoundLibrary
from tasks.sweep import SWEEPER, sweep
from workers import metrics
from workers.build import build_parts
from workers.memory import available_bytes, limit_bytes
from workers.scratch import NodeScratch
from workers.settings import Settings
from workers.versions import VersionKeeper, open_registry
from workers.vitals import Vitals
from workers.watchdog import Watchdog

log = logging.getLogger(__name__)

SWEEP_S = 5.0
RECONCILE_S = 5.0
PUSH_S = 0.2
VITALS_S = 10.0
WEBHOOK = "webhook"
WEBHOOK_TIMEOUT_S = 15.0
"""Longest that a webhook's receiver may take for one event, s."""
HELPER_CONNECTIONS = 6
"""Connections to the store beside those of the uploads in flight: leases, sweeper, pusher, a sync in a commit."""
LONGEST_JOBS = 4.0
"""An attempt is no longer kept alive after so many of the longest job's time: it hangs, and another node shall try."""

_node: Node | None = None


class Node:
    """Everything of this process. Built once, before the first message is taken."""

    def __init__(self, settings: Settings, app: Celery) -> None:
        self._settings = settings
        self._app = app
        if settings.feed.webhook_secret is not None:
            key_of(settings.feed.webhook_secret.get_secret_value())  # refused now rather than at the first event
        settings.home.mkdir(parents=True, exist_ok=True)
        self.scratch = NodeScratch(settings.scratch)
        self.store = Store.open(settings.store_url, connections=settings.worker.concurrency + HELPER_CONNECTIONS)
        self.parts = build_parts(settings, self.scratch.path)
        self.versions = VersionKeeper(
            open_registry(settings), self.store.aliases, self.parts.lineup, self.parts.encoders
        )
        self.versions.follow()
        self.leases = LeaseKeeper(
            lambda attempt_id: self.store.heartbeat(attempt_id, settings.worker.lease_s),
            settings.worker.lease_s,
            longest_s=LONGEST_JOBS * settings.job_deadline_s,
        )
        self.library = SoundLibrary(settings.index, choose_device(settings.models.device))
        self.library.sync(self.store)
        self.library.warm()
        worker = settings.worker
        gate = Gate(worker.concurrency, worker.threads, lambda: available_bytes() > worker.memory_reserve_bytes)
        watchdog = Watchdog(worker.stall_s, worker.recycle_memory_bytes or limit_bytes() // 2)
        self.vitals = Vitals(app, self.store, gate, watchdog, self.recycle)
        self.desk = Desk(
            store=self.store,
            artifacts=ArtifactStore(settings.artifacts_url),
            parts=self.parts,
            library=self.library,
            leases=self.leases,
            owner=f"{socket.gethostname()}:{os.getpid()}",
            lease_s=settings.worker.lease_s,
            max_attempts=settings.worker.max_attempts,
            gate=gate,
            step_aside=self._step_aside if OVERFLOW_QUEUE in self.vitals.serves() else None,
            observe=self.vitals.observe,
            observe_age=metrics.observe_age,
        )
        self._stopping = threading.Event()
        self._threads: list[threading.Thread] = []
        self._give_back: Callable[[], int] = lambda: 0

    def start(self, give_back: Callable[[], int]) -> None:
        """Begin the node's own rounds. `give_back` puts messages that are not acknowledged back into their queue."""
        self._give_back = give_back
        self.versions.announce()  # when the first round was made, Celery had not set up the log yet
        self.leases.start()
        self._every(SWEEP_S, "sweeper", self._sweep)
        self._every(RECONCILE_S, "reconciler", lambda: reconcile(self.store, self.library))
        self._every(self._settings.models.poll_s, "version keeper", self.versions.follow)
        if self._settings.stream_url is not None:
            self._every(PUSH_S, "pusher", self._pusher())
        if self._settings.feed.webhook_url is not None:
            self._every(PUSH_S, "webhook", self._webhook())
        if self._settings.worker.metrics_port is not None:
            metrics.serve(self._settings.worker.metrics_port)
        metrics.watch(self.leases, self.parts, self.desk.gate, self.versions)
        self._every(VITALS_S, "vitals", self.vitals.look, first_s=0.0)

    def recycle(self, reason: str) -> None:
        """End softly, to be started anew by whoever started this process."""
        log.critical("this node ends itself: %s", reason)
        self.stop_within(self._settings.worker.grace_s)  # also if nobody listens to the signal any more
        os.kill(os.getpid(), signal.SIGTERM)

    def stop_within(self, grace_s: float) -> None:
        """A shutdown has begun: what is in work may go on for so long, s; then it is handed back and the process ends.

        Celery's own soft shutdown always waits for the whole time, and its threads cannot be cut short.
        """

        self.desk.gate.close()

        def give_up() -> None:
            try:
                log.warning("the time to finish is over: %d uploads are handed back", len(self.leases.held()))
                self._hand_back()
                # Also those that no thread has begun: the broker would keep them until their visibility timeout.
                log.warning("%d messages go back to their queue", self._give_back())
                self.parts.decoder.close()
                self.scratch.close()
            except Exception:
                log.exception("not everything was handed back")
            finally:
                os._exit(0)

        timer = threading.Timer(grace_s, give_up)
        timer.daemon = True
        timer.start()

    def close(self) -> None:
        """Hand back what is still in work, stop the rounds, end the decoders."""
        self._stopping.set()
        self.leases.stop()
        self._hand_back()
        for thread in self._threads:
            thread.join(timeout=SWEEP_S)
        self._end_flights()
        self.parts.close()
        self.store.close()
        self.scratch.close()

    def _end_flights(self) -> None:
        try:
            for name in (SWEEPER, WEBHOOK):
                self.store.end_flight(name, self.desk.owner)
        except StoreError:
            log.warning("what this node alone did is not given up; it will run out")

    def _hand_back(self) -> None:
        self.leases.close()
        for attempt_id in self.leases.held():
            try:
                self.store.hand_back(attempt_id)
            except Exception:
                log.exception("attempt %d is not handed back; its lease will run out", attempt_id)

    def _every(self, seconds: float, name: str, round_: Callable[[], Any], first_s: float | None = None) -> None:
        def run() -> None:
            pause = seconds if first_s is None else first_s
            while not self._stopping.wait(pause):
                try:
                    round_()
                    pause = seconds
                except WebhookFailed as error:
                    log.warning("the %s failed (%s); trying again", name, error)
                    pause = min(60.0, pause * 2 + 1)
                except Exception:
                    # The store or the broker is away: go on asking, ever more slowly.
                    log.exception("the %s failed; trying again", name)
                    pause = min(60.0, pause * 2 + 1)

        thread = threading.Thread(target=run, name=name, daemon=True)
        thread.start()
        self._threads.append(thread)

    def _step_aside(self, request: dict[str, Any]) -> None:
        send(self._app, request, OVERFLOW_QUEUE)

    def _sweep(self) -> None:
        sweep(self.store, partial(send, self._app), self._settings.worker.max_attempts, self.desk.owner)

    def _pusher(self) -> Callable[[], Any]:
        import redis

        client = redis.Redis.from_url(str(self._settings.stream_url))
        pusher = StreamPusher(self.store, client, str(self._settings.feed.stream))
        return pusher.push

    def _webhook(self) -> Callable[[], Any]:
        import httpx

        feed = self._settings.feed
        assert feed.webhook_url is not None and feed.webhook_secret is not None
        client = httpx.Client(timeout=WEBHOOK_TIMEOUT_S, follow_redirects=False)
        url, secret = feed.webhook_url.get_secret_value(), feed.webhook_secret.get_secret_value()
        pusher = WebhookPusher(self.store, client.post, url, secret)

        def push() -> None:
            # One node at a time, so that events come in order.
            if self.store.take_flight(WEBHOOK, self.desk.owner, 2 * WEBHOOK_TIMEOUT_S):
                pusher.push()

        return push


def open_node(settings: Settings, app: Celery) -> Node:
    """Open this process's node and give the tasks their desk."""
    global _node  # noqa: PLW0603
    _node = Node(settings, app)
    runtime.install(_node.desk)
    return _node


def node() -> Node:
    """This process's node."""
    if _node is None:
        raise RuntimeError("no node is open in this process")
    return _node


def close_node() -> None:
    """Close this process's node, if one is open."""
    global _node  # noqa: PLW0603
    if _node is not None:
        runtime.install(None)
        _node.close()
        _node = None
