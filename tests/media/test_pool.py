from __future__ import annotations

import importlib
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import resource_tracker
from pathlib import Path

import numpy as np
import psutil
import pytest

from media import landlock, seccomp
from media.pool import CLOSE_CHECK_S, DecoderPool, DecodersUnusable
from media.types import Limits, MediaError

ROOT = Path(__file__).parents[2]
QUICK = Limits(deadline_s=20.0)


def load_planted():
    """The module of planted observers, under a name that the decoders' processes can import."""
    folder = str(Path(__file__).parent)
    if folder not in sys.path:
        sys.path.append(folder)  # handed on to the processes that are spawned
    return importlib.import_module("planted")


planted = load_planted()
REFUSED = {"OSError", "PermissionError", "ValueError"}


def decoders() -> list[psutil.Process]:
    """This process's decoders, not the helper that multiprocessing keeps.

    A zombie is one too: whoever closes a pool reaps what it started. A warm process that starts has short-lived
    children of its own, so nothing may be asked of a process here: it may be over.
    """
    helper = resource_tracker._resource_tracker._pid
    return [child for child in psutil.Process().children(recursive=True) if child.pid != helper]


def wait_for_decode(scratch: Path) -> None:
    """Until a confined child decodes: only it writes there."""
    deadline = time.monotonic() + 20
    while not any(any(folder.iterdir()) for folder in scratch.glob("decoded-*")):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_pool_decodes_and_observers_answer(clip: Path, scratch: Path, monkeypatch) -> None:
    monkeypatch.setenv("TAGFARM_STORE__URL", "postgresql://tagfarm:s3cret@db/tagfarm")
    before = {process.pid for process in decoders()}
    with DecoderPool(1, QUICK, [planted.Counter]) as pool:
        media = pool.decode(clip, scratch)
        again = pool.decode(clip, scratch)
    assert media.frames_decoded == 150 and media.frames.shape[0] >= 12
    assert isinstance(media.frames, np.memmap) and not media.frames.flags.writeable
    assert isinstance(media.waveform, np.memmap)
    seen = media.observations["counter"]
    assert seen["frames"] == 150
    np.testing.assert_array_equal(seen["curve"], np.arange(5, dtype=np.float32))
    assert seen["nested"]["list"] == [1, 2.5, None, "x", [True, 3]]
    assert seen["nested"]["empty"].shape == (0, 2)
    # Each upload had a process of its own, and none had the farm's environment.
    assert seen["pid"] != again.observations["counter"]["pid"]
    assert "s3cret" not in str(seen["environment"]) and "PATH" not in seen["environment"]
    assert seen["environment"]["OMP_NUM_THREADS"] == "1"
    assert {process.pid for process in decoders()} <= before


@pytest.mark.parametrize(
    ("deed", "outcome", "reason"),
    [
        ("segfault", "corrupt", "the decoder process died: SIGSEGV"),
        ("exit", "corrupt", "the decoder process died: exit status 7"),
        ("kill", "corrupt", "the decoder process died: SIGKILL"),
    ],
)
def test_a_crash_ends_one_upload_and_leaves_nothing(clip, scratch, deed, outcome, reason) -> None:
    with DecoderPool(1, QUICK, [planted.villain(deed)]) as pool:
        for _ in range(3):  # and the pool goes on
            with pytest.raises(MediaError) as failure:
                pool.decode(clip, scratch)
            assert (failure.value.outcome, failure.value.reason) == (outcome, reason)
    assert list(scratch.iterdir()) == []


@pytest.mark.parametrize("deed", ["hang", "spin"])
def test_a_hang_ends_at_the_deadline(clip: Path, studio, scratch: Path, pictures, deed: str) -> None:
    still = studio.picture(pictures.corners(40, 40), "png")  # over before the tenth frame
    with DecoderPool(1, Limits(deadline_s=1.0), [planted.villain(deed)]) as pool:
        start = time.monotonic()
        with pytest.raises(MediaError) as failure:
            pool.decode(clip, scratch)
        assert failure.value.outcome == "timeout"
        assert time.monotonic() - start < 6  # most of it is the start of the process
        assert list(scratch.iterdir()) == []
        assert pool.decode(still, scratch).info.still


def test_an_upload_that_needs_too_much_memory_is_too_large(studio, scratch: Path, pictures) -> None:
    big = studio.picture(pictures.corners(4000, 4000), "png")
    small = studio.picture(pictures.corners(40, 40), "png")
    with DecoderPool(1, Limits(memory_bytes=24 << 20), []) as pool:
        with pytest.raises(MediaError) as failure:
            pool.decode(big, scratch)
        assert failure.value.outcome == "too_large"
        assert pool.decode(small, scratch).info.still


def test_an_observer_that_swells_loses_its_result_only(clip: Path, scratch: Path) -> None:
    with DecoderPool(1, QUICK, [planted.villain("swell"), planted.Counter, planted.Unspeakable]) as pool:
        media = pool.decode(clip, scratch)
    assert media.observations["villain"]["error"].startswith("MemoryError")
    assert media.observations["counter"]["frames"] == 150
    assert "object" in media.observations["unspeakable"]["error"]


