from __future__ import annotations

import hashlib
import re
import struct
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from media.decode import decode
from media.types import FRAME_SHORT_SIDE, WAVEFORM_RATE, Limits, MediaError

LIMITS = Limits()


def colour_at(frame: np.ndarray, down: float, right: float) -> np.ndarray:
    height, width = frame.shape[:2]
    return frame[int(down * height), int(right * width)].astype(int)


def looks(frame: np.ndarray, pictures, down: float, right: float) -> str:
    """The name of the nearest planted colour."""
    seen = colour_at(frame, down, right)
    return min(pictures.colours, key=lambda name: np.abs(seen - pictures.colours[name]).sum())


def corners_of(frame: np.ndarray, pictures) -> list[str]:
    return [looks(frame, pictures, down, right) for down in (0.25, 0.75) for right in (0.25, 0.75)]


class Watcher:
    name = "watcher"

    def __init__(self) -> None:
        self.times: list[float] = []
        self.sampled: list[float] = []
        self.luma_means: list[float] = []
        self.small_shape: tuple[int, ...] = ()
        self.luma_shape: tuple[int, ...] = ()
        self.heard = 0
        self.block_ends: list[float] = []

    def frame(self, view) -> None:
        assert view.index == len(self.times)
        self.times.append(view.time_s)
        self.small_shape = view.small.shape
        if view.sampled:
            self.sampled.append(view.time_s)
            self.luma_shape = view.luma.shape
            self.luma_means.append(float(view.luma.mean()))

    def sound(self, block) -> None:
        assert block.native.dtype == np.float32
        self.heard += block.native.shape[1]
        self.block_ends.append(block.time_s + block.native.shape[1] / block.sample_rate)

    def result(self, waveform):
        return {"frames": len(self.times), "samples": len(waveform)}


def test_a_clip_gives_frames_shots_waveform_and_observations(clip: Path, scratch: Path) -> None:
    watcher = Watcher()
    media = decode(clip, scratch, LIMITS, [watcher])
    assert media.info.video is not None and media.info.audio is not None
    assert (media.info.video.codec, media.info.video.width, media.info.video.height) == ("h264", 320, 180)
    assert media.info.video.fps == pytest.approx(25)
    assert (media.info.audio.codec, media.info.audio.sample_rate, media.info.audio.channels) == ("aac", 44100, 2)
    assert media.info.duration_s == pytest.approx(6, abs=0.1)
    assert not media.damaged and not media.info.still
    assert media.frames_decoded == 150 == len(watcher.times)
    np.testing.assert_allclose(watcher.times, np.arange(150) / 25, atol=1e-6)
    np.testing.assert_allclose(media.shots, [(0, 2), (2, 4), (4, 6)], atol=0.05)
    assert media.frames.shape[1:] == (180, 320, 3)  # smaller than asked for: not scaled up
    assert watcher.sampled == list(media.frame_times_s)
    assert np.diff(media.frame_times_s).max() <= 0.5 + 1 / 25 + 1e-6
    assert len(media.waveform) == pytest.approx(6 * WAVEFORM_RATE, abs=0.1 * WAVEFORM_RATE)
    spectrum = np.abs(np.fft.rfft(media.waveform[:WAVEFORM_RATE]))
    assert spectrum.argmax() == pytest.approx(440, abs=2)
    assert np.abs(media.waveform[8000:]).max() == pytest.approx(0.5, abs=0.05)
    assert watcher.heard == pytest.approx(6 * 44100, abs=4096)
    assert media.observations == {"watcher": {"frames": 150, "samples": len(media.waveform)}}


def test_video_without_sound(studio, scratch: Path, pictures) -> None:
    media = decode(studio.video([pictures.corners(160, 90)] * 10), scratch, LIMITS, [])
    assert media.info.audio is None and len(media.waveform) == 0
    assert corners_of(media.frames[0], pictures) == ["red", "green", "blue", "grey"]


