from __future__ import annotations

import io
import os
import struct
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest

from media import formats
from media.decode import decode
from media.probe import probe
from media.types import Limits, MediaError

LIMITS = Limits()


def outcome(path: Path, scratch: Path, limits: Limits = LIMITS) -> tuple[str, str]:
    with pytest.raises(MediaError) as failure:
        decode(path, scratch, limits, [])
    return failure.value.outcome, failure.value.reason


def zipped() -> bytes:
    memory = io.BytesIO()
    with zipfile.ZipFile(memory, "w") as archive:
        archive.writestr("a.txt", "hello" * 1000)
    return memory.getvalue()


NOT_MEDIA = {
    "empty": b"",
    "one byte": b"\x00",
    "text": b"Dear reader,\nthis is no video.\n" * 50,
    "zip": zipped(),
    "zeros": bytes(100_000),
    "html": b"<!DOCTYPE html><html><body><video src='x.mp4'></video></body></html>" * 20,
    "svg": b"<svg xmlns='http://www.w3.org/2000/svg'><image href='file:///etc/passwd'/></svg>",
    "subtitles": b"1\n00:00:01,000 --> 00:00:02,000\nHello\n\n" * 20,
    "elf": b"\x7fELF" + os.urandom(2000),
    "pickle": b"\x80\x04\x95cos\nsystem\n(S'touch /tmp/x'\ntR.",
}


@pytest.mark.parametrize("name", NOT_MEDIA)
def test_what_is_no_media_is_unsupported(studio, scratch: Path, name: str) -> None:
    assert outcome(studio.raw(NOT_MEDIA[name]), scratch)[0] == "unsupported"


@pytest.mark.parametrize("seed", range(12))
def test_noise_is_unsupported(studio, scratch: Path, seed: int) -> None:
    noise = np.random.default_rng(seed).integers(0, 256, 60_000, np.uint8).tobytes()
    assert outcome(studio.raw(noise, ".mp4"), scratch)[0] == "unsupported"


@pytest.mark.parametrize(
    "head",
    [
        b"\x00\x00\x00\x18ftypmp42\x00\x00\x00\x00mp42isom",
        b"\x89PNG\r\n\x1a\n",
        b"\xff\xd8\xff\xe0\x00\x10JFIF",
        b"RIFF\x00\x10\x00\x00WAVE",
        b"OggS",
        b"\x1a\x45\xdf\xa3",
        b"GIF89a\x40\x00\x40\x00",
        b"fLaC",
    ],
)
def test_the_head_of_media_before_noise_is_corrupt(studio, scratch: Path, head: bytes) -> None:
    noise = np.random.default_rng(1).integers(0, 256, 20_000, np.uint8).tobytes()
    assert outcome(studio.raw(head + noise), scratch)[0] == "corrupt"


def test_a_file_cut_before_its_index_is_corrupt(clip: Path, studio, scratch: Path) -> None:
    assert outcome(studio.raw(clip.read_bytes()[:20_000], ".mp4"), scratch)[0] == "corrupt"


@pytest.mark.parametrize("share", [0.02, 0.1, 0.3, 0.5, 0.9, 0.99])
@pytest.mark.parametrize("suffix", [".mkv", ".ts", ".avi", ".mp4"])
def test_a_file_cut_anywhere_ends_in_a_result_or_a_media_error(studio, scratch, pictures, suffix, share) -> None:
    data = studio.video([pictures.scene(160, 96, 1, step) for step in range(40)], suffix=suffix).read_bytes()
    try:
        media = decode(studio.raw(data[: int(len(data) * share)], suffix), scratch, LIMITS, [])
        assert media.frames_decoded <= 40
    except MediaError as error:
        assert error.outcome in {"corrupt", "unsupported"}


