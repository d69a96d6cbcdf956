import io
import struct
import zipfile
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.archives import ArchiveError, inside, read_cat, read_rcc, safe_path


def rcc(members: dict[str, bytes], *, compress: bool = False, folder: str = "images") -> bytes:
    """A Qt resource file, version 2, with one folder."""
    names, contents, tree = b"", b"", b""
    offsets = []
    for name in [folder, *members]:
        offsets.append(len(names))
        names += struct.pack(">HI", len(name), 0) + name.encode("utf-16-be")
    nodes = [struct.pack(">IHIIQ", 0, 2, 1, 1, 0), struct.pack(">IHIIQ", offsets[0], 2, len(members), 2, 0)]
    for offset, body in zip(offsets[1:], members.values(), strict=True):
        stored = struct.pack(">I", len(body)) + zlib.compress(body) if compress else body
        nodes.append(struct.pack(">IHHHIQ", offset, 1 if compress else 0, 0, 0, len(contents), 0))
        contents += struct.pack(">I", len(stored)) + stored
    tree = b"".join(nodes)
    head = 20
    return (
        b"qres"
        + struct.pack(">4I", 2, head, head + len(tree), head + len(tree) + len(contents))
        + tree
        + contents
        + names
    )


def cat(entries: dict[str, bytes]) -> bytes:
    """An OpenTTD sound set."""
    body, table = b"", []
    for name, sound in entries.items():
        table.append((len(entries) * 8 + len(body), len(sound)))
        label = name.encode() + b"\0"
        body += struct.pack("B", len(label)) + label + sound
    return b"".join(struct.pack("<II", *row) for row in table) + body


def wave(payload: bytes = b"abcd") -> bytes:
    return b"RIFF" + struct.pack("<I", len(payload) + 4) + b"WAVE" + payload


@pytest.mark.parametrize("compress", [False, True])
def test_resources_come_out_as_they_went_in(compress):
    members = {"fish.png": b"\x89PNG" * 50, "città.jpg": b"x"}
    assert dict(read_rcc(rcc(members, compress=compress))) == {f"images/{name}": body for name, body in members.items()}


def test_a_resource_name_cannot_leave_its_folder():
    with pytest.raises(ArchiveError, match="leaves"):
        list(read_rcc(rcc({"..": b"x"})))
    with pytest.raises(ArchiveError, match="leaves"):
        list(read_rcc(rcc({"../../etc/passwd": b"x"})))


def test_folders_in_a_circle_end():
    data = bytearray(rcc({"a": b"x"}))
    struct.pack_into(">II", data, 20 + 22 + 6, 5, 0)  # the folder's children start at the root
    with pytest.raises(ArchiveError, match="circle"):
        list(read_rcc(bytes(data)))


def test_a_folder_with_four_billion_members_ends():
    data = bytearray(rcc({"a": b"x"}))
    struct.pack_into(">I", data, 20 + 22 + 6, 0xFFFFFFFF)
    with pytest.raises(ArchiveError, match="more members"):
        list(read_rcc(bytes(data)))


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=40), st.integers(0, 200))
def test_damaged_containers_are_archive_errors_and_nothing_else(noise, at):
    for whole, read in ((rcc({"a.png": b"12345"}, compress=True), read_rcc), (cat({"x": wave()}), read_cat)):
        damaged = bytearray(whole)
        damaged[at % len(whole) : at % len(whole) + len(noise)] = noise
        try:
            list(read(bytes(damaged)))
        except ArchiveError:
            continue


def test_sound_sets():
    assert dict(read_cat(cat({"Horn": wave(), "Bell": wave(b"longer one")}))) == {
        "Horn": wave(),
        "Bell": wave(b"longer one"),
    }
    with pytest.raises(ArchiveError):
        list(read_cat(cat({"Horn": b"MThd"})))
    with pytest.raises(ArchiveError):
        list(read_cat(b""))
    with pytest.raises(ArchiveError, match="past the end"):
        list(read_cat(cat({"Horn": wave()})[:-2]))


def test_containers_inside_get_short_names():
    named = cat({'"Ship horn". By somebody. License: CC.': wave()})
    assert [name for name, _ in inside("games/opensfx.cat", named)] == ["opensfx/00-ship-horn.wav"]
    assert [name for name, _ in inside("x/photos.rcc", rcc({"a.png": b"1"}))] == ["photos/images/a.png"]
    bundle = io.BytesIO()
    with zipfile.ZipFile(bundle, "w") as archive:
        archive.writestr("music/a.ogg", b"OggS")
    assert list(inside("base/0music.pk3", bundle.getvalue())) == [("0music/music/a.ogg", b"OggS")]
    assert list(inside("a/b.png", b"1")) == [("a/b.png", b"1")]


@pytest.mark.parametrize("path", ["/etc/passwd", "../x", "a/../../x", "a\\b", "", "a\0b"])
def test_paths_stay_inside(path):
    with pytest.raises(ArchiveError):
        safe_path(path)
