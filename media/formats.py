"""What is let through to FFmpeg: containers, codecs and protocols by name, and how a file looks from its first bytes.

FFmpeg reads hundreds of formats, most of them relics that nobody uploads and few people test. Each is a parser of
hostile bytes, and some (playlists, `concat`, image sequences) open further files by name. So all is by allow-list.
"""

from __future__ import annotations

import struct
from collections.abc import Callable

# Demuxers. Left out on purpose: hls, dash, concat, image2 (file name patterns), sdp, rtsp, lavfi, every playlist,
# subtitles, raw video without a header, and games' formats.
DEMUXERS = (
    "mov",
    "mp4",
    "m4a",
    "3gp",
    "3g2",
    "mj2",
    "matroska",
    "webm",
    "avi",
    "mpegts",
    "mpeg",
    "mpegvideo",
    "ogg",
    "flv",
    "asf",
    "mp3",
    "wav",
    "w64",
    "aiff",
    "caf",
    "flac",
    "aac",
    "ac3",
    "amr",
    "h264",
    "hevc",
    "ivf",
    "gif",
    "apng",
    "png_pipe",
    "jpeg_pipe",
    "webp_pipe",
    "bmp_pipe",
)

STILL_DEMUXERS = frozenset({"png_pipe", "jpeg_pipe", "webp_pipe", "bmp_pipe"})

# Demuxers that guess from weak evidence: noise can look like them. When nothing decodes, it was not media at all.
WEAK_DEMUXERS = frozenset({"mp3", "aac", "ac3", "mpeg", "mpegvideo", "mpegts", "h264", "hevc", "amr"})

# Demuxers whose duration is written in the file, not guessed from the bit rate: a shorter file has lost its end.
TIMED_DEMUXERS = frozenset({"mov", "mp4", "matroska", "webm", "avi", "wav", "w64", "aiff", "flac", "asf"})

PICTURE_DECODERS = frozenset(
    """
    h264 hevc vvc av1 libdav1d vp8 vp9 libvpx libvpx-vp9 mpeg4 mpeg1video mpeg2video mpegvideo h263 h263i
    theora flv vp6 vp6a vp6f wmv1 wmv2 wmv3 vc1 msmpeg4v1 msmpeg4 msmpeg4v2 msmpeg4v3 msvideo1 mjpeg mjpegb
    prores dnxhd ffv1 huffyuv ffvhuff utvideo rawvideo svq1 svq3 cinepak qtrle png apng gif webp webp_anim bmp
    aac aac_fixed aac_latm mp1 mp1float mp2 mp2float mp3 mp3float opus libopus vorbis libvorbis flac alac ac3
    eac3
    """.split()  # noqa: SIM905
)
SOUND_DECODERS = frozenset(
    """
    wmav1 wmav2 wmapro wmalossless amrnb amrwb libopencore_amrnb libopencore_amrwb speex libspeex nellymoser
    adpcm_ms adpcm_ima_wav adpcm_ima_qt adpcm_swf adpcm_yamaha gsm gsm_ms pcm_alaw pcm_mulaw pcm_u8 pcm_s8
    pcm_s16le pcm_s16be pcm_s24le pcm_s24be pcm_s32le pcm_s32be pcm_f32le pcm_f32be pcm_f64le pcm_f64be
    pcm_bluray pcm_dvd
    """.split()  # noqa: SIM905
)
DECODERS = PICTURE_DECODERS | SOUND_DECODERS

PROTOCOLS = "fd"
"""The only FFmpeg protocol allowed: one file descriptor that is open already. No name in a file can be opened."""

MAX_STREAMS = 64

SIGNATURE_BYTES = 4096
"""How much of the head `signature` and `declared_size` want to see."""

