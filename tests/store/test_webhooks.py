"""Events pushed to a real HTTP server, which verifies what it gets."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest

from store.store import Store
from store.webhooks import WebhookFailed, WebhookPusher, key_of, signed, verify

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
NOW = 1_767_225_600.0


class Receiver:
    """Takes what is genuine and new; fails as often as it is told to."""

    def __init__(self) -> None:
        self.taken: list[dict] = []
        self.ids: set[str] = set()
        self.refused = self.fail = 0
        self.url = ""

    def answer(self, headers: dict[str, str], body: bytes) -> int:
        if self.fail:
            self.fail -= 1
            return 500
        event_id = verify(SECRET, headers, body, NOW + 3)
        if event_id is None:
            self.refused += 1
            return 401
        if event_id not in self.ids:
            self.ids.add(event_id)
            self.taken.append(json.loads(body))
        return 204


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    taking = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            self.send_response(taking.answer({key.lower(): value for key, value in self.headers.items()}, body))
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    taking.url = f"http://127.0.0.1:{server.server_address[1]}/hook?key=s3cret"
    yield taking
    server.shutdown()
    server.server_close()


def pusher(store: Store, receiver: Receiver, client: httpx.Client) -> WebhookPusher:
    return WebhookPusher(store, client.post, receiver.url, SECRET, clock=lambda: NOW)


def test_events_arrive_signed_in_order_and_once(store: Store, work, receiver: Receiver) -> None:
    for number in range(5):
        work.tag(f"u{number}")
    with httpx.Client() as client:
        pushing = pusher(store, receiver, client)
        assert pushing.push() == 5
        assert pushing.push() == 0
        work.tag("later")
        assert pusher(store, receiver, client).push() == 1, "another node goes on where the first was"
    assert [event["cursor"] for event in receiver.taken] == [1, 2, 3, 4, 5, 6]
    assert receiver.taken[0]["document"]["outcome"] == "ok"
    assert receiver.refused == 0


def test_what_is_not_taken_is_sent_again_and_the_next_waits(store: Store, work, receiver: Receiver) -> None:
    for number in range(3):
        work.tag(f"u{number}")
    receiver.fail = 2
    with httpx.Client() as client:
        pushing = pusher(store, receiver, client)
        for _ in range(2):
            with pytest.raises(WebhookFailed, match="answered 500 to event 1"):
                pushing.push()
        assert pushing.push() == 3
    assert [event["cursor"] for event in receiver.taken] == [1, 2, 3]


def test_a_receiver_that_is_away_is_told_without_its_address(store: Store, work) -> None:
    work.tag()
    with httpx.Client() as client:
        pushing = WebhookPusher(store, client.post, "http://127.0.0.1:1/hook?key=s3cret", SECRET)
        with pytest.raises(WebhookFailed) as failure:
            pushing.push()
    assert "s3cret" not in str(failure.value) and "127.0.0.1" not in str(failure.value)
    assert "s3cret" not in pushing.consumer


def test_the_standards_own_example() -> None:
    """From the specification's reference libraries."""
    headers = {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }
    body = b'{"test": 2432232314}'
    assert signed(key_of(SECRET), headers["webhook-id"], 1614265330, body) == headers
    assert verify(SECRET, headers, body, 1614265330) == headers["webhook-id"]


@pytest.mark.parametrize(
    ("change", "taken"),
    [
        ({}, True),
        ({"webhook-signature": "v2,xx v1,!! {}"}, True),
        ({"webhook-id": "8"}, False),
        ({"webhook-timestamp": str(int(NOW) - 301)}, False),
        ({"webhook-timestamp": str(int(NOW) + 1)}, False),
        ({"webhook-timestamp": "soon"}, False),
        ({"webhook-signature": ""}, False),
        ({"webhook-signature": "v1,AAAA"}, False),
    ],
)
def test_what_is_changed_is_not_genuine(change: dict[str, str], taken: bool) -> None:
    headers = signed(key_of(SECRET), "7", NOW, b"{}")
    changed = {key: value.format(headers[key]) for key, value in change.items()}
    assert (verify(SECRET, {**headers, **changed}, b"{}", NOW) == "7") is taken
    assert verify(SECRET, headers, b"{ }", NOW) is None
    assert verify("another secret that is long enough", headers, b"{}", NOW) is None


def test_a_replay_is_told_by_its_time() -> None:
    headers = signed(key_of(SECRET), "7", NOW, b"{}")
    assert verify(SECRET, headers, b"{}", NOW + 299) == "7"
    assert verify(SECRET, headers, b"{}", NOW + 301) is None


@pytest.mark.parametrize("secret", ["", "short", "whsec_", "whsec_c2hvcnQ=", "whsec_not base64 at all, but long"])
def test_a_weak_secret_is_refused(secret: str) -> None:
    with pytest.raises(ValueError):
        key_of(secret)
