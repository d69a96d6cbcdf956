from __future__ import annotations

import json
import os
import pickle
from pathlib import Path

import numpy as np
import pytest

from media import arrays, exchange
from media.types import AudioStream, DecodedMedia, MediaError, MediaInfo, VideoStream


def result() -> DecodedMedia:
    return DecodedMedia(
        info=MediaInfo("mp4", 2.0, VideoStream("h264", 4, 2, 25.0, 90), AudioStream("aac", 44100, 2)),
        frames=np.arange(48, dtype=np.uint8).reshape(2, 2, 4, 3),
        frame_times_s=np.array([0.0, 0.5]),
        shots=[(0.0, 1.0), (1.0, 2.0)],
        waveform=np.ones(3, np.float32),
        frames_decoded=50,
        damaged=True,
        observations={"curves": {"a": np.arange(4.0), "b": [1, {"c": "d"}], "nan": float("nan")}},
    )


def saved(folder: Path) -> Path:
    arrays.write(folder / exchange.WAVEFORM_FILE, result().waveform)
    exchange.save(folder, result())
    return folder


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    found, expected = exchange.load(saved(tmp_path)), result()
    assert found.info == expected.info and found.shots == expected.shots
    assert found.frames_decoded == 50 and found.damaged
    np.testing.assert_array_equal(found.frames, expected.frames)
    np.testing.assert_array_equal(found.waveform, expected.waveform)
    np.testing.assert_array_equal(found.observations["curves"]["a"], np.arange(4.0))
    assert found.observations["curves"]["b"] == [1, {"c": "d"}]
    assert np.isnan(found.observations["curves"]["nan"])


def test_a_failure_is_loaded_as_itself(tmp_path: Path) -> None:
    exchange.save_failure(tmp_path, MediaError("too_large", "so it is"))
    with pytest.raises(MediaError) as failure:
        exchange.load(tmp_path)
    assert (failure.value.outcome, failure.value.reason) == ("too_large", "so it is")


def test_a_bug_is_loaded_as_a_bug(tmp_path: Path) -> None:
    exchange.save_bug(tmp_path, "Traceback ...")
    with pytest.raises(exchange.DecoderBug, match="Traceback"):
        exchange.load(tmp_path)


def hostile(name: str, folder: Path) -> None:
    """What a decoder that was taken over might leave."""
    answer = json.loads((folder / "result.json").read_text())
    secret = folder / "elsewhere.npy"
    np.save(secret, np.zeros((2, 2, 4, 3), np.uint8))
    frames = folder / "frames.npy"
    if name == "pickle in an array":
        frames.write_bytes(b"")
        np.save(frames, np.array([[{"a": 1}]], dtype=object), allow_pickle=True)
    elif name == "pickle for an answer":
        (folder / "result.json").write_bytes(pickle.dumps({"format": 1}))
    elif name == "a link":
        frames.unlink()
        frames.symlink_to(secret)
    elif name == "a pipe":
        frames.unlink()
        os.mkfifo(frames)
    elif name == "a shape larger than the file":
        frames.write_bytes(arrays.header("|u1", 10**15) + b"1234")
    elif name == "another shape":
        np.save(frames, np.zeros((2, 2), np.uint8))
    elif name == "a negative shape":
        frames.write_bytes(arrays.header("|u1", -5).replace(b"(-5,)", b"(-5,)") + b"1234")
    elif name == "code in a header":
        head = arrays.header("|u1", 4).replace(b"'|u1'", b"open('x','w')")
        frames.write_bytes(head + b"1234")
    elif name == "a path for an array":
        answer["observations"]["curves"]["a"] = {"$array": "../../etc/passwd"}
    elif name == "times that go back":
        answer["frame_times_s"] = [1.0, 0.5]
    elif name == "times that are none":
        answer["frame_times_s"] = [0.0, float("nan")]
    elif name == "fewer times than frames":
        answer["frame_times_s"] = [0.0]
    elif name == "an endless duration":
        answer["info"]["duration_s"] = float("inf")
    elif name == "no fields":
        answer = {"format": 1}
    elif name == "a list":
        answer = [1, 2]
    elif name == "another format":
        answer["format"] = 2
    elif name == "depth":
        (folder / "result.json").write_text('{"format":1,"x":' + "[" * 100_000 + "]" * 100_000 + "}")
    elif name == "nothing":
        (folder / "result.json").unlink()
    elif name == "length":
        (folder / "result.json").write_bytes(b" " * (exchange.MAX_RESULT_BYTES + 1))
    if isinstance(answer, list) or answer != json.loads(json.dumps(answer)) or name in {
        "a path for an array", "times that go back", "times that are none", "fewer times than frames",
        "an endless duration", "no fields", "a list", "another format",
    }:  # fmt: skip
        (folder / "result.json").write_text(json.dumps(answer))


@pytest.mark.parametrize(
    "name",
    [
        "pickle in an array", "pickle for an answer", "a link", "a pipe", "a shape larger than the file",
        "another shape", "a negative shape", "code in a header", "a path for an array", "times that go back",
        "times that are none", "fewer times than frames", "an endless duration", "no fields", "a list",
        "another format", "depth", "nothing", "length",
    ],
)  # fmt: skip
def test_an_answer_is_not_believed(tmp_path: Path, name: str) -> None:
    folder = saved(tmp_path)
    assert exchange.load(folder).frames_decoded == 50
    hostile(name, folder)
    with pytest.raises(MediaError) as failure:
        exchange.load(folder)
    assert failure.value.outcome == "corrupt"


def test_a_made_up_outcome_is_corrupt_and_its_words_are_tamed(tmp_path: Path) -> None:
    (tmp_path / "result.json").write_text(
        json.dumps({"format": 1, "outcome": "ok; drop table", "reason": "\x1b[31m" + "x" * 5000 + "\n"})
    )
    with pytest.raises(MediaError) as failure:
        exchange.load(tmp_path)
    assert failure.value.outcome == "corrupt"
    assert failure.value.reason.isprintable() and len(failure.value.reason) <= exchange.MAX_TEXT


def test_an_array_grows_on_disk_and_is_a_plain_npy(tmp_path: Path) -> None:
    growing = arrays.GrowingArray(tmp_path / "x.npy", np.float32)
    for start in range(0, 1000, 10):
        growing.append(np.arange(start, start + 10, dtype=np.float32))
    mapped = growing.close()
    np.testing.assert_array_equal(mapped, np.arange(1000, dtype=np.float32))
    np.testing.assert_array_equal(np.load(tmp_path / "x.npy"), mapped)
    assert len(arrays.GrowingArray(tmp_path / "y.npy", np.float32).close()) == 0


@pytest.mark.parametrize("length", [0, 1, 10**6, 10**17])
def test_the_header_has_one_length(length: int) -> None:
    assert len(arrays.header(np.float32, length)) == arrays.HEADER_BYTES


def test_objects_are_not_written(tmp_path: Path) -> None:
    with pytest.raises(TypeError):
        arrays.write(tmp_path / "x.npy", np.array([{}], dtype=object))
