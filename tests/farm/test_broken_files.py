"""Three hundred broken files through a running farm."""

from pathlib import Path

import pytest

from benchmarks import broken


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_every_broken_file_ends_in_a_typed_outcome_and_harms_nobody(tmp_path: Path) -> None:
    result = broken.run(broken.COUNT, tmp_path)
    assert result["typed"] == broken.COUNT
    assert result["node_deaths"] == 0
    assert result["left_in_scratch"] == 0
    assert result["log_errors"] == 0
    assert result["sound_file_after"] == "ok"


def test_the_same_seed_gives_the_same_files(tmp_path: Path) -> None:
    first = broken.generate(tmp_path / "a", 60)
    second = broken.generate(tmp_path / "b", 60)
    assert [kind for kind, _ in first] == [kind for kind, _ in second]
    assert len({kind for kind, _ in first}) >= 8
    same = [a.read_bytes() == b.read_bytes() for (_, a), (_, b) in zip(first, second, strict=True)]
    assert all(same)
