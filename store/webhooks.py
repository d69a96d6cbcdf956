"""The feed pushed to a URL, event by event, signed as https://www.standardwebhooks.com has it.

In the feed's order, at least once: an event is repeated until the receiver answers 2xx, and the next one waits for it.
What is signed holds the event's id and the time of sending, so a receiver can tell a copy (same id) and a replay (old
time): `verify`.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from store.columns import dumps
from store.errors import StoreError
from store.feed import Feed, FeedEvent

PAGE = 100
BACKLOG = 100_000
"""Events that a webhook gets which was never heard of; older ones are read from the feed."""
TOLERANCE_S = 300.0
"""A signature older, or newer, than this is not taken, s."""
PREFIX = "whsec_"
LEAST_SECRET_BYTES = 24
"""As the standard has it."""


class Poster(Protocol):
    """As `httpx.Client.post`."""

    def __call__(self, url: str, *, content: bytes, headers: Mapping[str, str]) -> Any:
        """Send; the answer has a `status_code`."""


class WebhookFailed(StoreError):
    """The receiver did not take an event; it will be sent again."""


class WebhookPusher:
    """Sends events to a URL as they come.

    Args:
        store: whose feed it is.
        post: sends one request.
        url: where to.
        secret: `whsec_` and base64, or any text of at least `LEAST_SECRET_BYTES`.
        clock: seconds since 1970.

    The body is JSON: `cursor`, `event`, `upload_id`, `at` (ISO 8601), `document`.
    """

    def __init__(
        self, store: Feed, post: Poster, url: str, secret: str, clock: Callable[[], float] = time.time
    ) -> None:
        self._store = store
        self._post = post
        self._url = url
        self._key = key_of(secret)
        self._clock = clock
        # Not the URL itself: it may hold a secret.
        self.consumer = f"webhook:{hashlib.sha256(url.encode()).hexdigest()[:16]}"

    def push(self) -> int:
        """Send what the receiver has not taken yet. Returns how many events it took.

        Raises:
            WebhookFailed: it did not take one; those before it are done with.
        """
        after = max(self._store.position(self.consumer), self._store.feed_head() - BACKLOG)
        taken = 0
        while events := self._store.feed(after, PAGE):
            for event in events:
                self._send(event)
                after = event.cursor
                self._store.advance(self.consumer, after)
                taken += 1
        return taken

    def _send(self, event: FeedEvent) -> None:
        fields = {
            "cursor": event.cursor,
            "event": event.event,
            "upload_id": event.upload_id,
            "at": event.at.isoformat(),
            "document": event.document,
        }
        body = dumps(fields).encode()
        headers = {"Content-Type": "application/json", **signed(self._key, str(event.cursor), self._clock(), body)}
        try:
            status = int(self._post(self._url, content=body, headers=headers).status_code)
        except Exception as error:
            # The message of a transport's error may hold the URL.
            raise WebhookFailed(f"the webhook cannot be reached: {type(error).__name__}") from None
        if not 200 <= status < 300:
            raise WebhookFailed(f"the webhook answered {status} to event {event.cursor}")


def key_of(secret: str) -> bytes:
    """The key's bytes. Raises `ValueError` on one that is too short, or no base64 after `whsec_`."""
    try:
        key = base64.b64decode(secret[len(PREFIX) :], validate=True) if secret.startswith(PREFIX) else secret.encode()
    except binascii.Error:
        raise ValueError(f"what follows {PREFIX} is not base64") from None
    if len(key) < LEAST_SECRET_BYTES:
        raise ValueError(f"a webhook's secret has at least {LEAST_SECRET_BYTES} bytes: openssl rand -base64 32")
    return key


def signed(key: bytes, event_id: str, at: float, body: bytes) -> dict[str, str]:
    """The headers that say what an event is, when it was sent, and by whom."""
    moment = str(int(at))
    signature = base64.b64encode(_mac(key, event_id, moment, body)).decode()
    return {"webhook-id": event_id, "webhook-timestamp": moment, "webhook-signature": f"v1,{signature}"}


def verify(
    secret: str, headers: Mapping[str, str], body: bytes, now: float, tolerance_s: float = TOLERANCE_S
) -> str | None:
    """What a receiver does: the event's id if it is genuine and fresh, else None.

    Args:
        secret: as the sender has it.
        headers: of the request, names in lower case.
        body: as it came, byte for byte.
        now: seconds since 1970.
        tolerance_s: how far the sender's clock and the way may take it, s.

    A receiver MUST also remember the ids of the last `tolerance_s`, and take none twice.
    """
    event_id, moment = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    if not event_id or not (moment.isascii() and moment.isdigit()) or abs(now - int(moment)) > tolerance_s:
        return None
    right = _mac(key_of(secret), event_id, moment, body)
    # Several signatures may come, while a secret is changed.
    for one in headers.get("webhook-signature", "").split():
        version, _, given = one.partition(",")
        try:
            found = base64.b64decode(given, validate=True)
        except (binascii.Error, ValueError):
            continue
        if version == "v1" and hmac.compare_digest(found, right):
            return event_id
    return None


def _mac(key: bytes, event_id: str, moment: str, body: bytes) -> bytes:
    return hmac.new(key, b".".join((event_id.encode(), moment.encode(), body)), hashlib.sha256).digest()
