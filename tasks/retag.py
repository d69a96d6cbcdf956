"""Re-tagging many uploads: heads run again on what is kept, and the rest goes to the farm.

What can be done from kept evidence is done in this process, without a network and without a frame; what cannot is made
due on the queue `backfill`, after fresh uploads, never more at once than `in_flight`. A run can be killed at any moment
and started again: see `store.retag`.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from models.protocol import Encoder, Tagger, optional_encoders
from store.artifacts import ArtifactCorrupt, ArtifactStore
from store.rewrite import Current
from store.store import Counts, Retagged, Run, Store, Target
from tasks.contract import TagDocument
from tasks.kept import FRAMES_ONLY, KeptEvidence, NotKept, evidence_of, names_for
from tasks.pipeline import SOUNDID, reason_of
from tasks.sound_library import SOUNDID_VERSION

log = logging.getLogger(__name__)

BATCH = 64
"""Uploads of one transaction."""
IN_FLIGHT = 200
"""Uploads that the farm has of one run at most: what is paused stops within these."""
POLL_S = 1.0
"""How often the farm's progress and a pause are looked for, s."""


class UnknownTagger(Exception):
    """No such tagger runs here. The message says why."""


@dataclass(frozen=True)
class Heads:
    """What runs in this process."""

    encoders: Mapping[str, Encoder]
    taggers: Sequence[Tagger]
    absent: Mapping[str, str] = field(default_factory=dict)
    challengers: Mapping[str, str] = field(default_factory=dict)
    """By tagger the version that speaks of a share of the uploads in the champion's place."""

    def tagger(self, name: str) -> Tagger:
        """A tagger by name. Raises `UnknownTagger`."""
        for tagger in self.taggers:
            if tagger.name == name:
                return tagger
        raise UnknownTagger(self.absent.get(name) or f"there is no tagger {name!r}")

    def target(self, name: str) -> Target:
        """What the tagger's name stands for now. Raises `UnknownTagger`."""
        if name == SOUNDID:
            return Target(SOUNDID, SOUNDID_VERSION, {}, from_kept=False)
        tagger = self.tagger(name)
        encoders = {encoder: self.encoders[encoder].version for encoder in tagger.encoders}
        beside = (self.challengers[name],) if name in self.challengers else ()
        return Target(name, tagger.version, encoders, from_kept=name not in FRAMES_ONLY, beside=beside)

    def from_kept(self) -> list[str]:
        """Taggers that can be run from what is kept."""
        return [tagger.name for tagger in self.taggers if tagger.name not in FRAMES_ONLY]


def refusal(counts: Counts, targets: Sequence[Target]) -> str | None:
    """Why what is kept is not enough for all selected uploads, and what to do; None: it is."""
    if counts.kept == counts.selected:
        return None
    frames = [
        f"{one.tagger} cannot be run from embeddings: {FRAMES_ONLY[one.tagger]}" for one in targets if not one.from_kept
    ]
    why = list(frames)
    now = ", ".join(sorted({version for one in targets for version in one.encoders.values()}))
    if counts.stale and not frames:
        old = ", ".join(f"{count} of {encoder}" for encoder, count in counts.encoders.items())
        why.append(f"{counts.stale} of {counts.selected} have embeddings of another encoder ({old}; it is {now} now)")
    if counts.without and not frames:
        why.append(
            f"{counts.without} of {counts.selected} have none that would do" + (f": it takes {now}" if now else "")
        )
    return (
        f"--from-embeddings is refused: {', and '.join(why)}. Have the farm decode those again: leave out "
        "--from-embeddings (the others still go the cheap way), or say --full; or leave them as they are: --skip-stale"
    )


@dataclass
class Progress:
    """How far a run is: items by state."""

    run_id: int
    items: dict[str, int]
    paused: bool = False

    @property
    def total(self) -> int:
        """All items."""
        return sum(self.items.values())

    @property
    def left(self) -> int:
        """Items that are not settled yet."""
        return self.items.get("waiting", 0) + self.items.get("sent", 0)

    def move(self, before: str, after: str, count: int = 1) -> None:
        """Items went from one state to another."""
        self.items[before] = self.items.get(before, 0) - count
        self.items[after] = self.items.get(after, 0) + count


def kept_evidence(
    artifact: str | None,
    request: Mapping[str, Any],
    artifacts: ArtifactStore,
    heads: Heads,
    taggers: Sequence[Tagger],
) -> KeptEvidence:
    """What is kept of one upload, as far as these taggers read it.

    Raises:
        NotKept: something that they need is not kept.
        ArtifactCorrupt: it cannot be read.
    """
    encoders = {name: heads.encoders[name] for tagger in taggers for name in tagger.encoders}
    welcome = {name for tagger in taggers for name in optional_encoders(tagger)}
    optional = {name: encoder for name, encoder in heads.encoders.items() if name in welcome and name not in encoders}
    arrays = artifacts.get(artifact, names_for([*encoders, *optional])) if artifact else None
    if arrays is None:
        raise NotKept("what was kept of it is gone")
    return evidence_of(arrays, encoders, request.get("caption", ""), request.get("hashtags", ()), optional)