@pytest.mark.parametrize(
    "text",
    [
        "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:10\n#EXTINF:10.0,\n{secret}\n#EXT-X-ENDLIST\n",
        "ffconcat version 1.0\nfile '{secret}'\n",
        "#EXTM3U\n#EXTINF:1,\nconcat:{secret}|{secret}\n#EXT-X-ENDLIST\n",
        "<?xml version='1.0'?><MPD xmlns='urn:mpeg:dash:schema:mpd:2011'><Period><AdaptationSet><Representation>"
        "<BaseURL>{secret}</BaseURL></Representation></AdaptationSet></Period></MPD>",
        "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nm=video 5000 RTP/AVP 96\na=rtpmap:96 H264/90000\n",
    ],
)
@pytest.mark.parametrize("suffix", [".m3u8", ".mp4", ".txt"])
def test_a_playlist_reaches_nothing(clip: Path, studio, scratch: Path, text: str, suffix: str) -> None:
    """The file that it names is a real video: were it opened, this would succeed."""
    file = studio.raw(text.format(secret=clip).encode(), suffix)
    assert outcome(file, scratch)[0] == "unsupported"


def test_a_file_name_is_no_pattern_and_no_url(studio, scratch: Path, pictures) -> None:
    for name in ("a%03d.png", "concat:b.png", "http:c.png", "-", "*.png"):
        file = studio.folder / name
        file.write_bytes(studio.picture(pictures.corners(32, 32), "png").read_bytes())
        assert decode(file, scratch, LIMITS, []).info.still


def test_links_pipes_and_folders_are_refused(clip: Path, studio, scratch: Path) -> None:
    link, pipe = studio.folder / "link", studio.folder / "pipe"
    link.symlink_to(clip)
    os.mkfifo(pipe)
    for path in (link, pipe, studio.folder, studio.folder / "missing"):
        assert outcome(path, scratch)[0] == "unsupported"


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_bomb(width: int, height: int) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(bytes(10_000)))
        + chunk(b"IEND", b"")
    )