@pytest.mark.parametrize(
    ("suffix", "codec"), [(".wav", "pcm_s16le"), (".mp3", "libmp3lame"), (".flac", "flac"), (".ogg", "libopus")]
)
def test_sound_only(studio, scratch: Path, suffix: str, codec: str) -> None:
    media = decode(studio.sound(2.0, suffix=suffix, codec=codec), scratch, LIMITS, [])
    assert media.info.video is None and media.shots == [] and media.frames.shape[0] == 0
    assert len(media.waveform) == pytest.approx(2 * WAVEFORM_RATE, rel=0.05)
    assert media.info.duration_s == pytest.approx(2, rel=0.05)
    assert not media.damaged


@pytest.mark.parametrize("kind", ["png", "jpeg", "webp", "bmp"])
def test_still_picture(studio, scratch: Path, pictures, kind: str) -> None:
    media = decode(studio.picture(pictures.corners(800, 400), kind), scratch, LIMITS, [])
    assert media.info.still and media.info.duration_s == 0 and media.frames_decoded == 1
    assert media.frames.shape == (1, FRAME_SHORT_SIDE, 2 * FRAME_SHORT_SIDE, 3)
    assert corners_of(media.frames[0], pictures) == ["red", "green", "blue", "grey"]
    assert media.shots == [(0.0, 0.0)] and not media.damaged


def test_avif_is_a_still(studio, scratch: Path, pictures) -> None:
    from PIL import features

    if not features.check("avif"):
        pytest.skip("this Pillow writes no AVIF")
    media = decode(studio.picture(pictures.corners(320, 160), "avif"), scratch, LIMITS, [])
    assert media.info.still and corners_of(media.frames[0], pictures) == ["red", "green", "blue", "grey"]


def test_animated_png_is_video(studio, scratch: Path, pictures) -> None:
    from PIL import Image

    path = studio.path(".png")
    first, *rest = [Image.fromarray(pictures.scene(120, 80, seed)) for seed in range(3)]
    first.save(path, save_all=True, append_images=rest, duration=1000)
    media = decode(path, scratch, LIMITS, [])
    assert media.frames_decoded == 3 and not media.info.still and len(media.shots) == 3


def test_animated_webp_is_refused_by_name(studio, scratch: Path, pictures) -> None:
    from PIL import Image

    path = studio.path(".webp")
    first, *rest = [Image.fromarray(pictures.scene(120, 80, seed)) for seed in range(3)]
    first.save(path, save_all=True, append_images=rest, duration=1000)
    with pytest.raises(MediaError, match="animated WebP") as failure:
        decode(path, scratch, LIMITS, [])
    assert failure.value.outcome == "unsupported"


def test_a_picture_of_one_pixel(studio, scratch: Path) -> None:
    media = decode(studio.picture(np.full((1, 1, 3), 200, np.uint8), "png"), scratch, LIMITS, [Watcher()])
    assert media.frames.shape == (1, 1, 1, 3)
    assert media.frames[0, 0, 0] == pytest.approx([200, 200, 200], abs=3)


def test_a_picture_of_extreme_aspect_is_bounded(studio, scratch: Path) -> None:
    media = decode(studio.picture(np.zeros((4, 16000, 3), np.uint8), "png"), scratch, LIMITS, [])
    assert max(media.frames.shape[1:3]) <= 4 * FRAME_SHORT_SIDE


def test_gif_is_video_and_its_slides_are_shots(studio, scratch: Path, pictures) -> None:
    slides = [pictures.scene(120, 80, seed) for seed in range(4)]
    media = decode(studio.gif(slides, 1000), scratch, LIMITS, [])
    assert media.frames_decoded == 4 and not media.info.still
    assert media.info.duration_s == pytest.approx(4, abs=0.1)
    np.testing.assert_allclose(media.shots, [(0, 1), (1, 2), (2, 3), (3, 4)], atol=0.02)
    assert len(media.frames) == 4


def test_a_gif_of_one_frame_is_a_still(studio, scratch: Path, pictures) -> None:
    assert decode(studio.picture(pictures.corners(64, 64), "gif"), scratch, LIMITS, []).info.still


