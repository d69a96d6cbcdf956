"""Whatever a message holds, the farm answers in its own terms: refused, or written into the ledger. It never falls."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, get_args

import jsonschema
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from scripts.commands.schema import schemas
from store.artifacts import ArtifactStore
from store.store import Store
from tasks.contract import TagDocument, TagUpload
from tasks.job import Desk, Handled
from tasks.leases import LeaseKeeper
from tasks.sound_library import SoundLibrary

# What JSON can carry, with the odd ends of Unicode and of numbers.
TEXT = st.text(st.characters(codec=None), max_size=40)
SCALAR = st.none() | st.booleans() | st.integers() | st.floats() | TEXT
JSON_VALUE = st.recursive(SCALAR, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4))
FIELDS = sorted(TagUpload.model_fields)
IDS = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._:@-]{0,20}", fullmatch=True)
NEARLY = st.builds(
    lambda upload_id, changes: {"upload_id": upload_id, "media": "file:///x", **changes},
    IDS,
    st.dictionaries(st.sampled_from(FIELDS) | TEXT, JSON_VALUE, max_size=4),
)
MESSAGE = JSON_VALUE | NEARLY
MANY = settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    def fetch(uri: str, folder: Path) -> Any:
        raise OSError("nothing is fetched here")

    store = Store.open(f"sqlite:///{tmp_path / 'store.db'}")
    (tmp_path / "scratch").mkdir()
    yield Desk(
        store=store,
        artifacts=ArtifactStore((tmp_path / "artifacts").as_uri()),
        parts=SimpleNamespace(fetch=fetch, scratch=tmp_path / "scratch"),  # type: ignore[arg-type]
        library=SoundLibrary(tmp_path / "index"),
        leases=LeaseKeeper(lambda attempt: True, 60),
        owner="test",
        lease_s=60,
        max_attempts=3,
    )
    store.close()


@MANY
@given(MESSAGE)
def test_every_message_is_handled(desk: Desk, message: Any) -> None:
    assert desk.handle(message) in get_args(Handled)
    assert desk.gate.running == 0
    assert desk.leases.held() == []


@MANY
@given(MESSAGE)
def test_what_is_taken_comes_back_the_same(message: Any) -> None:
    try:
        upload = TagUpload.model_validate(message)
    except ValidationError:
        return
    sent = upload.model_dump(mode="json", exclude_defaults=True)
    text = json.dumps(sent, allow_nan=False)
    again = TagUpload.model_validate(json.loads(text))
    assert again == upload
    assert again.request_hash() == upload.request_hash()
    text.encode()


@MANY
@given(IDS, st.dictionaries(TEXT, JSON_VALUE, max_size=5))
def test_fields_of_a_newer_sender_change_nothing(upload_id: str, newer: dict[str, Any]) -> None:
    plain = {"upload_id": upload_id, "media": "file:///x"}
    extra = {key: value for key, value in newer.items() if key not in FIELDS}
    taken, wanted = TagUpload.model_validate({**plain, **extra}), TagUpload.model_validate(plain)
    assert taken == wanted
    assert taken.request_hash() == wanted.request_hash()


@MANY
@given(st.sampled_from(["unsupported", "corrupt", "too_large", "timeout", "quarantined"]), TEXT)
def test_every_document_fits_the_published_schema(outcome: Any, reason: str) -> None:
    document = TagDocument(upload_id="u1", outcome=outcome, reason=reason).to_json()
    jsonschema.validate(document, schemas()["tag_document.schema.json"])
