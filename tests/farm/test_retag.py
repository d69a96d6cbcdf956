"""A run of re-tagging on a real farm: from what its nodes kept, and through them."""

from __future__ import annotations

import threading
from pathlib import Path

from store.artifacts import ArtifactStore
from store.store import NewLabel, Selection
from tasks.retag import Heads, Retagger
from workers.build import build_models
from workers.settings import Settings


def test_an_archive_is_tagged_again_both_ways(farm, media: Path) -> None:
    for name in ("r1", "r2"):
        farm.send(name, media / "a.mp4", country="IT")
    farm.send("r3", media / "silent.mp4")
    before = {name: farm.document(name) for name in ("r1", "r2", "r3")}
    settings = Settings(home=farm.home, _env_file=None)  # type: ignore[call-arg]
    settings.models.device = "cpu"
    models = build_models(settings)
    heads = Heads(models.encoders, models.taggers, models.absent)
    targets = [heads.target(name) for name in heads.from_kept()]
    artifacts = ArtifactStore((farm.home / "artifacts").as_uri())
    head = farm.store.feed_head()
    # From what is kept: every head says what it said of the file, so nothing is news.
    run, _ = farm.store.open_retag(Selection(where="upload_id in ('r1', 'r2', 'r3')"), targets, ("embeddings", "full"))
    done = Retagger(farm.store, artifacts, heads, run, full_instead=True).work()
    assert {state: count for state, count in done.items.items() if count} == {"unchanged": 3}
    assert farm.store.feed_head() == head
    for name, document in before.items():
        assert farm.store.document(name) == document
    # Through the nodes, which decode the files again; a label holds.
    first = before["r1"]["events"][0]["event"]
    farm.store.label("r1", [NewLabel("r1", "events", first, "reject", "ada")])
    run, _ = farm.store.open_retag(Selection(where="country = 'IT'"), targets, ("full",), full=True)
    worker = Retagger(farm.store, artifacts, heads, run, full_instead=True, in_flight=1)
    thread = threading.Thread(target=worker.work, daemon=True)
    thread.start()
    farm.wait(lambda: farm.store.retag_run(run.run_id).state == "done", "the run")
    thread.join(10)
    assert farm.store.retag_run(run.run_id).items == {"done": 2}
    assert first not in [event["event"] for event in farm.store.document("r1")["events"]]
    assert farm.store.status("r2").queue == "backfill"
    after = farm.store.document("r2")
    for document in (after, before["r2"]):
        document.pop("timings_ms")
        document.pop("sounds")  # r1's sound may have been registered meanwhile under either
        document.pop("diversity")
    assert after == before["r2"]
    models.close()