@pytest.mark.skipif(landlock.version() < 4, reason="this kernel has no Landlock 4")
def test_a_decoder_that_was_taken_over_gets_nowhere(clip: Path, scratch: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("s3cret")
    with DecoderPool(1, QUICK, [planted.intruder(str(secret))]) as pool:
        tried = pool.decode(clip, scratch).observations["intruder"]
    for name in ("read", "write", "append", "list", "remove", "link", "run", "environ of the parent"):
        assert tried[name] == "PermissionError", name
    if landlock.version() >= 6:
        assert tried["signal"] == "PermissionError"
    assert tried["udp"] in REFUSED and tried["tcp"] in REFUSED
    if seccomp.supported() is None:
        for name in (
            "shell", "fork", "fork bomb", "any socket", "netlink", "trace", "limits of the parent", "namespace",
            "memory of the parent", "io_uring", "bpf", "mount", "user", "raise a limit",
        ):  # fmt: skip
            assert tried[name] in REFUSED, (name, tried[name])
    assert secret.read_text() == "s3cret"
    assert len(tried["descriptors"].split(",")) <= 6  # the standard three, the upload, the waveform


def test_a_decoder_that_fills_its_scratch_is_stopped(clip: Path, scratch: Path) -> None:
    limits = Limits(deadline_s=30.0, scratch_bytes=40 << 20)
    with DecoderPool(1, limits, [planted.villain("flood")]) as pool:
        with pytest.raises(MediaError) as failure:
            pool.decode(clip, scratch)
        assert (failure.value.outcome, failure.value.reason) == ("too_large", "decoding it writes more than 40 MiB")
    assert list(scratch.iterdir()) == []


def test_many_threads_share_a_pool(clip: Path, studio, scratch: Path) -> None:
    broken = studio.raw(clip.read_bytes()[:9000], ".mp4")

    def work(index: int) -> str:
        try:
            return str(pool.decode(broken if index % 3 == 0 else clip, scratch).frames_decoded)
        except MediaError as error:
            return error.outcome

    with DecoderPool(2, QUICK, [planted.Counter], recycle_after=3) as pool, ThreadPoolExecutor(6) as threads:
        found = list(threads.map(work, range(12)))
    assert found == ["corrupt" if index % 3 == 0 else "150" for index in range(12)]


def test_a_warm_process_that_dies_is_replaced(clip: Path, scratch: Path) -> None:
    before = {process.pid for process in decoders()}
    with DecoderPool(1, QUICK) as pool:
        pool.decode(clip, scratch)
        for _ in range(2):
            for process in decoders():
                if process.pid not in before:
                    process.kill()
            time.sleep(0.3)
            assert pool.decode(clip, scratch).frames_decoded == 150


def test_closing_ends_what_is_in_flight_and_leaves_no_process(clip: Path, scratch: Path) -> None:
    before = {process.pid for process in decoders()}
    with ThreadPoolExecutor(1) as threads:
        with DecoderPool(1, Limits(deadline_s=60.0), [planted.villain("hang")]) as pool:
            decode = threads.submit(pool.decode, clip, scratch)
            wait_for_decode(scratch)
            family = [process for process in decoders() if process.pid not in before]
            assert len(family) == 2, "the warm process and the decode's own"
        assert {process.pid for process in decoders()} <= before
        _, alive = psutil.wait_procs(family, timeout=5)
        assert alive == []
        assert isinstance(decode.exception(10), RuntimeError)
    assert list(scratch.iterdir()) == []
    with pytest.raises(RuntimeError):
        pool.decode(clip, scratch)
    pool.close()


def test_the_folder_of_a_decode_in_flight_stays_until_its_decoder_has_ended(clip: Path, scratch: Path) -> None:
    found: list[bool] = []
    with ThreadPoolExecutor(1) as threads:
        with DecoderPool(1, Limits(deadline_s=60.0), [planted.villain("hang")]) as pool:
            decode = threads.submit(pool.decode, clip, scratch)
            wait_for_decode(scratch)
            join = pool._pool.join

            def join_late() -> None:
                time.sleep(3 * CLOSE_CHECK_S)
                found.append(any(scratch.iterdir()))
                join()

            pool._pool.join = join_late
        assert isinstance(decode.exception(10), RuntimeError)
    assert found == [True]
    assert list(scratch.iterdir()) == []


def test_an_observer_that_cannot_be_built_is_a_bug_and_told(clip: Path, scratch: Path) -> None:
    with DecoderPool(1, QUICK, [planted.unbuildable]) as pool, pytest.raises(DecodersUnusable, match="no such library"):
        pool.decode(clip, scratch)


def test_without_a_folder_there_is_the_scratch_root(clip: Path, scratch: Path) -> None:
    with DecoderPool(1, QUICK, scratch_root=scratch) as pool:
        assert pool.decode(clip).frames_decoded == 150
        assert len(list(scratch.iterdir())) == 1
    with DecoderPool(1, QUICK) as pool, pytest.raises(ValueError, match="scratch"):
        pool.decode(clip)


def test_a_decoder_does_not_outlive_the_farm(clip: Path, scratch: Path) -> None:
    """The farm is killed with SIGKILL in the middle of a decode that hangs."""
    import subprocess

    code = (
        f"import sys; sys.path.append({str(Path(__file__).parent)!r})\n"
        "import planted\nfrom pathlib import Path\nfrom media.pool import DecoderPool\nfrom media.types import Limits\n"
        "if __name__ == '__main__':\n"
        "    pool = DecoderPool(1, Limits(deadline_s=600.0), [planted.villain('hang')])\n"
        f"    pool.decode(Path({str(clip)!r}), Path({str(scratch)!r}))\n"
    )
    script = scratch / "farm.py"
    script.write_text(code)
    farm = subprocess.Popen([sys.executable, str(script)], env={**os.environ, "PYTHONPATH": str(ROOT)})
    process = psutil.Process(farm.pid)
    wait_for_decode(scratch)
    family = process.children(recursive=True)
    farm.kill()
    farm.wait()
    _, alive = psutil.wait_procs(family, timeout=5)
    assert alive == []
