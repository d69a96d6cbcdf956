"""What a person reads of a document in the terminal."""

from scripts.document_view import summary
from tasks.contract import Quality, TagDocument


def test_why_the_quality_is_low_is_said() -> None:
    quality = Quality.model_validate(
        {
            "score": 0.3,
            "explanation": ["too dark", "8 kHz sound"],
            "picture": {"score": 0.4, "sharpness": 0.9, "blockiness": 0.0, "noise": 0.0, "exposure": 0.2},
        }
    )
    document = TagDocument(upload_id="u1", outcome="ok", quality=quality).to_json()
    assert ("quality", "0.30 (picture 0.40): too dark, 8 kHz sound") in summary(document)
    del document["quality"]["explanation"]  # documents that were stored before it was said
    assert ("quality", "0.30 (picture 0.40)") in summary(document)