@pytest.mark.parametrize(
    ("counterclockwise", "rotation", "expected"),
    [
        (0, 0, ["red", "green", "blue", "grey"]),
        (-90, 90, ["blue", "red", "grey", "green"]),
        (180, 180, ["grey", "blue", "green", "red"]),
        (90, 270, ["green", "grey", "red", "blue"]),
    ],
)
def test_rotated_phone_video(studio, scratch: Path, pictures, counterclockwise, rotation, expected) -> None:
    file = studio.video([pictures.corners(320, 160)] * 6, rotate=counterclockwise)
    watcher = Watcher()
    media = decode(file, scratch, LIMITS, [watcher])
    assert corners_of(media.frames[0], pictures) == expected
    upright = (160, 320) if rotation % 180 == 0 else (320, 160)
    assert media.frames.shape[1:3] == upright
    assert media.info.video is not None and media.info.video.rotation == rotation
    assert (media.info.video.height, media.info.video.width) == upright
    assert watcher.luma_shape == (160, 320)  # observers see it as coded


def test_jpeg_orientation(studio, scratch: Path, pictures) -> None:
    from PIL import Image

    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned 90 degrees clockwise
    media = decode(studio.picture(pictures.corners(320, 160), "jpeg", exif=exif), scratch, LIMITS, [])
    assert corners_of(media.frames[0], pictures) == ["blue", "red", "grey", "green"]


def test_variable_frame_rate(studio, scratch: Path, pictures) -> None:
    times_ms = [0, 40, 90, 400, 410, 1000, 1900, 1933, 3000, 3500]
    shown = [pictures.scene(160, 96, 5, step) for step in range(len(times_ms))]
    watcher = Watcher()
    decode(studio.video(shown, suffix=".mkv", times_ms=times_ms), scratch, LIMITS, [watcher])
    np.testing.assert_allclose(watcher.times, np.array(times_ms) / 1000, atol=0.0011)


def test_times_count_from_the_start_of_the_stream(studio, scratch: Path, pictures) -> None:
    times_ms = [5000 + 40 * step for step in range(20)]
    watcher = Watcher()
    media = decode(
        studio.video([pictures.corners(160, 96)] * 20, suffix=".mkv", times_ms=times_ms), scratch, LIMITS, [watcher]
    )
    assert watcher.times[0] == 0 and watcher.times[-1] == pytest.approx(0.76, abs=0.002)
    assert media.info.duration_s == pytest.approx(0.8, abs=0.05)


@pytest.mark.parametrize(
    ("codec", "suffix", "pix_fmt", "name", "options"),
    [
        ("libx265", ".mp4", "yuv420p10le", "hevc", {"x265-params": "log-level=none", "preset": "ultrafast"}),
        ("libvpx-vp9", ".webm", "yuv420p", "vp9", {"deadline": "realtime", "cpu-used": "8"}),
        ("libsvtav1", ".webm", "yuv420p", "av1", {"preset": "12", "svtav1-params": "lp=1"}),
        ("mpeg4", ".avi", "yuv420p", "mpeg4", {}),
        ("libx264", ".mp4", "yuv444p", "h264", {}),
        ("libx264", ".ts", "yuv420p", "h264", {}),
    ],
)
def test_codecs(studio, scratch: Path, pictures, codec, suffix, pix_fmt, name, options) -> None:
    if codec not in av.codecs_available:
        pytest.skip(f"this FFmpeg has no {codec}")
    file = studio.video([pictures.corners(320, 192)] * 12, codec=codec, suffix=suffix, pix_fmt=pix_fmt, options=options)
    watcher = Watcher()
    media = decode(file, scratch, LIMITS, [watcher])
    assert media.info.video is not None and media.info.video.codec == name
    assert media.frames_decoded == 12
    assert corners_of(media.frames[0], pictures) == ["red", "green", "blue", "grey"]
    # Full-range luma by ITU-R BT.601 of the four colours, a quarter of the picture each.
    weights = np.array([0.299, 0.587, 0.114])
    expected = np.mean([np.dot(weights, colour) for colour in pictures.colours.values()])
    assert watcher.luma_means[0] == pytest.approx(expected, abs=4)


