"""On tiny networks of CLIP's and SigLIP's kind, made here: loading, preprocessing, cache, batching, fall-back."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import numpy as np
import pytest
import torch

from models.protocol import Encoder, Evidence
from models.topics.hub import HubUnavailable, ModelName, PairedModel, UnpinnedModel
from models.topics.tagger import TopicsTagger
from models.topics.taxonomy import load_taxonomy
from models.topics.zeroshot import ZeroShotEncoder
from models.topics.zeroshot_labels import LabelsError, load_labels

CPU = torch.device("cpu")
WORDS = ["a", "photo", "of", "ramen", "bowl", "cat", "something", "picture", "frame", "video", "the"]
LABELS = """
format: 1
labels:
  - topic: food/ramen
    names: {en: Ramen, it: Ramen giapponese}
    prompts: ["a photo of ramen", "a bowl of ramen"]
  - topic: animals/cat
    prompts: ["a photo of a cat"]
    weight: 0.5
"""


def tokenizer_in(folder: Path) -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    vocabulary = {word: number for number, word in enumerate(["<pad>", "<unk>", "<s>", "</s>", *WORDS])}
    made = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.post_processor = processors.TemplateProcessing(single="<s> $A </s>", special_tokens=[("<s>", 2), ("</s>", 3)])
    special = {"pad_token": "<pad>", "unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>"}
    PreTrainedTokenizerFast(tokenizer_object=made, **special).save_pretrained(folder)


def tiny(kind: str, folder: Path) -> Path:
    import transformers as hub

    torch.manual_seed(3)
    common = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2}
    text = {**common, "vocab_size": 4 + len(WORDS), "max_position_embeddings": 12, "pad_token_id": 0}
    text |= {"bos_token_id": 2, "eos_token_id": 3}
    vision = {**common, "image_size": 32, "patch_size": 8}
    if kind == "clip":
        sizes = {"projection_dim": 12}
        text["projection_dim"] = vision["projection_dim"] = 12
        network = hub.CLIPModel(hub.CLIPConfig(text_config=text, vision_config=vision, **sizes))
        crop = {"height": 32, "width": 32}
        processor = hub.CLIPImageProcessor(size={"shortest_edge": 32}, crop_size=crop)
    else:
        text["projection_size"] = 16
        network = hub.SiglipModel(hub.SiglipConfig(text_config=text, vision_config=vision))
        processor = hub.SiglipImageProcessor(size={"height": 32, "width": 32})
    network.save_pretrained(folder)
    processor.save_pretrained(folder)
    tokenizer_in(folder)
    return folder


@pytest.fixture(scope="module", params=["clip", "siglip"])
def model(request, tmp_path_factory) -> Path:
    return tiny(request.param, tmp_path_factory.mktemp(request.param))


@pytest.fixture(scope="module")
def labels(tmp_path_factory):
    path = tmp_path_factory.mktemp("labels") / "labels.yaml"
    path.write_text(LABELS)
    return load_labels(path)


def upload(count: int = 5, seed: int = 0) -> Evidence:
    frames = np.random.default_rng(seed).integers(0, 256, (count, 40, 60, 3), dtype=np.uint8)
    return Evidence(float(count), frames, np.arange(count) * 1.0, [(0.0, float(count))], np.zeros(0, np.float32))


def test_it_keeps_the_protocol_and_its_scores_follow_from_what_is_kept(model, labels, tmp_path):
    encoder = ZeroShotEncoder(str(model), labels, tmp_path, device=CPU)
    try:
        assert isinstance(encoder, Encoder) and encoder.version == f"{model.name}@local"
        seen = encoder.encode(upload())
        assert seen.embeddings.shape[0] == 5 and seen.scores.shape == (5, 2)
        assert np.allclose(np.linalg.norm(seen.embeddings, axis=1), 1, atol=2e-3)
        kept = seen.embeddings.astype(np.float16).astype(np.float32)
        assert np.array_equal(encoder.scores_of(kept), seen.scores)
        assert np.array_equal(encoder.encode(upload()).scores, seen.scores)  # the same every time
        assert ((seen.scores > 0) & (seen.scores < 1)).all()
        empty = encoder.encode(upload(0))
        assert empty.scores.shape == (0, 2) and empty.embeddings.shape == (0, seen.embeddings.shape[1])
    finally:
        encoder.close()


def test_scores_are_those_of_the_networks_own_forward_pass(model, labels, tmp_path):
    from transformers import AutoImageProcessor, AutoModel, AutoTokenizer

    encoder = ZeroShotEncoder(str(model), labels, tmp_path, device=CPU)
    try:
        seen = encoder.encode(upload(2))
    finally:
        encoder.close()
    network, tokenizer = AutoModel.from_pretrained(model).eval(), AutoTokenizer.from_pretrained(model)
    pixels = AutoImageProcessor.from_pretrained(model)(images=list(upload(2).frames), return_tensors="pt").pixel_values
    siglip = hasattr(network, "logit_bias")
    prompts = ["a photo of a cat", *labels.background]
    padding = {"padding": "max_length", "max_length": 12} if siglip else {"padding": True}
    words = tokenizer(prompts, return_tensors="pt", **padding)
    given = {"input_ids": words["input_ids"]} | ({} if siglip else {"attention_mask": words["attention_mask"]})
    with torch.inference_mode():
        logits = network(pixel_values=pixels, **given).logits_per_image
    expected = torch.sigmoid(logits[:, 0]) if siglip else logits.softmax(1)[:, 0]
    assert np.allclose(seen.scores[:, 1], expected.numpy(), atol=5e-3)


def test_another_label_changes_no_other_score(model, tmp_path):
    few, many = tmp_path / "few.yaml", tmp_path / "many.yaml"
    few.write_text('format: 1\nlabels: [{topic: animals/cat, prompts: ["a photo of a cat"]}]\n')
    many.write_text(few.read_text().replace("]}]", ']}, {topic: food/ramen, prompts: ["a bowl of ramen"]}]'))
    scores = []
    for path in (few, many):
        encoder = ZeroShotEncoder(str(model), load_labels(path), tmp_path, device=CPU)
        scores.append(encoder.encode(upload()).scores[:, 0])
        encoder.close()
    assert np.allclose(scores[0], scores[1], atol=1e-6)


def test_uploads_share_batches_and_get_their_own_rows(model, labels, tmp_path):
    encoder = ZeroShotEncoder(str(model), labels, tmp_path, device=CPU, max_batch=8, max_wait_s=0.2)
    alone = {seed: encoder.encode(upload(4, seed)).scores for seed in range(4)}
    together: dict[int, np.ndarray] = {}
    before = encoder.batcher.stats().batches
    threads = [
        threading.Thread(target=lambda s=seed: together.__setitem__(s, encoder.encode(upload(4, s)).scores))
        for seed in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert encoder.batcher.stats().batches - before < 4
    encoder.close()
    for seed, scores in together.items():
        assert np.allclose(scores, alone[seed], atol=2e-3)


def test_prompts_are_embedded_once_for_a_revision(model, labels, tmp_path, monkeypatch):
    pinned = ModelName(str(model), "a" * 40)
    encoder = ZeroShotEncoder(str(model), labels, tmp_path, device=CPU)
    prompts = ["a photo of a cat", "a bowl of ramen"]
    first = encoder._texts(pinned, prompts, tmp_path / "cache")
    monkeypatch.setattr(PairedModel, "texts", lambda self, texts: pytest.fail("embedded again"))
    assert np.array_equal(encoder._texts(pinned, prompts, tmp_path / "cache"), first)
    monkeypatch.undo()
    assert len(list((tmp_path / "cache").iterdir())) == 1
    encoder._texts(ModelName(str(model), "b" * 40), prompts, tmp_path / "cache")
    encoder._texts(pinned, prompts[:1], tmp_path / "cache")
    assert len(list((tmp_path / "cache").iterdir())) == 3
    for kept in (tmp_path / "cache").iterdir():
        kept.write_bytes(b"torn")
    assert np.allclose(encoder._texts(pinned, prompts, tmp_path / "cache"), first)
    encoder.close()


def test_a_new_topic_is_said_from_prompts_alone(model, labels, tmp_path):
    encoder = ZeroShotEncoder(str(model), labels, tmp_path, device=CPU)
    tagger = TopicsTagger(labels=labels)
    shown = upload()
    seen = encoder.encode(shown)
    encoder.close()
    sure = seen.scores.copy()
    sure[:, 0], sure[:, 1] = 0.99, 0.0
    from dataclasses import replace

    black = replace(shown, encodings={"zeroshot": replace(seen, scores=sure)})
    assert tagger.tag(black) == []  # topics are scored at the picture's moments, and there is no picture encoding
    width = 1280
    picture = replace(
        seen,
        encoder="efficientnet-lite2@1",
        embeddings=np.zeros((5, width), np.float32),
        scores=np.full((5, 1000), 0.001, np.float32),
    )
    said = tagger.tag(replace(black, encodings={**black.encodings, "picture": picture}))
    assert said[0]["topic"] == "food/ramen" and said[0]["from"][-1] == "zeroshot"
    assert said[0]["score"] >= 0.89
    assert tagger.version.endswith(f"+zeroshot-{labels.digest}")
    assert tagger.taxonomy.topics[-1].names["it"] == "Ramen giapponese"


def test_a_model_that_cannot_be_had_is_a_typed_failure(labels, tmp_path, monkeypatch):
    with pytest.raises(UnpinnedModel, match="40 digits"):
        ZeroShotEncoder("openai/clip-vit-base-patch32", labels, tmp_path, device=CPU)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    (tmp_path / "empty").mkdir()
    with pytest.raises(HubUnavailable, match="TAGFARM_MODELS__ZEROSHOT"):
        ZeroShotEncoder(str(tmp_path / "empty"), labels, tmp_path, device=CPU)


def test_a_model_of_another_kind_is_refused(labels, tmp_path):
    from transformers import BertConfig, BertModel

    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 8}
    BertModel(BertConfig(vocab_size=20, **sizes)).save_pretrained(tmp_path)
    tokenizer_in(tmp_path)
    with pytest.raises(HubUnavailable):
        ZeroShotEncoder(str(tmp_path), labels, tmp_path, device=CPU)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("[", "cannot be read"),
        ("format: 2\nlabels: []", "format: 1"),
        ("format: 1\nlabels: []", "list of 1"),
        ("format: 1\nlabels: [{topic: Food, prompts: [x]}]", "parent/child"),
        ("format: 1\nlabels: [{topic: food, prompts: []}]", "prompts"),
        ("format: 1\nlabels: [{topic: food, prompts: [x]}, {topic: food, prompts: [y]}]", "twice"),
        ("format: 1\nlabels: [{topic: food, prompts: [x], weight: 1.5}]", "weight"),
        ("format: 1\nlabels: [{topic: food, prompts: [x], wieght: 0.5}]", "not known"),
        ("format: 1\nbackground: []\nlabels: [{topic: food, prompts: [x]}]", "background"),
    ],
)
def test_a_faulty_file_is_refused_with_its_fault(text, fault, tmp_path):
    path = tmp_path / "labels.yaml"
    path.write_text(text)
    with pytest.raises(LabelsError, match=fault):
        load_labels(path)


def test_the_digest_follows_what_can_change_a_score(labels, tmp_path):
    path = tmp_path / "labels.yaml"
    path.write_text(LABELS.replace("Ramen giapponese", "Ramen"))
    assert load_labels(path).digest == labels.digest
    path.write_text(LABELS.replace("a bowl", "the bowl"))
    assert load_labels(path).digest != labels.digest
    assert json.dumps(sorted(labels.extended(load_taxonomy()).index)).count("ramen") == 1
