import json
from collections.abc import Callable
from typing import Any

import av
import cv2
import numpy as np
import pytest
from scipy.stats import spearmanr

from models.protocol import Evidence, Tagger
from models.quality.tagger import QualityTagger, explain, picture_quality, sound_quality, stands_still
from tasks.contract import Quality

Watch = Callable[..., dict[str, Any]]
Hear = Callable[..., dict[str, Any]]
MID = 110.0
"""Mean luma that exposure is changed from, grey levels."""


def _evidence(observations: dict[str, Any], still: bool = False, has_audio: bool = True) -> Evidence:
    return Evidence(
        duration_s=1.0, frames=np.zeros((0, 2, 2, 3), np.uint8), frame_times_s=np.zeros(0), shots=[],
        waveform=np.zeros(0, np.float32), still=still, has_audio=has_audio, observations=observations,
    )  # fmt: skip


def _blur(photo: np.ndarray, sigma: float) -> np.ndarray:
    return cv2.GaussianBlur(photo, (0, 0), sigma)


def _noise(photo: np.ndarray, sigma: float) -> np.ndarray:
    return np.clip(photo + np.random.default_rng(1).normal(0.0, sigma, photo.shape), 0, 255).astype(np.uint8)


def _jpeg(photo: np.ndarray, quality: float) -> np.ndarray:
    coded = cv2.imencode(".jpg", photo, [cv2.IMWRITE_JPEG_QUALITY, int(quality)])[1]
    return cv2.imdecode(coded, cv2.IMREAD_GRAYSCALE)