_ASF = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")
_MOV_ATOMS = frozenset({b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"pnot", b"moof", b"styp"})
_PREFIXES = {
    b"\x1a\x45\xdf\xa3": "matroska",
    b"OggS": "ogg",
    b"fLaC": "flac",
    b"ID3": "mp3",
    b"FLV\x01": "flv",
    b"\x89PNG\r\n\x1a\n": "png",
    b"\xff\xd8\xff": "jpeg",
    b"GIF87a": "gif",
    b"GIF89a": "gif",
    b"#!AMR": "amr",
    b"caff": "caf",
    _ASF: "asf",
}
_RIFF = {b"AVI ": "avi", b"WAVE": "wav", b"WEBP": "webp"}


def signature(head: bytes) -> str | None:
    """The container that these first bytes claim to be, or None. A claim only: the rest may be noise."""
    for prefix, name in _PREFIXES.items():
        if head.startswith(prefix):
            return name
    if head[:4] == b"RIFF" and head[8:12] in _RIFF:
        return _RIFF[head[8:12]]
    if head[:4] == b"FORM" and head[8:12] in {b"AIFF", b"AIFC"}:
        return "aiff"
    if head[4:8] in _MOV_ATOMS:
        return "mov"
    if head[:2] == b"BM" and len(head) >= 26 and struct.unpack_from("<I", head, 14)[0] in {12, 40, 108, 124}:
        return "bmp"
    return None


def is_animated_webp(head: bytes) -> bool:
    """Whether it is WebP's moving form, which this FFmpeg cannot read. (Flag A of the VP8X chunk.)"""
    return signature(head) == "webp" and head[12:16] == b"VP8X" and len(head) > 20 and bool(head[20] & 0x02)


def declared_size(head: bytes) -> tuple[int, int] | None:
    """Width and height that a still picture's header declares, px; None where it is no still or says nothing.

    FFmpeg decodes a picture to describe it, so the size must be known before FFmpeg sees it.
    """
    reader = _SIZE_READERS.get(signature(head) or "")
    try:
        return reader(head) if reader else None
    except (struct.error, IndexError):
        return None


def _png_size(head: bytes) -> tuple[int, int] | None:
    if head[12:16] != b"IHDR":
        return None
    width, height = struct.unpack_from(">II", head, 16)
    return width, height


def _gif_size(head: bytes) -> tuple[int, int] | None:
    width, height = struct.unpack_from("<HH", head, 6)
    return width, height


def _bmp_size(head: bytes) -> tuple[int, int] | None:
    os2 = struct.unpack_from("<I", head, 14)[0] == 12
    width, height = struct.unpack_from("<HH" if os2 else "<ii", head, 18)
    return abs(width), abs(height)


def _webp_size(head: bytes) -> tuple[int, int] | None:
    chunk = head[12:16]
    if chunk == b"VP8X":
        return 1 + int.from_bytes(head[24:27], "little"), 1 + int.from_bytes(head[27:30], "little")
    if chunk == b"VP8 ":
        width, height = struct.unpack_from("<HH", head, 26)
        return width & 0x3FFF, height & 0x3FFF
    if chunk == b"VP8L":
        bits = struct.unpack_from("<I", head, 21)[0]
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    return None


def _jpeg_size(head: bytes) -> tuple[int, int] | None:
    """Walk the markers to the frame header (ITU-T T.81, B.1.1.3 and B.2.2)."""
    at = 2
    while at + 9 <= len(head):
        if head[at] != 0xFF:
            return None
        marker = head[at + 1]
        if marker == 0xFF:
            at += 1
            continue
        if 0xC0 <= marker <= 0xCF and marker not in {0xC4, 0xC8, 0xCC}:
            height, width = struct.unpack_from(">HH", head, at + 5)
            return width, height
        at += 2 + struct.unpack_from(">H", head, at + 2)[0]
    return None


_SIZE_READERS: dict[str, Callable[[bytes], tuple[int, int] | None]] = {
    "png": _png_size,
    "gif": _gif_size,
    "bmp": _bmp_size,
    "webp": _webp_size,
    "jpeg": _jpeg_size,
}
