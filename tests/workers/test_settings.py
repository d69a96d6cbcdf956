from pathlib import Path

import pytest
from pydantic import ValidationError

from workers.celery_config import celery_config
from workers.settings import Settings


def settings(tmp_path: Path, **values: object) -> Settings:
    return Settings(home=tmp_path, _env_file=None, **values)  # type: ignore[arg-type]


def test_a_visibility_timeout_shorter_than_the_job_is_refused_with_the_cure(tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="Set it to at least"):
        settings(tmp_path, broker={"visibility_timeout_s": 60}, media={"decode_deadline_s": 120})


def test_the_three_places_agree_on_the_visibility_timeout(tmp_path: Path) -> None:
    config = celery_config(settings(tmp_path, broker={"visibility_timeout_s": 700}))
    assert config["broker_transport_options"]["visibility_timeout"] == 700
    assert config["visibility_timeout"] == 700
    assert config["result_backend_transport_options"]["visibility_timeout"] == 700


def test_delivery_is_at_least_once_and_json_only(tmp_path: Path) -> None:
    config = celery_config(settings(tmp_path))
    assert config["task_acks_late"] is True
    assert config["worker_prefetch_multiplier"] == 1
    assert config["accept_content"] == ["json"]


def test_a_running_embedded_farm_is_found(tmp_path: Path) -> None:
    (tmp_path / "broker.url").write_text("redis://127.0.0.1:7777/0\n")
    assert settings(tmp_path).broker.url == "redis://127.0.0.1:7777/0"
    assert settings(tmp_path, broker={"url": "amqp://h"}).broker.url == "amqp://h"


def test_rabbitmq_gets_its_own_options(tmp_path: Path) -> None:
    config = celery_config(settings(tmp_path, broker={"url": "amqp://guest@h//"}))
    assert config["broker_transport_options"] == {"confirm_publish": True}
    assert "visibility_timeout" not in config
    assert config["task_queues"][0].queue_arguments["x-queue-type"] == "quorum"


def test_the_sound_index_is_this_machines_or_shared(tmp_path: Path) -> None:
    assert settings(tmp_path).index == tmp_path / "sound-index"
    shared = settings(tmp_path, sounds={"index": "valkey", "servers": ["redis://:hush@a/1", "redis://b/1"]})
    assert shared.index == ("redis://:hush@a/1", "redis://b/1")
    assert "hush" not in repr(shared)
    with pytest.raises(ValidationError, match="TAGFARM_SOUNDS__SERVERS"):
        settings(tmp_path, sounds={"index": "valkey"})


def test_a_signing_key_that_can_be_guessed_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="openssl rand -hex 32"):
        settings(tmp_path, models={"signing_key": "secret"})
    kept = settings(tmp_path, models={"signing_key": "0123456789abcdef"})
    assert "0123456789abcdef" not in repr(kept)
    assert kept.registry == tmp_path / "registry"