def test_odd_sizes(studio, scratch: Path, pictures) -> None:
    file = studio.video([pictures.corners(175, 97)] * 5, suffix=".mkv", codec="ffv1", pix_fmt="yuv444p")
    watcher = Watcher()
    media = decode(file, scratch, LIMITS, [watcher])
    assert media.frames.shape[1:] == (97, 175, 3) and watcher.luma_shape == (97, 175)
    assert corners_of(media.frames[0], pictures) == ["red", "green", "blue", "grey"]


def test_pixels_that_are_not_square(studio, scratch: Path, pictures) -> None:
    file = studio.video([pictures.corners(320, 240)] * 5, aspect=Fraction(2, 1))
    media = decode(file, scratch, LIMITS, [])
    assert media.frames.shape[1:3] == (240, 640)
    assert media.info.video is not None and (media.info.video.width, media.info.video.height) == (640, 240)


def test_the_resolution_may_change_within_a_stream(studio, scratch: Path, pictures) -> None:
    large, small = (
        studio.video([pictures.corners(*size)] * 20, suffix=".ts", options={"bf": "0"})
        for size in ((320, 192), (160, 192))
    )
    file = studio.raw(large.read_bytes() + small.read_bytes(), ".ts")
    media = decode(file, scratch, Limits(sample_rate_hz=25), [Watcher()])
    assert media.frames.shape[1:3] == (192, 320)
    assert media.frames_decoded >= 38
    assert corners_of(media.frames[0], pictures) == ["red", "green", "blue", "grey"]
    last = media.frames[-1]
    assert last[:, :70].max() < 16  # the narrower picture is centred on black
    assert looks(last, pictures, 0.25, 0.4) == "red" and looks(last, pictures, 0.25, 0.6) == "green"


def test_sound_that_starts_late_stays_under_its_picture(studio, scratch: Path, pictures) -> None:
    path = studio.path(".mkv")
    with av.open(str(path), "w") as out:
        video = out.add_stream("libx264", rate=25)
        video.width, video.height, video.pix_fmt = 160, 96, "yuv420p"
        audio = out.add_stream("pcm_s16le", rate=16000, layout="mono")
        for index in range(75):
            frame = av.VideoFrame.from_ndarray(pictures.corners(160, 96), format="rgb24")
            frame.pts, frame.time_base = index, Fraction(1, 25)
            out.mux(video.encode(frame))
        out.mux(video.encode(None))
        loud = av.AudioFrame.from_ndarray(np.full((1, 16000), 16000, np.int16), format="s16", layout="mono")
        loud.sample_rate, loud.pts, loud.time_base = 16000, 16000, Fraction(1, 16000)
        out.mux(audio.encode(loud))
        out.mux(audio.encode(None))
    waveform = decode(path, scratch, LIMITS, []).waveform
    assert np.abs(waveform[:15_500]).max() < 1e-3
    assert np.abs(waveform[17_000:31_000]).min() > 0.4


def test_sound_is_capped_and_the_picture_goes_on(clip: Path, scratch: Path) -> None:
    media = decode(clip, scratch, Limits(max_audio_s=1.5), [])
    assert len(media.waveform) == 1.5 * WAVEFORM_RATE
    assert media.frames_decoded == 150 and not media.damaged
    assert media.info.duration_s == pytest.approx(6, abs=0.1)


def test_sound_with_absurd_samples_stays_finite(studio, scratch: Path) -> None:
    path = studio.path(".wav")
    samples = np.sin(np.arange(32000) / 10).astype(np.float32)
    samples[1000:1010] = [np.nan, np.inf, -np.inf, 1e38, -1e38, 3e30, np.nan, np.nan, 1, 2]
    data = samples.tobytes()
    fmt = struct.pack("<HHIIHH", 3, 1, 16000, 64000, 4, 32)
    path.write_bytes(
        b"RIFF" + struct.pack("<I", 36 + len(data)) + b"WAVEfmt " + struct.pack("<I", 16) + fmt
        + b"data" + struct.pack("<I", len(data)) + data
    )  # fmt: skip

    class Finite(Watcher):
        def sound(self, block) -> None:
            assert np.isfinite(block.native).all() and np.abs(block.native).max() < 100
            super().sound(block)

    media = decode(path, scratch, LIMITS, [Finite()])
    assert np.isfinite(media.waveform).all() and np.abs(media.waveform).max() < 100
    assert "error" not in media.observations["watcher"]


