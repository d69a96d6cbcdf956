"""The hub tier on a tiny transformer of the tests' own making: the same code takes the real one by one setting."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from models.protocol import Encoder, Encoding, Evidence
from models.sounds.audioset import class_names, indices
from models.sounds.events import EventsTagger
from models.sounds.hub import HubEncoder, HubUnusable

transformers = pytest.importorskip("transformers")
RATE = 16_000


def save(folder: Path, labels: list[str]) -> Path:
    """A transformer of AST's architecture, with so many labels."""
    torch.manual_seed(5)
    config = transformers.ASTConfig(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, max_length=128,
        num_mel_bins=32, id2label=dict(enumerate(labels)), label2id={label: i for i, label in enumerate(labels)},
    )  # fmt: skip
    transformers.ASTForAudioClassification(config).save_pretrained(folder)
    transformers.ASTFeatureExtractor(num_mel_bins=32, max_length=128).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    # In another order than YAMNet's, some missing and some that YAMNet has not: as AST's 527.
    labels = ["Something else", *reversed(class_names()[:500])]
    return save(tmp_path_factory.mktemp("hub") / "tiny-ast", labels)


@pytest.fixture(scope="module")
def encoder(tiny: Path) -> Iterator[HubEncoder]:
    made = HubEncoder(str(tiny), device=torch.device("cpu"))
    yield made
    made.close()


def evidence(sound: np.ndarray, **encodings: Encoding) -> Evidence:
    none = np.zeros((0, 1, 1, 3), np.uint8)
    return Evidence(len(sound) / RATE, none, np.zeros(0), (), sound.astype(np.float32), encodings=encodings)


def test_scores_are_the_networks_own_by_yamnets_names(encoder: HubEncoder, tiny: Path) -> None:
    assert isinstance(encoder, Encoder)
    sound = 0.1 * np.random.default_rng(0).standard_normal(RATE)
    found = encoder.encode(evidence(sound))
    assert found.scores.shape == (1, 521) and found.encoder == "hub:tiny-ast"
    network = transformers.ASTForAudioClassification.from_pretrained(tiny)
    features = transformers.ASTFeatureExtractor.from_pretrained(tiny)
    with torch.inference_mode():
        heard = features([sound.astype(np.float32)], sampling_rate=RATE, return_tensors="pt")
        theirs = torch.sigmoid(network(**heard).logits)[0].numpy()
    for name in ("Speech", "Dog", "Music"):
        place = network.config.label2id[name]
        assert found.scores[0, indices([name])[0]] == pytest.approx(theirs[place], abs=2e-3)
    assert (found.scores[0, 500:] < 1e-6).all()
    assert (found.scores == encoder.scores_of(found.embeddings)).all()


def test_windows_overlap_by_half_and_reach_the_end(encoder: HubEncoder) -> None:
    found = encoder.encode(evidence(np.zeros(5 * RATE)))
    assert encoder.window_s == pytest.approx(1.28)
    assert found.times_s[:3].tolist() == pytest.approx([0, 0.64, 1.28])
    assert found.times_s[-1] + encoder.window_s >= 5
    assert len(encoder.encode(evidence(np.zeros(0))).times_s) == 0


def test_the_hub_says_what_and_yamnet_when() -> None:
    rows = np.zeros((30, 521), np.float32)
    rows[10:13, indices(["Owl"])] = 0.1
    yamnet = Encoding("yamnet@2", np.arange(30) * 0.48, 0.48, np.zeros((30, 0), np.float32), rows)
    better = np.full((3, 521), 0.001, np.float32)
    better[1, indices(["Owl"])] = 0.9
    hub = Encoding("hub:x", np.arange(3) * 5.12, 5.12, np.zeros((3, 0), np.float32), better)
    tagger = EventsTagger(hub=True)
    assert tagger.encoders[-1] == "sound-hub" and tagger.version != EventsTagger().version
    found = tagger.tag(evidence(np.zeros(15 * RATE), **{"yamnet": yamnet, "sound-hub": hub}))
    assert found[0]["event"] == "Owl" and found[0]["score"] > 0.8
    assert found[0]["ranges"] == [[5.04, 6.48]]


@pytest.mark.parametrize(
    ("source", "said"), [("MIT/ast", "name a revision"), ("MIT/ast@main", "name a revision"), ("/none@" + "0" * 40, "")]
)
def test_what_cannot_be_loaded_is_said(source: str, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(HubUnusable, match=said):
        HubEncoder(source, device=torch.device("cpu"))


def test_other_labels_are_refused(tmp_path: Path) -> None:
    with pytest.raises(HubUnusable, match="labels"):
        HubEncoder(str(save(tmp_path / "speech-commands", ["yes", "no"])), device=torch.device("cpu"))
