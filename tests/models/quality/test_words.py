import pytest

from models.quality.scores import picture_parts, sound_parts
from models.quality.words import PLAIN_WORDS, detail_lines, in_order, picture_words, sound_words

from .test_scores import FINE_PICTURE, FINE_SOUND


def _picture(**measures: object) -> list[str]:
    seen = {**FINE_PICTURE, **measures}
    return in_order(picture_words(picture_parts(seen), seen))


def _sound(**measures: object) -> list[str]:
    heard = {**FINE_SOUND, **measures}
    return in_order(sound_words(sound_parts(heard), heard))


def test_of_what_is_fine_nothing_is_said() -> None:
    assert _picture() == [] and _sound() == []


@pytest.mark.parametrize(
    ("measures", "words"),
    [
        ({"blur_px": 6.0}, "soft focus or upscaled, detail of 71 lines"),
        ({"noise": 20.0}, "noisy picture"),
        ({"blockiness": 3.0, "quantiser": None}, "compression blocks"),
        ({"quantiser": 42.0}, "compression blocks"),
        ({"white": 60.0}, "too dark"),
        ({"brightness": 5.0}, "too dark"),
        ({"burnt_share": 0.9}, "too bright"),
        ({"tones": 40.0}, "low contrast"),
        ({"banding": 30.0}, "banding"),
        ({"bars": [0.0, 0.25, 0.0, 0.25]}, "black bars on 50% of the picture"),
        ({"jitter": 0.04}, "shaky"),
        ({"freeze_share": 0.6}, "stands still for 60% of the time"),
        ({"hold_s": 0.25}, "judders, 4 pictures a second"),
        ({"flicker": 20.0}, "flickers"),
    ],
)
def test_words_for_a_picture(measures: dict[str, object], words: str) -> None:
    assert _picture(**measures) == [words]


@pytest.mark.parametrize(
    ("measures", "words"),
    [
        ({"loudness_lufs": -45.0}, "too quiet, -45 LUFS"),
        ({"rail_share": 0.2}, "clipped sound"),
        ({"bandwidth_hz": 4_000.0}, "4 kHz sound"),
        ({"bandwidth_hz": 1_500.0}, "muffled sound, nothing above 1.5 kHz"),
        ({"clarity_db": 2.0, "floor_db": -16.0}, "noisy sound"),
        ({"hum_db": -25.0}, "mains hum"),
        ({"dropouts_per_s": 3.0}, "3.0 dropouts a second"),
        ({"dynamics_db": 0.5}, "crushed dynamics"),
    ],
)
def test_words_for_a_sound(measures: dict[str, object], words: str) -> None:
    assert _sound(**measures) == [words]


def test_the_worst_comes_first() -> None:
    assert _picture(brightness=2.0, white=15.0, blur_px=2.5)[0] == "too dark"


def test_every_word_has_a_part() -> None:
    parts = (
        set(picture_parts(FINE_PICTURE))
        | set(sound_parts({**FINE_SOUND, "hum_db": -40.0}))
        | {"noise_of_sound", "speech"}
    )
    assert set(PLAIN_WORDS) <= parts


@pytest.mark.parametrize("measures", [{}, {"width": 1, "height": 1}, {"width": 640, "height": 360, "blur_px": None}])
def test_detail_of_odd_pictures(measures: dict[str, object]) -> None:
    lines = detail_lines(measures)
    assert lines is None or 1 <= lines <= 360
