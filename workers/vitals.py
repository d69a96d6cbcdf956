"""What a node looks at in itself and in its queues, again and again: gauges for people, reasons to end for itself."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from celery import Celery
from kombu.exceptions import OperationalError

from store.store import Store, StoreUnavailable
from tasks.contract import TagDocument
from tasks.gate import Gate
from tasks.job import Handled
from tasks.queues import QUEUES, oldest_ages, queue_depths
from workers import memory, metrics
from workers.watchdog import Watchdog

log = logging.getLogger(__name__)


class Vitals:
    """One node's. `end` is called, once, with the reason why the node should end itself."""

    def __init__(self, app: Celery, store: Store, gate: Gate, watchdog: Watchdog, end: Callable[[str], None]) -> None:
        self._app = app
        self._store = store
        self._gate = gate
        self._watchdog = watchdog
        self._end = end
        self._handled = 0
        self._lock = threading.Lock()
        self._ended = False

    def observe(self, handled: Handled, document: TagDocument | None, seconds: float) -> None:
        """Told of every handled message."""
        with self._lock:
            self._handled += 1
        metrics.observe(handled, document, seconds)

    def look(self) -> None:
        """One round."""
        resident = memory.resident_bytes()
        metrics.RESIDENT.set(resident)
        has_store = self._look_at_ledger()
        waiting = self._look_at_broker()
        if not has_store:
            waiting = 0  # it consumes nothing because it could write nothing down: a fresh node would fare no better
        reason = self._watchdog.look(waiting, self._gate.running, self._handled, resident)
        if reason is not None and not self._ended:
            self._ended = True
            self._end(reason)

    def _look_at_broker(self) -> int:
        """Returns how many messages wait in the queues that this node serves."""
        try:
            depths = queue_depths(self._app)
            for queue, seconds in oldest_ages(self._app).items():
                metrics.OLDEST.labels(queue).set(seconds)
        except (OperationalError, OSError) as error:
            log.warning("the broker does not say how long its queues are: %s", type(error).__name__)
            return 0  # a node that cannot reach its broker is not the one to blame
        for queue, depth in depths.items():
            metrics.QUEUE_DEPTH.labels(queue).set(depth)
        return sum(depths[queue] for queue in self.serves())

    def _look_at_ledger(self) -> bool:
        """Returns whether the store answers."""
        try:
            ages = {age.queue: age for age in self._store.queue_ages()}
            metrics.QUARANTINED.set(self._store.counts()["quarantined"])
        except StoreUnavailable:
            return False
        for queue in QUEUES:
            age = ages.get(queue)
            metrics.LEDGER_WAITING.labels(queue).set(age.waiting if age else 0)
            metrics.LEDGER_OLDEST.labels(queue).set(age.oldest_s if age else 0)
        return True

    def serves(self) -> list[str]:
        """The queues that this node consumes."""
        consumed = self._app.amqp.queues.consume_from
        return [queue for queue in QUEUES if queue in consumed]
