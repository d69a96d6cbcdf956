"""A file that ends its decoder every time, among good ones."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import planted
from scripts import clips

GOOD = 12
MAX_ATTEMPTS = 3


@pytest.mark.slow
def test_a_file_that_ends_its_decoder_is_quarantined_and_its_neighbours_are_done(
    farm_factory, media: Path, tmp_path: Path
) -> None:
    files = tmp_path / "farm" / "files"
    files.mkdir(parents=True)
    mine = clips.write(files / "mine.mp4", planted.mine_pictures(), None, fps=12)
    environment = {
        "TAGFARM_WORKER__MAX_ATTEMPTS": str(MAX_ATTEMPTS),
        "TAGFARM_WORKER__CONCURRENCY": "4",
        "TAGFARM_MEDIA__ROOTS": json.dumps([str(files)]),
    }
    farm = farm_factory(tmp_path / "farm", environment, program=(sys.executable, *planted.PROGRAM))

    def command(*arguments: str) -> subprocess.CompletedProcess[str]:
        line = [sys.executable, "-m", "scripts.cli", "quarantine", *arguments]
        return subprocess.run(line, env=farm.embedded.environment, capture_output=True, text=True, timeout=60)

    try:
        for number in range(GOOD):
            if number == GOOD // 2:
                farm.send("mine", mine)
            good = shutil.copy(media / "silent.mp4", files / f"good-{number}.mp4")
            farm.send(f"good{number}", Path(good))
        farm.wait(lambda: farm.store.counts()["quarantined"] == 1, "the quarantine")
        farm.wait(lambda: farm.store.feed_head() == GOOD + 1, "all documents")
        document = farm.document("mine")
        assert document["outcome"] == "quarantined"
        assert "SIGSEGV" in document["reason"]
        assert document["attempts"] == MAX_ATTEMPTS
        assert farm.log().count("ended its decoder (SIGSEGV)") == MAX_ATTEMPTS, "no more than N extra decodes"
        assert [farm.document(f"good{number}")["attempts"] for number in range(GOOD)] == [1] * GOOD
        assert farm.embedded.nodes[0].poll() is None

        farm.send("mine", mine)  # the same request again: it stays where it is
        (listed,) = map(json.loads, command("list", "--json").stdout.splitlines())
        assert (listed["upload_id"], listed["attempts"]) == ("mine", MAX_ATTEMPTS)
        assert "SIGSEGV" in command("list").stdout
        assert command("release", "good1").returncode == 1
        assert json.loads(command("release", "mine", "--json").stdout) == {"upload_id": "mine", "released": True}
        farm.wait(lambda: farm.log().count("ended its decoder (SIGSEGV)") == 2 * MAX_ATTEMPTS, "its second chance")
        farm.wait(lambda: farm.store.counts()["quarantined"] == 1, "the quarantine again")
        assert farm.store.feed_head() == GOOD + 1, "the same answer is no news"
    finally:
        farm.close()


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_file_that_ends_its_node_takes_no_neighbour_into_quarantine(
    farm_factory, media: Path, tmp_path: Path
) -> None:
    environment = {
        "TAGFARM_PLANTED": "assassin",
        "TAGFARM_WORKER__CONCURRENCY": "3",
        "TAGFARM_WORKER__LEASE_S": "6",
        "TAGFARM_WORKER__MAX_ATTEMPTS": "4",
        "TAGFARM_MEDIA__FETCH_DEADLINE_S": "5",
        "TAGFARM_MEDIA__DECODE_DEADLINE_S": "20",
        "TAGFARM_BROKER__VISIBILITY_TIMEOUT_S": "60",
    }
    farm = farm_factory(tmp_path / "farm", environment, program=(sys.executable, *planted.PROGRAM))
    try:
        deadly = Path(shutil.copy(media / "silent.mp4", media / "assassin.mp4"))
        farm.send("assassin", deadly)
        for number in range(GOOD):
            farm.send(f"good{number}", media / "a.mp4", caption=str(number))
        deaths = 0

        def settled() -> bool:
            nonlocal deaths
            if farm.embedded.nodes[0].poll() is not None:
                deaths += 1
                farm.embedded.nodes[0] = farm.embedded._launch(1)
            return farm.store.feed_head() == GOOD + 1

        farm.wait(settled, "all documents", patience_s=500)
        assert farm.document("assassin")["outcome"] == "quarantined"
        assert deaths == 4, "no more than N"
        good = [farm.document(f"good{number}") for number in range(GOOD)]
        assert {document["outcome"] for document in good} == {"ok"}
        assert max(document["attempts"] for document in good) <= 3
    finally:
        farm.close()


@pytest.mark.parametrize("wrong", [["release"], ["release", "x", "--all"]])
def test_the_command_says_what_it_wants(wrong: list[str]) -> None:
    line = [sys.executable, "-m", "scripts.cli", "quarantine", *wrong]
    done = subprocess.run(line, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert "--all" in done.stderr
