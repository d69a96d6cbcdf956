from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from workers.celery_config import celery_config
from workers.safety import UnsafeSettings, refuse_unsafe
from workers.settings import Settings

VALKEY = {"url": "redis://h/0"}
RABBIT = {"url": "amqp://h"}


def config(tmp_path: Path, celery: dict[str, Any], broker: dict[str, Any] = VALKEY) -> dict[str, Any]:
    return celery_config(Settings(home=tmp_path, _env_file=None, celery=celery, broker=broker))  # type: ignore[call-arg]


def test_what_is_safe_passes_and_further_options_arrive(tmp_path: Path) -> None:
    for broker in (VALKEY, RABBIT):
        assert config(tmp_path, {"worker_send_task_events": False}, broker)["worker_send_task_events"] is False


@pytest.mark.parametrize(
    ("celery", "instead"),
    [
        ({"task_acks_late": False}, "task_acks_late=true"),
        ({"task_reject_on_worker_lost": False}, "task_reject_on_worker_lost=true"),
        ({"accept_content": ["json", "pickle"]}, 'accept_content=["json"]'),
        ({"accept_content": []}, 'accept_content=["json"]'),
        ({"task_serializer": "pickle"}, "task_serializer=json"),
        ({"result_serializer": "yaml"}, "result_serializer=json"),
        ({"worker_prefetch_multiplier": 0}, "worker_prefetch_multiplier=1"),
        ({"worker_pool": "prefork"}, "worker_pool=threads"),
    ],
)
@pytest.mark.parametrize("broker", [VALKEY, RABBIT], ids=["valkey", "rabbitmq"])
def test_what_loses_or_doubles_work_is_refused_with_what_to_write(
    tmp_path: Path, celery: dict[str, Any], instead: str, broker: dict[str, Any]
) -> None:
    with pytest.raises(UnsafeSettings) as refusal:
        config(tmp_path, celery, broker)
    assert instead in str(refusal.value)


@pytest.mark.parametrize(
    ("place", "shorten"),
    [
        ("broker_transport_options", lambda c: c["broker_transport_options"].update(visibility_timeout=60)),
        ("visibility_timeout", lambda c: c.update(visibility_timeout=60)),
        ("result_backend_transport_options", lambda c: c["result_backend_transport_options"].clear()),
    ],
    ids=["broker", "worker", "result backend"],
)
def test_each_of_the_three_places_must_be_longer_than_the_longest_job(
    tmp_path: Path, place: str, shorten: Callable[[dict[str, Any]], None]
) -> None:
    changed = config(tmp_path, {})
    shorten(changed)
    with pytest.raises(UnsafeSettings, match="TAGFARM_BROKER__VISIBILITY_TIMEOUT_S") as refusal:
        refuse_unsafe(changed, 210.0, valkey=True, consumer_timeout_s=1800)
    assert place in str(refusal.value)
    refuse_unsafe(changed, 210.0, valkey=False, consumer_timeout_s=1800)


def test_rabbitmqs_consumer_timeout_must_be_longer_too(tmp_path: Path) -> None:
    with pytest.raises(UnsafeSettings, match="consumer_timeout = 420000"):
        config(tmp_path, {}, {**RABBIT, "consumer_timeout_s": 200})
    config(tmp_path, {}, {**VALKEY, "consumer_timeout_s": 200})


def test_every_problem_is_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(UnsafeSettings) as refusal:
        config(tmp_path, {"task_acks_late": False, "accept_content": ["pickle"]})
    assert "task_acks_late=true" in str(refusal.value) and "accept_content" in str(refusal.value)
