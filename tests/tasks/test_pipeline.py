"""The pipeline with its real parts: a real decoder pool, real networks where they are installed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from skimage import data

from media.fetch_policy import FetchUnavailable
from scripts import clips
from tasks.contract import TAGGERS, TagDocument, TagUpload
from tasks.kept import FRAMES_ONLY, NotKept, evidence_of, names_for
from tasks.pipeline import Parts, analyse
from workers.build import build_parts
from workers.settings import Settings


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    random = np.random.default_rng(0)
    pictures = [
        np.kron(random.integers(0, 255, (9, 16, 3), dtype=np.uint8), np.ones((12, 12, 1), np.uint8)) for _ in range(24)
    ]
    heard = (0.2 * np.sin(np.linspace(0, 4000, 2 * clips.SOUND_RATE)) * np.ones((2, 1))).astype(np.float32)
    return clips.write(tmp_path_factory.mktemp("pipeline") / "clip.mp4", pictures, heard, fps=12)


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory, clip: Path) -> Settings:
    made = Settings(home=tmp_path_factory.mktemp("home"), _env_file=None)  # type: ignore[call-arg]
    made.media.roots = [clip.parent]
    made.media.decoders = 1
    return made


@pytest.fixture(scope="module")
def parts(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Parts]:
    built = build_parts(settings, tmp_path_factory.mktemp("scratch"))
    yield built
    built.close()


def upload(clip: Path, **fields: Any) -> TagUpload:
    return TagUpload(upload_id="u1", media=clip.as_uri(), **fields)


def test_a_clip_is_tagged_by_all(parts: Parts, clip: Path) -> None:
    analysis = analyse(upload(clip), parts)
    document = analysis.document
    assert (document.outcome, document.absent) == ("ok", {})
    assert set(document.models) == set(TAGGERS)
    assert document.coverage.frames_decoded == 24
    assert document.coverage.frames_embedded >= 4
    assert document.coverage.audio_s == pytest.approx(2.0, abs=0.1)
    assert {"embeddings/picture", "embeddings/yamnet", "keyframes/00", "curves/sound/momentary_lufs"} <= set(
        analysis.artifacts
    )
    assert analysis.artifacts["embeddings/picture"].dtype == np.float16
    assert list(parts.scratch.glob("upload-*")) == []


def test_the_same_clip_has_the_same_document(parts: Parts, clip: Path) -> None:
    first, second = (analyse(upload(clip), parts).document.to_json() for _ in range(2))
    for document in (first, second):
        del document["timings_ms"]
    assert first == second


class Broken:
    name = "topics"
    version = "broken@1"
    section = "topics"
    encoders: tuple[str, ...] = ()

    def tag(self, evidence: object) -> object:
        raise ZeroDivisionError


def test_a_failing_tagger_takes_nobody_with_it(parts: Parts, clip: Path) -> None:
    taggers = [Broken() if tagger.name == "topics" else tagger for tagger in parts.taggers]
    document = analyse(upload(clip), replace(parts, taggers=taggers)).document
    assert document.outcome == "degraded"
    assert document.absent == {"topics": "failed: ZeroDivisionError"}
    assert "events" in document.models
    assert document.quality is not None


class BrokenEncoder:
    name = "yamnet"
    version = "broken@1"

    def encode(self, evidence: object) -> object:
        raise RuntimeError("device lost")

    def close(self) -> None:
        pass


def test_a_failing_encoder_takes_only_its_heads_with_it(parts: Parts, clip: Path) -> None:
    document = analyse(upload(clip), replace(parts, encoders={**parts.encoders, "yamnet": BrokenEncoder()})).document
    assert set(document.absent) == {"events", "music", "speech"}
    assert "topics" in document.models
    assert "yamnet failed" in str(document.reason)


def test_taggers_without_weights_are_named_as_absent(settings: Settings, clip: Path, tmp_path: Path) -> None:
    bare = settings.model_copy(deep=True)
    bare.models.weights = tmp_path / "no-weights"
    without = build_parts(bare, tmp_path)
    try:
        document = analyse(upload(clip), without).document
    finally:
        without.close()
    assert document.outcome == "degraded"
    assert set(document.absent) == {"topics", "events", "music", "speech", "people", "safety"}
    assert "tagfarm weights pull efficientnet-lite2" in document.absent["topics"]
    assert set(document.models) == {"layout", "quality", "soundid", "text", "editing"}


def test_what_is_not_asked_for_is_neither_run_nor_absent(parts: Parts, clip: Path) -> None:
    document = analyse(upload(clip, taggers=["layout"]), parts).document
    assert (set(document.models), document.absent, document.outcome) == ({"layout"}, {}, "ok")


def test_a_file_that_cannot_be_had_now_is_no_outcome(parts: Parts, clip: Path) -> None:
    def away(uri: str, folder: Path) -> Any:
        raise FetchUnavailable("away")

    with pytest.raises(FetchUnavailable):
        analyse(upload(clip), replace(parts, fetch=away))
    assert list(parts.scratch.glob("upload-*")) == []


@pytest.fixture
def cat_clip(settings: Settings) -> Path:
    """A photo of a cat, and something like a voice."""
    photo = data.cat()
    pictures = [np.ascontiguousarray(photo[step : step + 288, step : step + 384]) for step in range(0, 12)] * 3
    time_s = np.arange(3 * clips.SOUND_RATE) / clips.SOUND_RATE
    voice = sum(np.sin(2 * np.pi * 140 * k * time_s) / k for k in range(1, 9)) * (np.sin(2 * np.pi * 3 * time_s) > 0)
    heard = (0.1 * voice * np.ones((2, 1))).astype(np.float32)
    return clips.write(settings.media.roots[0] / "cat.mp4", pictures, heard, fps=12)


def test_heads_say_the_same_of_what_is_kept_as_of_the_file(parts: Parts, cat_clip: Path) -> None:
    """To the last digit, for every tagger that what is kept can feed; and without a network."""
    sent = upload(cat_clip, caption="a cat", hashtags=["dance"])
    analysis = analyse(sent, parts)
    document = analysis.document.to_json()
    assert document["topics"][0]["topic"] == "animals/cat" and document["events"]
    kept = {name: np.array(array) for name, array in analysis.artifacts.items()}
    for tagger in parts.taggers:
        if tagger.name in FRAMES_ONLY:
            continue
        mine = {name: kept[name] for name in names_for(tagger.encoders) if name in kept}
        encoders = {name: parts.encoders[name] for name in tagger.encoders}
        evidence = evidence_of(mine, encoders, sent.caption, sent.hashtags).evidence
        assert len(evidence.frames) == len(evidence.waveform) == 0
        draft = TagDocument.model_validate(
            {"upload_id": "u1", "outcome": "ok", tagger.section: tagger.tag(evidence)}
        ).to_json()
        assert draft[tagger.section] == document[tagger.section], tagger.name
    assert {row.encoder: row.version for row in analysis.encodings} == {
        name: encoder.version for name, encoder in parts.encoders.items()
    }


def test_what_is_not_kept_is_told(parts: Parts, clip: Path) -> None:
    picture = {"picture": parts.encoders["picture"]}
    kept = analyse(upload(clip, taggers=["layout"]), parts).artifacts
    with pytest.raises(NotKept, match="picture did not see it"):
        evidence_of(kept, picture)
    kept = analyse(upload(clip, taggers=["topics"]), parts).artifacts
    newer = SimpleNamespace(version="efficientnet-lite2@9")
    with pytest.raises(NotKept, match=r"was efficientnet-lite2@1, and is efficientnet-lite2@9"):
        evidence_of(kept, {"picture": newer})  # type: ignore[dict-item]
    with pytest.raises(NotKept, match="kept before"):
        evidence_of({"format": np.array([1])}, picture)