BOMBS = {
    "png": png_bomb(60_000, 60_000),
    "png, wide": png_bomb(2_000_000_000, 1),
    "gif": b"GIF89a" + struct.pack("<HHBBB", 65_000, 65_000, 0xF7, 0, 0) + bytes(768) + b";",
    "bmp": b"BM" + struct.pack("<IHHIIiiHHIIiiII", 54, 0, 0, 54, 40, 60_000, -60_000, 1, 24, 0, 0, 0, 0, 0, 0),
    "jpeg": bytes.fromhex("ffd8ffe000104a46494600010100000100010000ffc0001108fde8fde803012200021101031101"),
    "webp": b"RIFF\x40\x00\x00\x00WEBPVP8X\x0a\x00\x00\x00\x00\x00\x00\x00"
    + (16_382).to_bytes(3, "little")
    + (16_382).to_bytes(3, "little"),
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_picture_that_declares_too_many_pixels_is_not_decoded(studio, scratch: Path, name: str) -> None:
    found, reason = outcome(studio.raw(BOMBS[name] + bytes(2000)), scratch)
    assert found == "too_large" and "px" in reason


def test_a_video_that_declares_too_many_pixels_is_not_decoded(studio, scratch: Path, pictures) -> None:
    """The codec has no size of its own: the container's is what a decoder would make room for."""
    data = studio.video(
        [pictures.corners(320, 180)] * 5, suffix=".avi", codec="huffyuv", pix_fmt="yuv422p"
    ).read_bytes()
    header = struct.pack("<Iii", struct.unpack_from("<I", data, data.index(b"strf") + 8)[0], 320, 180)
    patched = data.replace(header, header[:4] + struct.pack("<ii", 10_000, 8000))
    assert patched != data
    assert outcome(studio.raw(patched, ".avi"), scratch) == (
        "too_large",
        "it declares 10000 x 8000 px, more than 35389440 px in all",
    )


def test_a_size_that_the_codec_contradicts_is_not_believed(studio, scratch: Path, pictures) -> None:
    data = studio.video([pictures.corners(320, 180)] * 5).read_bytes()
    at = data.index(struct.pack(">HH", 320, 180), data.index(b"avc1", data.index(b"stsd")))
    patched = data[:at] + struct.pack(">HH", 65_000, 65_000) + data[at + 4 :]
    try:
        assert decode(studio.raw(patched, ".mp4"), scratch, LIMITS, []).frames.shape[1] == 180
    except MediaError as error:
        assert error.outcome == "too_large"


def test_a_stream_that_grows_beyond_the_cap_later_is_stopped(studio, scratch: Path, pictures) -> None:
    small, large = (
        studio.video([pictures.corners(*size)] * 15, suffix=".ts", options={"bf": "0"}).read_bytes()
        for size in ((160, 96), (640, 480))
    )
    file = studio.raw(small + large, ".ts")
    try:
        media = decode(file, scratch, Limits(max_pixels=200_000), [])
        assert media.damaged and media.frames_decoded <= 15
    except MediaError as error:
        assert error.outcome == "too_large"


def test_declared_caps(clip: Path, scratch: Path) -> None:
    assert outcome(clip, scratch, Limits(max_duration_s=5.0)) == ("too_large", "it declares 6 s, more than 5 s")
    assert outcome(clip, scratch, Limits(max_frames=100)) == ("too_large", "it declares 150 frames, more than 100")
    assert outcome(clip, scratch, Limits(max_bytes=1000))[0] == "too_large"
    assert outcome(clip, scratch, Limits(max_pixels=320 * 180 - 1))[0] == "too_large"
    assert probe(clip, Limits(max_pixels=320 * 180, max_frames=150)).video is not None


def test_a_lying_duration_is_too_large_before_it_is_decoded(studio, scratch: Path, pictures) -> None:
    data = studio.video([pictures.corners(64, 64)] * 10, suffix=".mkv").read_bytes()
    at = data.index(b"\x44\x89\x88") + 3  # Matroska's Duration, a float of 8 bytes, ms
    assert struct.unpack_from(">d", data, at)[0] == pytest.approx(400, abs=1)
    long = data[:at] + struct.pack(">d", 1e10) + data[at + 8 :]
    assert outcome(studio.raw(long, ".mkv"), scratch)[0] == "too_large"


@pytest.mark.parametrize("duration_ms", [float("nan"), float("inf"), -5.0, 1e300])
def test_an_absurd_duration_does_no_harm(studio, scratch: Path, pictures, duration_ms: float) -> None:
    data = studio.video([pictures.corners(64, 64)] * 10, suffix=".mkv").read_bytes()
    at = data.index(b"\x44\x89\x88") + 3
    file = studio.raw(data[:at] + struct.pack(">d", duration_ms) + data[at + 8 :], ".mkv")
    try:
        assert decode(file, scratch, LIMITS, []).frames_decoded == 10
    except MediaError as error:
        assert error.outcome == "too_large"


def test_probe_describes_without_decoding(clip: Path) -> None:
    info = probe(clip, LIMITS)
    assert info.video is not None and info.audio is not None
    assert (info.video.codec, info.audio.codec) == ("h264", "aac")
    assert info.duration_s == pytest.approx(6, abs=0.1)


def test_cover_art_is_no_video(studio, scratch: Path, pictures) -> None:
    import av

    cover = studio.picture(pictures.corners(64, 64), "png").read_bytes()
    path = studio.path(".mp3")
    with av.open(str(path), "w") as out:
        sound = out.add_stream("libmp3lame", rate=44_100, layout="stereo")
        art = out.add_stream("png", rate=1)
        art.width = art.height = 64
        art.pix_fmt = "rgb24"
        art.disposition = av.stream.Disposition.attached_pic
        packet = av.Packet(cover)
        packet.stream, packet.pts, packet.dts = art, 0, 0
        out.mux(packet)
        studio._play(out, sound, 1.0)
    media = decode(path, scratch, LIMITS, [])
    assert media.info.video is None and media.frames_decoded == 0 and len(media.waveform) > 15_000


@pytest.mark.parametrize("size", [(1, 1), (640, 480), (3000, 17)])
@pytest.mark.parametrize("kind", ["png", "jpeg", "gif", "bmp", "webp"])
def test_declared_size_reads_what_is_there(studio, kind: str, size: tuple[int, int]) -> None:
    data = studio.picture(np.zeros((size[1], size[0], 3), np.uint8), kind).read_bytes()
    assert formats.declared_size(data[: formats.SIGNATURE_BYTES]) == size


def test_declared_size_of_lossless_webp(studio) -> None:
    data = studio.picture(np.zeros((33, 470, 3), np.uint8), "webp", lossless=True).read_bytes()
    assert formats.declared_size(data) == (470, 33)


def test_declared_size_survives_any_cut() -> None:
    for data in BOMBS.values():
        for length in range(len(data)):
            formats.declared_size(data[:length])
