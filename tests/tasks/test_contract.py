import json
from pathlib import Path

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

import media.types
import models.protocol
from scripts.commands.schema import schemas
from tasks.contract import TAGGERS, TagDocument, TagUpload

ROOT = Path(__file__).parents[2]


def test_the_rooms_agree_on_the_waveform() -> None:
    assert media.types.WAVEFORM_RATE == models.protocol.WAVEFORM_RATE


def test_a_newer_upload_service_is_understood() -> None:
    upload = TagUpload.model_validate({"upload_id": "u1", "media": "file:///a.mp4", "from_the_future": {"x": 1}})
    assert "from_the_future" not in upload.model_dump()


@pytest.mark.parametrize(
    "change",
    [
        {"upload_id": ""},
        {"upload_id": "../../etc/passwd"},
        {"upload_id": "a" * 201},
        {"upload_id": "a\nb"},
        {"media": ""},
        {"priority": 10},
        {"priority": "urgent"},
        {"taggers": ["astrology"]},
        {"caption": "x" * 10_001},
        {"hashtags": ["x"] * 201},
    ],
)
def test_what_is_no_upload_is_refused(change: dict) -> None:
    with pytest.raises(ValidationError):
        TagUpload.model_validate({"upload_id": "u1", "media": "file:///a.mp4", **change})


def test_hashtags_are_made_plain() -> None:
    upload = TagUpload(upload_id="u", media="m", hashtags=["#Cats", "cats", " ", "#", "La  Vita"])
    assert upload.hashtags == ["cats", "lavita"]


def test_the_request_hash_says_whether_the_answer_can_change() -> None:
    plain = TagUpload(upload_id="u", media="m")
    assert plain.request_hash() == TagUpload(upload_id="u", media="m", priority=9).request_hash()
    assert plain.request_hash() != TagUpload(upload_id="u", media="m", caption="x").request_hash()
    assert plain.request_hash() != TagUpload(upload_id="u", media="other").request_hash()


def test_nothing_unnamed_goes_out() -> None:
    with pytest.raises(ValidationError):
        TagDocument.model_validate({"upload_id": "u", "outcome": "ok", "mood": "happy"})
    with pytest.raises(ValidationError):
        TagDocument.model_validate({"upload_id": "u", "outcome": "fine"})


def test_the_document_has_the_fixed_names() -> None:
    document = TagDocument(upload_id="u", outcome="ok").to_json()
    assert document["schema"] == 1
    assert list(document)[:4] == ["schema", "upload_id", "outcome", "reason"]
    fixed = {"media", "coverage", "topics", "sounds", "events", "music", "speech", "text", "layout", "people"}
    assert fixed | {"safety", "quality", "diversity", "models", "attempts", "timings_ms"} <= set(document)


def test_the_checked_in_schema_is_what_the_code_publishes() -> None:
    for name, schema in schemas().items():
        assert json.loads((ROOT / "docs/contract" / name).read_text()) == schema, (
            "run: tagfarm schema --write docs/contract"
        )
        jsonschema.Draft202012Validator.check_schema(schema)


def test_a_document_round_trips_and_fits_its_schema() -> None:
    document = TagDocument.model_validate(
        {
            "upload_id": "u123",
            "outcome": "ok",
            "topics": [{"topic": "animals/cat", "score": 0.9, "ranges": [[0, 4.5]], "from": ["picture"]}],
            "sounds": [{"sound_id": "s_1", "kind": "song", "score": 0.99, "range": [1.5, 14.9], "offset_s": 43.2}],
        }
    )
    body = document.to_json()
    assert body["topics"][0]["from"] == ["picture"]
    jsonschema.validate(body, schemas()["tag_document.schema.json"])
    assert TagDocument.model_validate(body) == document


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from([*TagUpload.model_fields, "other"]), json_values))
def test_any_message_is_accepted_or_refused_and_nothing_else(message: dict) -> None:
    try:
        upload = TagUpload.model_validate(message)
    except ValidationError:
        return
    assert TagUpload.model_validate_json(upload.model_dump_json()) == upload
    assert "\x00" not in upload.caption
    assert upload.taggers is None or set(upload.taggers) <= set(TAGGERS)
