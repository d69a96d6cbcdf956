from __future__ import annotations

from pathlib import Path

import pytest
import torch

from models.protocol import WeightsMissing
from models.sounds.speech import VERSIONS
from workers import hearing
from workers.settings import ModelSettings


def test_by_default_whisper_runs_where_it_is_installed(tmp_path: Path) -> None:
    models = ModelSettings(weights=tmp_path)
    assert not hearing.tells_language(models)
    assert set(hearing.encoders(models, torch.device("cpu"))) == {"outline", "musicnn"}
    events, speech = hearing.taggers(models)
    assert events.encoders == ("yamnet", "outline")
    assert speech.encoders == ("silero", "yamnet")


@pytest.mark.parametrize(("transcript", "dear"), [(False, ("whisper",)), (True, ("whisper", "words"))])
def test_what_is_set_is_asked_for_even_if_it_is_missing(
    tmp_path: Path, transcript: bool, dear: tuple[str, ...]
) -> None:
    models = ModelSettings(weights=tmp_path, language="on", transcript=transcript, sound_hub="somebody/ast@" + "0" * 40)
    made = hearing.encoders(models, torch.device("cpu"))
    assert set(made) == {"outline", "musicnn", "sound-hub", *dear}
    events, speech = hearing.taggers(models)
    assert events.encoders[-1] == "sound-hub"
    assert speech.encoders == ("silero", "yamnet", *dear)
    assert speech.version == "silero-vad-yamnet@2" + "".join(f"+{name}@{VERSIONS[name]}" for name in dear)


def test_off_is_off(tmp_path: Path) -> None:
    models = ModelSettings(weights=tmp_path, language="off", transcript=True)
    assert hearing.taggers(models)[1].encoders == ("silero", "yamnet")


def test_speech_is_judged_where_that_is_installed_or_set(tmp_path: Path) -> None:
    device = torch.device("cpu")
    assert "dnsmos" not in hearing.encoders(ModelSettings(weights=tmp_path), device)
    assert "dnsmos" not in hearing.encoders(ModelSettings(weights=tmp_path, speech_quality="off"), device)
    made = hearing.encoders(ModelSettings(weights=tmp_path, speech_quality="on"), device)
    with pytest.raises(WeightsMissing, match="tagfarm weights pull dnsmos"):
        made["dnsmos"]()