def _h264(photo: np.ndarray, crf: float) -> np.ndarray:
    height, width = (side // 2 * 2 for side in photo.shape)
    encoder = av.CodecContext.create("libx264", "w")
    encoder.width, encoder.height, encoder.pix_fmt, encoder.framerate = width, height, "yuv420p", 25
    encoder.options = {"crf": str(crf), "preset": "fast", "x264-params": "log-level=none"}
    encoder.time_base = 1 / encoder.framerate
    packets = []
    for shift in range(5):
        plane = np.roll(photo[:height, :width], 2 * shift, axis=1)
        packets += encoder.encode(av.VideoFrame.from_ndarray(plane, format="gray").reformat(format="yuv420p"))
    packets += encoder.encode(None)
    decoder = av.CodecContext.create("h264", "r")
    frames = [frame for packet in [*packets, None] for frame in decoder.decode(packet)]
    return frames[3].to_ndarray(format="gray")


def _light(photo: np.ndarray, gain: float) -> np.ndarray:
    return np.clip(photo * (MID / photo.mean() * gain), 0, 255).astype(np.uint8)


WORSE: dict[str, tuple[Callable[[np.ndarray, float], np.ndarray], list[float]]] = {
    "blur": (_blur, [0.6, 1.2, 2.0, 3.5, 6.0]),
    "noise": (_noise, [2, 5, 10, 18, 30]),
    "jpeg": (_jpeg, [85, 50, 25, 12, 5]),
    "h264": (_h264, [23, 32, 38, 44, 50]),
    "dark": (_light, [1.0, 0.6, 0.35, 0.2, 0.1]),
    "bright": (_light, [1.0, 1.5, 2.2, 3.2, 5.0]),
}


@pytest.mark.parametrize("distortion", list(WORSE))
def test_worse_pictures_score_lower(watch: Watch, photos: dict[str, np.ndarray], distortion: str) -> None:
    """Spearman's rank correlation of score and severity, within each photograph."""
    spoil, levels = WORSE[distortion]
    for name, photo in photos.items():
        scores = [picture_quality(watch([spoil(photo, level)]), still=True)["score"] for level in levels]  # type: ignore[index]
        assert -spearmanr(scores, range(len(levels)))[0] >= 0.89, (name, scores)
        assert scores[-1] < 0.85 * scores[0], (name, scores)


def test_worse_sound_scores_lower(hear: Hear) -> None:
    rng = np.random.default_rng(0)
    bursts = rng.normal(0.0, 0.2, (1, 48_000 * 3)) * np.repeat(rng.random(30) ** 3, 4800)
    noise = rng.normal(0.0, 1.0, bursts.shape)
    spoiled = {
        "noise": [bursts + level * noise for level in (0.0, 0.003, 0.01, 0.03, 0.1)],
        "clipping": [np.clip(bursts * gain, -1, 1) * 0.5 for gain in (1, 4, 8, 16, 40)],
        "quiet": [bursts * gain for gain in (1, 0.3, 0.1, 0.03, 0.01)],
    }
    for name, versions in spoiled.items():
        scores = [sound_quality(hear(version, 48_000))["score"] for version in versions]  # type: ignore[index]
        assert scores == sorted(scores, reverse=True) and len(set(scores)) == 5, (name, scores)


def test_the_section_is_the_contracts(watch: Watch, hear: Hear, photos: dict[str, np.ndarray]) -> None:
    rng = np.random.default_rng(0)
    picture = watch([_noise(photos["coffee"], 2)] * 2 + [np.roll(photos["coffee"], 4)] * 30)
    sound = hear(rng.normal(0.0, 0.1, (2, 48_000)), 48_000)
    both = QualityTagger().tag(_evidence({"picture_measures": picture, "sound_measures": sound}))
    assert isinstance(QualityTagger(), Tagger)
    checked = Quality.model_validate(both)
    assert checked.model_dump() == both
    assert checked.picture is not None and checked.sound is not None
    assert (
        min(checked.picture.score, checked.sound.score)
        <= checked.score
        <= max(checked.picture.score, checked.sound.score)
    )


def test_what_is_not_there_is_absent(watch: Watch, hear: Hear, photos: dict[str, np.ndarray]) -> None:
    picture, silence = watch([photos["cat"]] * 20), hear(np.zeros((2, 48_000)), 48_000)
    tagger = QualityTagger()
    assert tagger.tag(_evidence({})) is None
    assert tagger.tag(_evidence({"picture_measures": {}, "sound_measures": {}})) is None
    assert tagger.tag(_evidence({"picture_measures": {"error": "broke"}, "sound_measures": {"error": "broke"}})) is None

    still = tagger.tag(_evidence({"picture_measures": picture}, still=True))
    assert still is not None and still["sound"] is None
    assert still["picture"]["freeze_share"] is None and still["picture"]["stability"] is None

    silent = tagger.tag(_evidence({"picture_measures": picture, "sound_measures": silence}))
    assert silent is not None and silent["score"] == silent["picture"]["score"]
    assert silent["sound"]["loudness_lufs"] is None and silent["sound"]["score"] == 0.0

    only_sound = tagger.tag(_evidence({"sound_measures": hear(np.full((1, 9600), 0.1), 48_000)}))
    assert (
        only_sound is not None and only_sound["picture"] is None and only_sound["score"] == only_sound["sound"]["score"]
    )
    for section in (still, silent, only_sound):
        Quality.model_validate(section)


@pytest.mark.parametrize("fill", [0, 255])
def test_an_empty_picture_is_a_bad_one(watch: Watch, fill: int) -> None:
    quality = picture_quality(watch([np.full((240, 320), fill, np.uint8)] * 10))
    assert quality is not None and quality["score"] < 0.02


def test_faults_are_named(watch: Watch, hear: Hear, photos: dict[str, np.ndarray]) -> None:
    rng = np.random.default_rng(0)
    fine = cv2.resize(photos["coffee"], (1080, 720), interpolation=cv2.INTER_CUBIC)
    sharp = cv2.addWeighted(fine, 2.2, cv2.GaussianBlur(fine, (0, 0), 1.5), -1.2, 0)
    hissing = {"sound_measures": hear(rng.normal(0.0, 0.05, (1, 48_000)), 48_000)}
    assert explain(_evidence({"picture_measures": watch([sharp])}, still=True)) == []
    soft = explain(_evidence({"picture_measures": watch([_blur(fine, 5.0)]), **hissing}, still=True))
    assert "noisy sound" in soft and any(words.startswith("soft focus") for words in soft)
    assert "too dark" in explain(_evidence({"picture_measures": watch([fine // 10])}, still=True))


ODD_SOUNDS = {
    "silence": (np.zeros((2, 48_000)), 48_000),
    "one sample": (np.ones((1, 1)), 48_000),
    "telephone": (np.random.default_rng(0).normal(0.0, 0.1, (1, 16_000)), 8_000),
    "not a number": (np.full((1, 48_000), np.nan), 48_000),
    "infinite": (np.full((2, 9_000), np.inf), 44_100),
    "constant": (np.full((1, 96_000), 0.7), 48_000),
    "a lone click": (np.eye(1, 48_000, 24_000), 48_000),
    "square": (np.sign(np.sin(np.arange(96_000) / 30.0))[None], 48_000),
    "very slow": (np.random.default_rng(1).normal(0.0, 0.1, (1, 5_000)), 1_000),
}
ODD_PICTURES = {
    "one pixel": [np.full((1, 1), 200, np.uint8)] * 3,
    "one line": [np.arange(256, dtype=np.uint8)[None]] * 5,
    "black": [np.zeros((90, 160), np.uint8)] * 40,
    "white": [np.full((90, 160), 255, np.uint8)] * 40,
    "strobe": [np.full((90, 160), 255 * (n % 2), np.uint8) for n in range(40)],
    "static": [np.random.default_rng(n).integers(0, 256, (90, 160)).astype(np.uint8) for n in range(20)],
}


@pytest.mark.parametrize("sound", list(ODD_SOUNDS))
@pytest.mark.parametrize("picture", list(ODD_PICTURES))
def test_odd_files_have_a_section_that_the_contract_takes(watch: Watch, hear: Hear, picture: str, sound: str) -> None:
    wave, rate = ODD_SOUNDS[sound]
    observed = {"picture_measures": watch(ODD_PICTURES[picture]), "sound_measures": hear(wave, rate)}
    said = QualityTagger().tag(_evidence(observed))
    checked = Quality.model_validate(json.loads(json.dumps(said, allow_nan=False)))
    assert checked.explanation == explain(_evidence(observed))
    # None of these is any good, and something is said of it.
    assert checked.explanation and checked.picture is not None and checked.picture.score < 0.6


def test_the_same_frames_and_samples_give_the_same_bytes(
    watch: Watch, hear: Hear, photos: dict[str, np.ndarray]
) -> None:
    planes = [np.roll(_noise(photos["cat"], 3.0), 2 * n, axis=1) for n in range(40)]
    wave = np.random.default_rng(5).normal(0.0, 0.1, (2, 96_000))
    said = [
        json.dumps(
            QualityTagger().tag(_evidence({"picture_measures": watch(planes), "sound_measures": hear(wave, 48_000)}))
        )
        for _ in range(2)
    ]
    assert said[0] == said[1]


@pytest.mark.parametrize(
    ("freezes", "share", "still"), [(1, 0.86, False), (1, 0.97, True), (3, 0.86, True), (0, None, True)]
)
def test_a_lone_freeze_is_no_slideshow(freezes: int, share: float | None, still: bool) -> None:
    measures = {"freezes": freezes, "freeze_share": share}
    assert stands_still(_evidence({"picture_measures": measures}, still=True)) is still
    assert not stands_still(_evidence({"picture_measures": measures}))
