"""What a node says of itself to Prometheus."""

from __future__ import annotations

from functools import partial
from typing import Any

from prometheus_client import Counter, Gauge, Histogram, start_http_server

from models.serving.batcher import MicroBatcher
from tasks.contract import TagDocument
from tasks.gate import Gate
from tasks.job import Handled
from tasks.leases import LeaseKeeper
from tasks.pipeline import Parts
from tasks.queues import QUEUES
from workers.versions import VersionKeeper

HANDLED = Counter("tagfarm_messages_total", "Messages handled, by how they ended.", ["ending"])
DOCUMENTS = Counter("tagfarm_documents_total", "Documents written, by outcome.", ["outcome"])
ABSENT = Counter("tagfarm_absent_total", "Taggers that were asked for and could not speak.", ["tagger"])
SECONDS = Histogram(
    "tagfarm_upload_seconds", "From message to commit, s.", buckets=(0.5, 1, 2, 4, 8, 15, 30, 60, 120, 300)
)
STAGES = Histogram("tagfarm_stage_seconds", "By stage of the pipeline, s.", ["stage"])
IN_FLIGHT = Gauge("tagfarm_in_flight", "Uploads in work on this node.")
BATCH_FILL = Gauge("tagfarm_batch_fill", "Items in a network's mean batch.", ["network"])
NOT_FOLLOWED = Gauge(
    "tagfarm_aliases_not_followed", "Aliases whose version this node cannot load: it keeps the one before."
)
FORWARD_SECONDS = Gauge("tagfarm_forward_seconds", "Time that a network's forward passes took so far, s.", ["network"])
QUEUE_DEPTH = Gauge("tagfarm_queue_depth", "Messages that wait at the broker.", ["queue"])
MESSAGE_AGE = Gauge("tagfarm_message_age_seconds", "How long the latest message to come had waited, s.", ["queue"])
OLDEST = Gauge("tagfarm_oldest_message_seconds", "How long the oldest message at a Valkey broker waits, s.", ["queue"])
LEDGER_WAITING = Gauge("tagfarm_ledger_waiting", "Uploads in the ledger that wait for an attempt.", ["queue"])
LEDGER_OLDEST = Gauge("tagfarm_ledger_oldest_seconds", "How long the oldest of them waits, s.", ["queue"])
GATE_WAITING = Gauge("tagfarm_gate_waiting", "Messages that this node holds and has not begun.", ["queue"])
OUT_OF_MEMORY = Gauge("tagfarm_out_of_memory", "Forward passes that ran out of memory so far.", ["network"])
RESIDENT = Gauge("tagfarm_resident_bytes", "Memory of the node's process.")
QUARANTINED = Gauge("tagfarm_quarantined", "Uploads in quarantine.")


def observe_age(queue: str, seconds: float) -> None:
    """Note how long a message waited."""
    MESSAGE_AGE.labels(queue).set(seconds)


SAID = Counter("tagfarm_labels_total", "Uploads that a label was said of.", ["tagger", "label"])
SPOKEN = Counter("tagfarm_spoken_total", "Uploads that a tagger spoke of.", ["tagger", "version"])
UNKNOWN = Counter("tagfarm_unknown_total", "Uploads of which a tagger said nothing.", ["tagger"])
SCORES = Histogram(
    "tagfarm_label_score", "Scores of what is said.", ["tagger"], buckets=tuple(step / 10 for step in range(1, 11))
)


def observe(handled: Handled, document: TagDocument | None, seconds: float) -> None:
    """Count one handled message."""
    HANDLED.labels(handled).inc()
    if document is None:
        return
    DOCUMENTS.labels(document.outcome).inc()
    SECONDS.observe(seconds)
    for tagger in document.absent:
        ABSENT.labels(tagger).inc()
    _observe_labels(document)
    for stage, milliseconds in document.timings_ms.items():
        STAGES.labels(stage).observe(milliseconds / 1000)


def _observe_labels(document: TagDocument) -> None:
    """What drift is seen in: how often each label is said and how surely, and how often nothing is."""
    said = {
        "topics": [(topic.topic, topic.score) for topic in document.topics],
        "events": [(event.event, event.score) for event in document.events],
    }
    for tagger, labels in said.items():
        version = document.models.get(tagger)
        if version is None:
            continue
        SPOKEN.labels(tagger, version).inc()
        if not labels:
            UNKNOWN.labels(tagger).inc()
        for label, score in labels:
            SAID.labels(tagger, label).inc()
            SCORES.labels(tagger).observe(score)


def watch(leases: LeaseKeeper, parts: Parts, gate: Gate, versions: VersionKeeper | None = None) -> None:
    """Read the node's gauges whenever someone asks."""
    if versions is not None:
        NOT_FOLLOWED.set_function(lambda: len(versions.failed))
    IN_FLIGHT.set_function(lambda: len(leases.held()))
    for name, encoder in parts.encoders.items():
        batcher = getattr(encoder, "batcher", None)
        if batcher is not None:
            BATCH_FILL.labels(name).set_function(partial(_mean_fill, batcher))
            FORWARD_SECONDS.labels(name).set_function(partial(_forward_seconds, batcher))
            OUT_OF_MEMORY.labels(name).set_function(partial(_out_of_memory, batcher))
    for queue in QUEUES:
        GATE_WAITING.labels(queue).set_function(partial(_gate_waiting, gate, queue))


def _mean_fill(batcher: MicroBatcher[Any, Any]) -> float:
    return batcher.stats().mean_fill


def _forward_seconds(batcher: MicroBatcher[Any, Any]) -> float:
    return batcher.stats().forward_wall_s


def _out_of_memory(batcher: MicroBatcher[Any, Any]) -> float:
    return batcher.stats().out_of_memory


def _gate_waiting(gate: Gate, queue: str) -> float:
    return gate.waiting()[queue]


def serve(port: int) -> None:
    """Serve `/metrics`."""
    start_http_server(port)
