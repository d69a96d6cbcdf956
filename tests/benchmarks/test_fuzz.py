from __future__ import annotations

import pytest

from benchmarks import fuzz, mutations


def test_the_same_seed_gives_the_same_files_and_another_others() -> None:
    first = [mutations.mutated(number) for number in range(40)]
    assert first == [mutations.mutated(number) for number in range(40)]
    assert first != [mutations.mutated(number, seed=1) for number in range(40)]
    assert len({name for name, _, _ in first}) > 10
    assert all(data for _, _, data in first)


def test_every_mutation_is_used_and_every_kind_is_there() -> None:
    done = ", ".join(mutations.mutated(number)[1] for number in range(200))
    assert all(mutation in done for mutation in mutations.MUTATIONS)
    containers = {name.split("/")[0] for name in mutations.corpus()}
    assert containers >= {"mp4", "mov", "mkv", "webm", "avi", "ts", "flv", "m4a", "mp3", "wav", "flac", "png", "gif"}


def test_a_few_files_end_in_typed_outcomes() -> None:
    result = fuzz.run(0.0, 30, mutations.SEED, None, decoders=2)
    assert result["files"] == 30
    assert (result["decoders_died"], result["untyped"], result["late"], result["left_in_scratch"]) == (0, 0, 0, 0)
    assert sum(sum(counted.values()) for counted in result["outcomes"].values()) == 30


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_minute_of_fuzzing_breaks_nothing() -> None:
    result = fuzz.run(60.0, None, mutations.SEED + 1, None)
    assert [bar.name for bar in fuzz.bars_of(result) if not bar.met] == [], result["deaths"]
