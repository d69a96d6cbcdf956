import pytest
from pydantic import ValidationError

from tasks.enqueue import Sender, transport_priority


def test_urgent_comes_first_on_both_brokers() -> None:
    valkey = [transport_priority("redis://h", priority) for priority in range(10)]
    assert valkey == sorted(valkey, reverse=True)
    assert valkey[5] == 0, "a plain sender's messages must not overtake or fall behind ours"
    rabbit = [transport_priority("amqp://h", priority) for priority in range(10)]
    assert rabbit == sorted(rabbit)


def test_what_is_no_upload_is_not_sent() -> None:
    sender = Sender("redis://127.0.0.1:1/0")
    with pytest.raises(ValidationError):
        sender.send({"upload_id": "u1"})
    with pytest.raises(ValueError, match="backfill"):
        sender.send({"upload_id": "u1", "media": "file:///a"}, queue="elsewhere")  # type: ignore[arg-type]
