"""Options of Celery's that lose work or do it twice. Each is refused at start, with what to write instead."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

SAFE_CONTENT = frozenset({"json", "application/json"})
VISIBILITY_PLACES = (
    ("broker_transport_options", "visibility_timeout"),
    ("visibility_timeout",),
    ("result_backend_transport_options", "visibility_timeout"),
)
"""Where Celery reads the visibility timeout: the broker, the worker, the result backend. The shortest one counts."""


class UnsafeSettings(ValueError):
    """Settings with which a farm must not start. The message says what to write instead."""


def refuse_unsafe(config: Mapping[str, Any], deadline_s: float, valkey: bool, consumer_timeout_s: float) -> None:
    """Raise `UnsafeSettings` with every problem of this Celery configuration (lower-case names).

    Args:
        config: what Celery is to run with.
        deadline_s: the longest that one message may be held, s.
        valkey: whether the broker is Valkey or Redis; else RabbitMQ.
        consumer_timeout_s: RabbitMQ's `consumer_timeout`, s.
    """
    problems = [
        *_visibility(config, deadline_s, valkey),
        *_acknowledgement(config),
        *_content(config),
        *_pool(config),
        *([] if valkey else _consumer_timeout(deadline_s, consumer_timeout_s)),
    ]
    if problems:
        raise UnsafeSettings(" ".join(problems))


def _visibility(config: Mapping[str, Any], deadline_s: float, valkey: bool) -> Iterator[str]:
    if not valkey:
        return
    for place in VISIBILITY_PLACES:
        found: Any = config
        for key in place:
            found = found.get(key) if isinstance(found, Mapping) else None
        name = ".".join(place)
        if found is None:
            yield (
                f"{name} is not set, so Celery takes its own default there: set TAGFARM_BROKER__VISIBILITY_TIMEOUT_S "
                "and leave the option out of TAGFARM_CELERY."
            )
        elif float(found) <= deadline_s:
            yield (
                f"{name}={found} is not longer than the longest job ({deadline_s:.0f} s): a job still running would be "
                f"delivered again. Set it to at least {deadline_s * 2:.0f}: TAGFARM_BROKER__VISIBILITY_TIMEOUT_S="
                f"{deadline_s * 2:.0f}."
            )


def _acknowledgement(config: Mapping[str, Any]) -> Iterator[str]:
    if not config.get("task_acks_late"):
        yield "task_acks_late=False acknowledges before the work: a killed node loses it. Write task_acks_late=true."
    if not config.get("task_reject_on_worker_lost"):
        yield "task_reject_on_worker_lost=False loses a killed node's messages. Write task_reject_on_worker_lost=true."
    if int(config.get("worker_prefetch_multiplier", 1)) != 1:
        yield (
            f"worker_prefetch_multiplier={config['worker_prefetch_multiplier']} lets a node hoard messages that wait "
            "unseen (0: without limit). Write worker_prefetch_multiplier=1."
        )


def _content(config: Mapping[str, Any]) -> Iterator[str]:
    accepted = config.get("accept_content") or []
    unsafe = sorted(set(map(str, accepted)) - SAFE_CONTENT)
    if unsafe or not accepted:
        yield (
            f"accept_content={accepted}: {', '.join(unsafe) or 'nothing'} is not JSON, and a pickled message runs its "
            'sender\'s code in the node. Write accept_content=["json"].'
        )
    for name in ("task_serializer", "result_serializer"):
        if config.get(name, "json") not in SAFE_CONTENT:
            yield f"{name}={config[name]} would not be read by any node: write {name}=json."


def _pool(config: Mapping[str, Any]) -> Iterator[str]:
    if config.get("worker_pool", "threads") != "threads":
        yield (
            f"worker_pool={config['worker_pool']}: each process would load every network anew, and forking after CUDA "
            "has started breaks it. Write worker_pool=threads; decoders are processes of their own."
        )


def _consumer_timeout(deadline_s: float, consumer_timeout_s: float) -> Iterator[str]:
    if consumer_timeout_s <= deadline_s:
        yield (
            f"TAGFARM_BROKER__CONSUMER_TIMEOUT_S={consumer_timeout_s:.0f} is not longer than the longest job "
            f"({deadline_s:.0f} s): RabbitMQ would close the node's channel and deliver its jobs again. Set "
            f"consumer_timeout = {deadline_s * 2000:.0f} in rabbitmq.conf and the variable to {deadline_s * 2:.0f}."
        )
