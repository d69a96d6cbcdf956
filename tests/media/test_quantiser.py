"""The quantiser that H.264's decoder tells."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import numpy as np
import pytest
from skimage import data

from media.decode import decode
from media.quantiser import HEADER_BYTES, frame_quantiser
from media.types import Limits


class Told:
    """Observer of every frame's quantiser."""

    name = "told"

    def __init__(self) -> None:
        self.told: list[float | None] = []

    def frame(self, view: Any) -> None:
        self.told.append(view.quantiser)

    def sound(self, block: Any) -> None:
        pass

    def result(self, waveform: Any) -> dict[str, Any]:
        return {"told": self.told}


def coded(path: Path, codec: str, **options: str) -> Path:
    photo = data.astronaut()[:256, :320]
    with av.open(str(path), "w") as out:
        stream = out.add_stream(codec, rate=25, options=options)
        stream.width, stream.height, stream.pix_fmt = 320, 256, "yuvj420p" if codec == "mjpeg" else "yuv420p"
        for shift in range(12):
            out.mux(stream.encode(av.VideoFrame.from_ndarray(np.roll(photo, 3 * shift, axis=1), format="rgb24")))
        out.mux(stream.encode())
    return path


def told(path: Path, scratch: Path) -> list[float | None]:
    scratch.mkdir(exist_ok=True)
    return list(decode(path, scratch, Limits(), [Told()]).observations["told"]["told"])


@pytest.mark.parametrize("quantiser", [18, 30, 44])
def test_a_constant_quantiser_is_told_of_every_frame(tmp_path: Path, scratch: Path, quantiser: int) -> None:
    path = coded(tmp_path / "clip.mp4", "libx264", qp=str(quantiser))
    found = told(path, scratch)
    assert len(found) == 12
    # Of frames that come between, x264 quantises a little more coarsely, and of key frames more finely.
    assert all(value is not None and abs(value - quantiser) <= 4.0 for value in found), found


def test_coarser_coding_has_a_higher_quantiser(tmp_path: Path, scratch: Path) -> None:
    fine, coarse = (
        np.mean(told(coded(tmp_path / f"{crf}.mp4", "libx264", crf=crf), scratch / crf)) for crf in ("20", "40")
    )
    assert coarse > fine + 12.0


def test_other_codecs_tell_none(tmp_path: Path, scratch: Path) -> None:
    assert set(told(coded(tmp_path / "clip.mkv", "mjpeg"), scratch)) == {None}


@pytest.mark.parametrize("length", [0, 4, HEADER_BYTES - 1])
def test_what_is_cut_off_tells_none(length: int) -> None:
    frame = SimpleNamespace(side_data=SimpleNamespace(get=lambda _: bytes(length)))
    assert frame_quantiser(frame) is None


def test_blocks_that_do_not_fit_are_not_read() -> None:
    header = np.zeros(HEADER_BYTES, np.uint8)
    header[:4].view(np.uint32)[0] = 1000
    header[8:24].view(np.uint64)[:] = (HEADER_BYTES, 24)
    header[24:32].view(np.int32)[:] = (1, 33)
    frame = SimpleNamespace(side_data=SimpleNamespace(get=lambda _: header.tobytes()))
    assert frame_quantiser(frame) == 33.0


def test_side_data_that_nobody_knows_does_no_harm() -> None:
    def unknown(_: object) -> None:
        raise ValueError("unknown side data")

    assert frame_quantiser(SimpleNamespace(side_data=SimpleNamespace(get=unknown))) is None
