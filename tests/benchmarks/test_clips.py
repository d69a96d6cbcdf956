from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from benchmarks.clips import DURATION_S, FPS, GROUND, LONG_SIDE, ken_burns, read_photo, write_clip, write_sound


def gradient(height: int, width: int) -> np.ndarray:
    photo = np.zeros((height, width, 3), np.uint8)
    photo[..., 0] = np.linspace(10, 250, width).astype(np.uint8)
    photo[..., 1] = np.linspace(10, 250, height).astype(np.uint8)[:, None]
    return photo


@pytest.mark.parametrize("size", [(90, 120), (1200, 900), (40, 900), (900, 40)])
def test_the_clip_moves_stays_inside_and_has_an_ordinary_size(size):
    frames = ken_burns(gradient(*size), "seed")
    assert len(frames) == DURATION_S * FPS
    height, width = frames[0].shape[:2]
    assert (
        max(height, width) == LONG_SIDE
        and height % 2 == width % 2 == 0
        and max(height, width) / min(height, width) < 1.8
    )
    assert not np.array_equal(frames[0], frames[-1])
    assert min(frame[..., 0].min() for frame in frames) >= 8, "nothing from beside the photo"


def test_the_same_name_gives_the_same_clip_and_another_another():
    photo = gradient(90, 120)
    one, again, other = ken_burns(photo, "a/x"), ken_burns(photo, "a/x"), ken_burns(photo, "a/y")
    assert all(np.array_equal(left, right) for left, right in zip(one, again, strict=True))
    assert not all(np.array_equal(left, right) for left, right in zip(one, other, strict=True))


def test_a_cut_out_lies_in_the_middle_of_the_ground(tmp_path: Path):
    image = Image.new("RGBA", (100, 50), (0, 0, 0, 0))
    image.paste((200, 0, 0, 255), (10, 10, 40, 30))
    image.save(tmp_path / "cut.png")
    photo = read_photo(tmp_path / "cut.png")
    assert photo.shape[0] == photo.shape[1]
    assert photo[0, 0].tolist() == list(GROUND)
    assert photo[photo.shape[0] // 2, photo.shape[1] // 2].tolist() == [200, 0, 0]


def test_an_opaque_photo_keeps_its_shape(tmp_path: Path):
    Image.fromarray(gradient(30, 50)).save(tmp_path / "whole.png")
    assert read_photo(tmp_path / "whole.png").shape == (30, 50, 3)


def test_clip_and_sound_are_h264_and_aac(tmp_path: Path):
    write_clip(ken_burns(gradient(90, 120), "x")[:30], tmp_path / "clip.mp4")
    with av.open(str(tmp_path / "clip.mp4")) as container:
        assert container.streams.video[0].codec_context.name == "h264"
        assert sum(1 for _ in container.decode(video=0)) == 30
    with av.open(str(tmp_path / "tone.wav"), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=22_050, layout="stereo")
        tone = (8000 * np.sin(np.arange(22_050) / 10)).astype(np.int16).repeat(2)[None]
        frame = av.AudioFrame.from_ndarray(tone, format="s16", layout="stereo")
        frame.sample_rate = 22_050
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    write_sound(tmp_path / "tone.mp4", tmp_path / "tone.wav")
    with av.open(str(tmp_path / "tone.mp4")) as container:
        assert container.streams.audio[0].codec_context.name == "aac"
        samples = sum(frame.samples for frame in container.decode(audio=0))
        assert samples == pytest.approx(44_100, abs=3000)
