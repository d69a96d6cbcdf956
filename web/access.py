"""Who may call the gateway, how often, and with how much."""

from __future__ import annotations

import hmac
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

from fastapi import Header, HTTPException, Request
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from store.store import Store
from store.tokens import SCOPES

LOOPBACK_HOSTS = frozenset({"127.0.0.1", "localhost", "::1"})
CALLERS_KEPT = 10_000
"""Callers whose rate is remembered; the longest silent are forgotten, which forgives them."""


@dataclass(frozen=True)
class WebLimits:
    """What one caller may ask for."""

    max_body_bytes: int = 256 * 1024
    rate_per_s: float = 50.0
    burst: int = 100
    """Calls at once, before the rate counts."""


class Rates:
    """A bucket of tokens for each caller (https://en.wikipedia.org/wiki/Token_bucket). Safe to share."""

    def __init__(self, limits: WebLimits, clock: Callable[[], float] = time.monotonic) -> None:
        self._limits = limits
        self._clock = clock
        self._lock = threading.Lock()
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def wait_s(self, caller: str) -> float:
        """Count a call. 0: it may go on; else after how many seconds it may."""
        now = self._clock()
        with self._lock:
            left, at = self._buckets.pop(caller, (float(self._limits.burst), now))
            left = min(float(self._limits.burst), left + (now - at) * self._limits.rate_per_s)
            allowed = left >= 1
            self._buckets[caller] = (left - 1 if allowed else left, now)
            while len(self._buckets) > CALLERS_KEPT:
                self._buckets.popitem(last=False)
        return 0.0 if allowed else (1 - left) / self._limits.rate_per_s


class Access:
    """Tells callers by their bearer token.

    `token`: one from the settings that may do everything. Others are in the store (`tagfarm tokens`). With neither the
    gateway is open, and only to those who call it by a loopback name: so a web page that a browser here shows cannot
    reach it by a name of its own that leads to this machine.
    """

    def __init__(self, store: Store, token: str | None, limits: WebLimits) -> None:
        self._store = store
        self._token = token
        self._rates = Rates(limits)

    def scopes(self, authorization: str) -> frozenset[str] | None:
        """What a caller may do who sends this header; None: nobody we know."""
        kind, _, text = authorization.partition(" ")
        if kind.lower() != "bearer" or not text:
            return None
        if self._token is not None and hmac.compare_digest(text.encode(), self._token.encode()):
            return frozenset(SCOPES)
        return self._store.token_scopes(text)

    @property
    def open(self) -> bool:
        """Whether no token is asked for."""
        return self._token is None and all(one.revoked_at is not None for one in self._store.list_tokens())

    def needs(self, scope: str) -> Callable[..., None]:
        """A dependency: the caller must have this scope, and calls not too often."""

        def check(request: Request, authorization: Annotated[str, Header()] = "") -> None:
            caller = request.client.host if request.client else ""
            granted = self.scopes(authorization)
            if granted is not None:
                caller = authorization  # each token has its own rate, wherever it is used from
            if (wait_s := self._rates.wait_s(caller)) > 0:
                raise HTTPException(429, "too many calls", headers={"Retry-After": str(int(wait_s) + 1)})
            if granted is None and self.open:
                if request.url.hostname not in LOOPBACK_HOSTS:
                    raise HTTPException(421, "without a token, call it as localhost")
                return
            if granted is None:
                raise HTTPException(401, "a bearer token is needed", headers={"WWW-Authenticate": "Bearer"})
            if scope not in granted:
                raise HTTPException(403, f"this token may not {scope}")

        return check


class BodyLimit:
    """Refuses a body that is longer than allowed, by its own word or by what comes, before it is kept."""

    def __init__(self, app: ASGIApp, max_bytes: int) -> None:
        self._app = app
        self._max_bytes = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        declared = dict(scope["headers"]).get(b"content-length", b"0")
        if declared.isdigit() and int(declared) > self._max_bytes:
            await self._refuse(scope, receive, send)
            return
        # Read here: the application below would answer a body that is cut short in its own way.
        body = b""
        while True:
            message: Message = await receive()
            if message["type"] != "http.request":
                return  # the caller went away
            body += message.get("body", b"")
            if len(body) > self._max_bytes:
                await self._refuse(scope, receive, send)
                return
            if not message.get("more_body", False):
                break
        replay: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

        async def again() -> Message:
            return replay.pop() if replay else await receive()

        await self._app(scope, again, send)

    async def _refuse(self, scope: Scope, receive: Receive, send: Send) -> None:
        answer = JSONResponse({"detail": f"the body has more than {self._max_bytes} bytes"}, status_code=413)
        await answer(scope, receive, send)