def test_a_truncated_file_gives_what_there_is(studio, scratch: Path, pictures) -> None:
    shown = [pictures.scene(320, 180, seed, step) for seed in range(4) for step in range(25)]
    whole = studio.video(shown, tone_s=4.0, options={"movflags": "faststart"}, suffix=".mkv")
    data = whole.read_bytes()
    media = decode(studio.raw(data[: len(data) * 6 // 10], ".mkv"), scratch, LIMITS, [])
    assert media.damaged
    assert 20 < media.frames_decoded < 100
    assert 0.5 < media.info.duration_s < 3.5


def test_damage_in_the_middle_is_survived_and_told(clip: Path, studio, scratch: Path) -> None:
    data = bytearray(clip.read_bytes())
    rng = np.random.default_rng(0)
    middle = len(data) // 3
    data[middle : middle + 3000] = rng.integers(0, 256, 3000, np.uint8).tobytes()
    media = decode(studio.raw(bytes(data), ".mp4"), scratch, LIMITS, [])
    assert media.damaged and media.frames_decoded > 50


def test_an_observer_that_fails_loses_only_its_own_result(clip: Path, scratch: Path) -> None:
    class Broken(Watcher):
        name = "broken"

        def frame(self, view) -> None:
            if view.index == 3:
                raise ZeroDivisionError("planted")

    media = decode(clip, scratch, LIMITS, [Broken(), Watcher()])
    assert media.observations["broken"] == {"error": "ZeroDivisionError: planted"}
    assert media.observations["watcher"]["frames"] == 150


def test_too_many_frames_are_noticed_while_decoding(studio, scratch: Path, pictures) -> None:
    file = studio.video([pictures.corners(64, 64)] * 50, suffix=".ts")
    with pytest.raises(MediaError) as failure:
        decode(file, scratch, Limits(max_frames=20), [])
    assert failure.value.outcome == "too_large"


def test_the_result_is_the_same_every_time(clip: Path, tmp_path: Path) -> None:
    digests = set()
    for name in "ab":
        (tmp_path / name).mkdir()
        media = decode(clip, tmp_path / name, LIMITS, [])
        digests.add(hashlib.sha256(media.frames.tobytes() + media.waveform.tobytes()).hexdigest())
    assert len(digests) == 1


def test_memory_does_not_grow_with_duration(studio, scratch: Path, pictures) -> None:
    """20 minutes, whose sound alone is 77 MB, after 1 minute has filled all caches."""

    def make(minutes: int) -> Path:
        still = pictures.scene(64, 48, 1)
        return studio.video(
            [still] * (minutes * 300),
            suffix=".mkv",
            rate=5,
            tone_s=minutes * 60.0,
            audio_codec="pcm_s16le",
            audio_rate=8000,
            options={"preset": "ultrafast"},
        )

    def peak_growth_mib(run) -> float:
        Path("/proc/self/clear_refs").write_text("5")  # the high-water mark starts anew
        before = high_water_mib()
        run()
        return high_water_mib() - before

    def high_water_mib() -> float:
        status = Path("/proc/self/status").read_text()
        return int(re.search(r"VmHWM:\s+(\d+) kB", status).group(1)) / 1024

    limits = Limits(max_audio_s=1200.0)
    found = []
    for minutes in (1, 1, 20):
        file = make(minutes)
        growth = peak_growth_mib(lambda file=file: found.append(decode(file, scratch, limits, [])))
    media = found[-1]
    assert media.info.duration_s == pytest.approx(1200, abs=1)
    assert len(media.waveform) == pytest.approx(1200 * WAVEFORM_RATE, rel=0.01)  # 77 MB, on disk
    assert limits.max_sampled // 2 <= len(media.frames) <= 2 * limits.max_sampled
    assert growth < 25
