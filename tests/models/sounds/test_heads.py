"""The heads on encodings written by hand: what they must say is then known exactly."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.protocol import Encoding, Evidence, Tagger
from models.sounds.audioset import class_names, indices
from models.sounds.event_calibration import load_event_calibration
from models.sounds.events import EventsTagger
from models.sounds.music import MusicTagger, tag_name
from models.sounds.musicnn_tags import COLUMNS
from models.sounds.speech import SpeechTagger
from models.sounds.whisper_languages import LANGUAGES
from tasks.contract import Event, Music, Speech


def yamnet(rows: int, **_: Any) -> Encoding:
    return Encoding(
        "yamnet@2",
        np.arange(rows, dtype=np.float64) * 0.48,
        0.48,
        np.zeros((rows, 0), np.float32),
        np.zeros((rows, 521), np.float32),
    )


def silero(rows: int) -> Encoding:
    return Encoding(
        "silero-vad@1",
        np.arange(rows, dtype=np.float64) * 0.032,
        0.032,
        np.zeros((rows, 0), np.float32),
        np.zeros((rows, 1), np.float32),
    )


def heard(encoding: Encoding, name: str, first: int, last: int, score: float) -> None:
    encoding.scores[first:last, indices([name])[0]] = score


def evidence(
    duration_s: float, tempo: dict[str, Any] | None = None, key: dict[str, Any] | None = None, **encodings: Encoding
) -> Evidence:
    return Evidence(
        duration_s,
        np.zeros((0, 1, 1, 3), np.uint8),
        np.zeros(0),
        (),
        np.zeros(0, np.float32),
        encodings=encodings,
        observations={name: seen for name, seen in (("tempo", tempo), ("key", key)) if seen},
    )


@pytest.mark.parametrize("tagger", [EventsTagger(), MusicTagger(), SpeechTagger()])
def test_no_sound_gives_nothing(tagger: Tagger) -> None:
    assert isinstance(tagger, Tagger)
    section = tagger.tag(evidence(0.0, yamnet=yamnet(0), silero=silero(0)))
    expected = {
        "events": [],
        "music": {"present": 0.0, "tempo_bpm": None, "key": None, "vocals": None, "tags": []},
        "speech": {"present": 0.0, "ranges": [], "language": None, "transcript": None},
    }
    assert section == expected[tagger.section]


def test_events_have_ranges_with_hysteresis_strongest_first() -> None:
    encoding = yamnet(30)
    heard(encoding, "Dog", 5, 10, 0.15)
    heard(encoding, "Dog", 6, 8, 0.9)
    heard(encoding, "Dog", 20, 25, 0.2)  # never reaches the beginning threshold
    heard(encoding, "Bark", 6, 7, 0.6)
    heard(encoding, "Silence", 0, 30, 0.99)
    found = EventsTagger().tag(evidence(15.0, yamnet=encoding))
    assert [(event["event"], event["ranges"], event["implied"]) for event in found] == [
        ("Dog", [[2.64, 5.04]], False),
        ("Bark", [[3.12, 3.6]], False),
        ("Domestic animals, pets", [[2.64, 5.04]], True),
        ("Animal", [[2.64, 5.04]], True),
    ]
    assert found[1]["above"] == ["Dog", "Domestic animals, pets", "Animal"]
    # The bark stands in one patch alone.
    assert found[0]["score"] == found[2]["score"] == found[3]["score"] > 0.5 > found[1]["score"] > 0.2


def told(encoding: Encoding) -> dict[str, float]:
    found = EventsTagger().tag(evidence(14.9, yamnet=encoding))
    return {event["event"]: event["score"] for event in found if not event["implied"]}


def test_a_faint_event_is_told_with_a_low_chance_and_not_where_silence_is_as_likely() -> None:
    encoding = yamnet(30)
    heard(encoding, "Owl", 10, 12, 0.2)
    heard(encoding, "Hoot", 10, 12, 0.03)
    assert list(told(encoding)) == ["Owl"]
    assert 0.1 <= told(encoding)["Owl"] < 0.35
    heard(encoding, "Silence", 10, 12, 0.5)
    assert told(encoding) == {}


def test_behind_the_first_five_only_what_is_likelier_is_told() -> None:
    encoding = yamnet(30)
    for name in ("Dog", "Cat", "Pig", "Rain", "Wind"):
        heard(encoding, name, 0, 5, 0.5)
    heard(encoding, "Tick", 10, 12, 0.12)
    assert "Tick" not in told(encoding)
    encoding.scores[:, indices(["Wind"])] = 0
    assert list(told(encoding))[4:] == ["Tick"]


def test_a_class_is_as_sure_as_what_implies_it_and_lasts_as_long() -> None:
    encoding = yamnet(30)
    heard(encoding, "Animal", 0, 4, 0.3)
    heard(encoding, "Bark", 20, 24, 0.95)
    found = {event["event"]: event for event in EventsTagger().tag(evidence(14.9, yamnet=encoding))}
    assert found["Animal"]["score"] == found["Bark"]["score"]
    assert not found["Animal"]["implied"] and found["Dog"]["implied"]
    assert len(found["Animal"]["ranges"]) == 2


def test_an_event_of_the_whole_sound_has_the_whole_sound_as_its_range() -> None:
    encoding = yamnet(4)
    heard(encoding, "Rain", 0, 4, 0.8)
    assert EventsTagger().tag(evidence(2.0, yamnet=encoding))[0]["ranges"] == [[0.0, 2.0]]


def test_events_are_bounded() -> None:
    encoding = yamnet(1200)
    encoding.scores[::2] = 0.9
    events = EventsTagger().tag(evidence(600.0, yamnet=encoding))
    assert len([event for event in events if not event["implied"]]) == 20
    assert all(len(event["ranges"]) == 50 for event in events)


def test_speech_needs_both_networks() -> None:
    events, voice = yamnet(30), silero(450)
    voice.scores[100:200] = 0.9
    said = SpeechTagger().tag(evidence(14.4, yamnet=events, silero=voice))
    assert said["present"] == 0.0
    heard(events, "Speech", 6, 14, 0.4)
    said = SpeechTagger().tag(evidence(14.4, yamnet=events, silero=voice))
    assert said["ranges"] == [[3.17, 6.43]]
    assert said["present"] == pytest.approx(3.26 / 14.4, abs=0.001)
    heard(events, "Singing", 6, 14, 0.5)
    assert SpeechTagger().tag(evidence(14.4, yamnet=events, silero=voice))["present"] == 0.0


def test_short_speech_needs_more_certainty_and_a_blip_is_none() -> None:
    events, voice = yamnet(30), silero(450)
    heard(events, "Speech", 0, 30, 0.4)
    voice.scores[100:120] = 0.9  # 0.64 s
    assert SpeechTagger().tag(evidence(14.4, yamnet=events, silero=voice))["present"] == 0.0
    heard(events, "Speech", 0, 30, 0.6)
    assert SpeechTagger().tag(evidence(14.4, yamnet=events, silero=voice))["present"] > 0.0
    voice.scores[:] = 0
    voice.scores[100:105] = 0.9
    assert SpeechTagger().tag(evidence(14.4, yamnet=events, silero=voice))["present"] == 0.0


def test_short_pauses_do_not_split_speech() -> None:
    events, voice = yamnet(30), silero(450)
    heard(events, "Speech", 0, 30, 0.9)
    voice.scores[100:150] = 0.9
    voice.scores[108:112] = 0.0
    voice.scores[200:250] = 0.9
    assert len(SpeechTagger().tag(evidence(14.4, yamnet=events, silero=voice))["ranges"]) == 2


def test_music_in_a_part_of_the_sound_is_present_and_a_honk_is_not() -> None:
    encoding = yamnet(40)
    heard(encoding, "Music", 10, 20, 0.98)
    heard(encoding, "Electronic music", 10, 20, 0.5)
    heard(encoding, "Singing", 10, 20, 0.3)
    heard(encoding, "Guitar", 30, 40, 0.9)
    tempo = {"tempo_bpm": 128.0, "confidence": 0.6}
    key = {"key": "A minor", "correlation": 0.9, "margin": 0.2}
    section = MusicTagger().tag(evidence(19.7, tempo, key, yamnet=encoding))
    assert section == {
        "present": 0.98,
        "tempo_bpm": 128.0,
        "key": "A minor",
        "vocals": 0.3,
        "tags": [{"tag": "electronic", "score": 0.5}],
    }
    honk = yamnet(2)
    heard(honk, "Music", 0, 2, 0.9)
    section = MusicTagger().tag(evidence(1.4, tempo, yamnet=honk))
    assert section["present"] == pytest.approx(0.45)
    assert section["tempo_bpm"] is None


@pytest.mark.parametrize(
    "tempo",
    [None, {"error": "it broke"}, {"tempo_bpm": None, "confidence": 0.0}, {"tempo_bpm": 120.0, "confidence": 0.05}],
)
def test_an_unsure_tempo_is_not_told(tempo: dict[str, Any] | None) -> None:
    encoding = yamnet(10)
    heard(encoding, "Music", 0, 10, 0.98)
    assert MusicTagger().tag(evidence(5.0, tempo, yamnet=encoding))["tempo_bpm"] is None


@pytest.mark.parametrize(
    "key",
    [
        None,
        {"error": "it broke"},
        {"key": "C major", "correlation": 0.6, "margin": 0.3},
        {"key": "C major", "correlation": 0.9, "margin": 0.05},
    ],
)
def test_an_unclear_key_is_unknown(key: dict[str, Any] | None) -> None:
    encoding = yamnet(10)
    heard(encoding, "Music", 0, 10, 0.98)
    assert MusicTagger().tag(evidence(5.0, None, key, yamnet=encoding))["key"] is None


def musicnn(**scores: float) -> Encoding:
    encoding = Encoding("musicnn@1", np.zeros(2), 3.0, np.zeros((2, 0), np.float32), np.zeros((2, 100), np.float32))
    for name, score in scores.items():
        encoding.scores[:, COLUMNS.index(name.replace("_", " "))] = score
    return encoding


def test_listeners_tags_join_the_networks_own_and_tell_of_a_voice() -> None:
    encoding = yamnet(10)
    heard(encoding, "Music", 0, 10, 0.98)
    heard(encoding, "Electronic music", 0, 10, 0.3)
    sung = musicnn(electronic=0.6, guitar=0.4, piano=0.1, vocals=0.7, no_vocals=0.1)
    section = MusicTagger().tag(evidence(5.0, yamnet=encoding, musicnn=sung))
    assert section["tags"] == [{"tag": "electronic", "score": 0.6}, {"tag": "guitar", "score": 0.4}]
    assert section["vocals"] > 0.5
    instrumental = musicnn(vocals=0.1, no_vocals=0.6)
    assert MusicTagger().tag(evidence(5.0, yamnet=encoding, musicnn=instrumental))["vocals"] < 0.1


def whisper(**chances: float) -> Encoding:
    encoding = Encoding(
        "whisper-base@1", np.zeros(1), 30.0, np.zeros((1, 0), np.float32), np.zeros((1, 99), np.float32)
    )
    for language, chance in chances.items():
        encoding.scores[0, LANGUAGES.index(language)] = chance
    return encoding


@pytest.mark.parametrize(
    ("chances", "language"),
    [
        ({"it": 0.8, "es": 0.1}, "it"),
        ({"it": 0.3, "es": 0.3, "pt": 0.2}, None),
        ({"la": 0.6, "it": 0.3}, "it"),  # nobody speaks Latin
        ({"nn": 0.3, "no": 0.3, "sv": 0.2}, "no"),
        ({"jw": 0.9}, "jv"),
    ],
)
def test_the_language_is_told_when_it_is_likely(chances: dict[str, float], language: str | None) -> None:
    given = evidence(14.4, yamnet=yamnet(30), silero=silero(450), whisper=whisper(**chances))
    tagger = SpeechTagger(language=True)
    assert tagger.encoders == ("silero", "yamnet", "whisper")
    assert tagger.tag(given)["language"] == language


def test_words_come_back_from_their_bytes_and_only_if_asked() -> None:
    text = "Perché no?"
    rows = np.frombuffer(text.encode(), np.uint8).astype(np.float32)[:, None]
    words = Encoding("whisper-base@1", np.zeros(len(rows)), 30.0, np.zeros((len(rows), 0), np.float32), rows)
    given = evidence(14.4, yamnet=yamnet(30), silero=silero(450), whisper=whisper(it=0.9), words=words)
    assert SpeechTagger(language=True, transcript=True).tag(given)["transcript"] == text
    assert SpeechTagger(language=True).tag(given)["transcript"] is None


def test_tag_names() -> None:
    assert tag_name("Electronic music") == "electronic"
    assert tag_name("Violin, fiddle") == "violin"
    assert tag_name("Music of Africa") == "music of africa"


def test_class_names_are_unique() -> None:
    assert len(set(class_names())) == 521


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 40), st.integers(0, 2**32 - 1), st.floats(0.0, 30.0), st.floats(0.05, 1.0))
def test_whatever_the_scores_the_sections_keep_the_contract(
    rows: int, seed: int, duration_s: float, strength: float
) -> None:
    rng = np.random.default_rng(seed)
    events, voice = yamnet(rows), silero(rows * 15)
    events.scores[:] = rng.random(events.scores.shape) * strength
    voice.scores[:] = np.repeat(rng.random((rows, 1)), 15, axis=0)
    given_evidence = evidence(duration_s, {"tempo_bpm": 90.0, "confidence": 1.0}, yamnet=events, silero=voice)
    found = EventsTagger().tag(given_evidence)
    speech = SpeechTagger().tag(given_evidence)
    music = MusicTagger().tag(given_evidence)
    Music.model_validate(music)
    Speech.model_validate(speech)
    ranges = speech["ranges"] + [span for event in map(Event.model_validate, found) for span in event.ranges]
    assert all(0 <= start <= end for start, end in ranges)
    for implied in (False, True):
        scores = [event["score"] for event in found if event["implied"] is implied]
        assert scores == sorted(scores, reverse=True)
    scored = {event["event"]: event["score"] for event in found}
    assert all(scored[one] >= event["score"] for event in found for one in event["above"])
    json.dumps([found, speech, music], allow_nan=False)
    assert found == EventsTagger().tag(given_evidence)


def test_a_class_that_holds_is_surer_than_one_that_one_patch_hears() -> None:
    dog, bell = class_names().index("Dog"), class_names().index("Bell")
    scores = np.full((40, 521), 0.001, np.float32)
    scores[10:14, dog] = 0.4
    scores[20, bell] = 0.4
    chances = load_event_calibration()(scores)
    assert chances[dog] > chances[bell]
    # A long sound is no disadvantage to what is heard for two seconds of it.
    assert load_event_calibration()(scores[10:21])[dog] == pytest.approx(chances[dog])
