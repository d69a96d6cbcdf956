"""A node with zero-shot labels whose hub cannot be reached tags without them, and says so."""

from __future__ import annotations

from pathlib import Path

import pytest

from models.topics.hub import UnpinnedModel
from models.topics.tagger import TopicsTagger
from models.topics.zeroshot_labels import LabelsError
from workers.build import build_models
from workers.settings import Settings


def settings(tmp_path: Path, labels: str, model: str) -> Settings:
    (tmp_path / "labels.yaml").write_text(labels)
    made = Settings(home=tmp_path / "home", _env_file=None)  # type: ignore[call-arg]
    made.models.taggers = ["topics"]
    made.models.zeroshot, made.models.zeroshot_labels = model, tmp_path / "labels.yaml"
    return made


LABELS = 'format: 1\nlabels: [{topic: food/ramen, prompts: ["a bowl of ramen"]}]\n'


def test_a_hub_that_cannot_be_reached_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    models = build_models(settings(tmp_path, LABELS, f"nobody/nothing@{'a' * 40}"))
    try:
        assert "zeroshot" not in models.encoders
        assert "nothing@aaaaaaaaaaaa cannot be loaded" in models.absent["zeroshot"]
        if "topics" in models.absent:
            pytest.skip(models.absent["topics"])
        (tagger,) = models.taggers
        assert isinstance(tagger, TopicsTagger) and "food/ramen" in tagger.taxonomy.index
    finally:
        models.close()


def test_what_a_person_wrote_wrong_ends_the_start(tmp_path):
    with pytest.raises(LabelsError, match=r"labels\.yaml"):
        build_models(settings(tmp_path, "format: 3", "x/y"))
    with pytest.raises(UnpinnedModel, match="COMMIT"):
        build_models(settings(tmp_path, LABELS, "google/siglip2-base-patch16-224"))


def test_the_default_model_is_pinned():
    from models.topics.hub import ModelName

    name = ModelName.parse(Settings(_env_file=None).models.zeroshot)  # type: ignore[call-arg]
    assert name.path == "google/siglip2-base-patch16-224" and len(name.revision or "") == 40