def say_again(
    current: Current, request: Mapping[str, Any], artifacts: ArtifactStore, heads: Heads, names: Sequence[str]
) -> Retagged:
    """What these taggers say of one upload now, from what is kept of it.

    Raises:
        NotKept: something that they need is not kept.
        ArtifactCorrupt: it cannot be read.
    """
    asked_for = request.get("taggers")
    taggers = [heads.tagger(name) for name in names if asked_for is None or name in asked_for]
    kept = kept_evidence(current.artifact, request, artifacts, heads, taggers)
    document = current.said()
    for tagger in taggers:
        document[tagger.section] = tagger.tag(kept.evidence)
    spoke = {tagger.name: tagger.version for tagger in taggers}
    document["models"] = {**document["models"], **spoke}
    absent = {name: why for name, why in document["absent"].items() if name not in spoke}
    if absent != document["absent"]:
        reason = reason_of(kept.damaged, kept.evidence.duration_s, absent)
        document |= {"absent": absent, "reason": reason, "outcome": "degraded" if reason else "ok"}
    if "topics" in spoke:
        first = document["topics"][0]["topic"] if document["topics"] else None
        document["diversity"] = {**document["diversity"], "topic": first}
    return Retagged(current, TagDocument.model_validate(document).to_json(), spoke)


@dataclass
class Retagger:
    """One run's work. `rate`: uploads a second at most; None: as many as go."""

    store: Store
    artifacts: ArtifactStore
    heads: Heads
    run: Run
    full_instead: bool
    """Send to the farm what turns out not to be kept; False: it fails."""
    rate: float | None = None
    in_flight: int = IN_FLIGHT
    stopped: threading.Event = field(default_factory=threading.Event)
    told: Callable[[Progress], object] = lambda progress: None

    def work(self) -> Progress:
        """Work until nothing is left, the run is cancelled, or `stopped` is set."""
        progress = Progress(self.run.run_id, dict(self.run.items))
        began, done, looked = time.monotonic(), 0, 0.0
        while not self.stopped.is_set():
            if time.monotonic() - looked >= POLL_S:
                looked = time.monotonic()
                state = self.store.retag_state(self.run.run_id)
                if state not in ("running", "paused"):
                    return progress
                progress.paused = state == "paused"
                self._with_the_farm(progress)
                self.told(progress)
            settled = 0 if progress.paused else self._batch(progress)
            done += settled
            if settled:
                self.told(progress)
                if self.rate:
                    self.stopped.wait(max(0.0, began + done / self.rate - time.monotonic()))
            elif not progress.left:
                self.store.set_retag_state(self.run.run_id, "done")
                return progress
            else:
                self._recount(progress)
                # A pause is no time saved up for later.
                self.stopped.wait(POLL_S)
                began, done = time.monotonic(), 0
        return progress

    def _batch(self, progress: Progress) -> int:
        """Run heads on the next items. Returns how many were settled."""
        size = BATCH if self.rate is None else max(1, min(BATCH, int(self.rate)))
        items = self.store.retag_items(self.run.run_id, size)
        said: list[Retagged] = []
        refused: dict[str, str] = {}
        for current, request in items:
            try:
                said.append(say_again(current, request, self.artifacts, self.heads, list(self.run.targets)))
            except (NotKept, ArtifactCorrupt) as error:
                refused[current.upload_id] = str(error)
            except Exception as error:
                log.exception("upload %s cannot be tagged from what is kept", current.upload_id)
                refused[current.upload_id] = f"failed: {type(error).__name__}"
        if not items:
            return 0
        states = self.store.settle_retagged(self.run.run_id, said, refused, self.full_instead)
        for state in states.values():
            progress.move("waiting", "waiting" if state == "full" else state)
        return len(items)

    def _recount(self, progress: Progress) -> None:
        """Ask the store: another process may work on the same run."""
        run = self.store.retag_run(self.run.run_id)
        progress.items = dict(run.items) if run is not None else {}

    def _with_the_farm(self, progress: Progress) -> None:
        progress.move("sent", "done", self.store.collect_retagged(self.run.run_id))
        if not progress.paused:
            room = self.in_flight if self.rate is None else max(1, min(self.in_flight, int(self.rate * POLL_S)))
            progress.move("waiting", "sent", self.store.send_retagged(self.run.run_id, room))
