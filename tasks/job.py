"""One message's way through the farm: admit, analyse under a lease, settle its sounds, commit.

The ledger in the store is the truth and the broker only transport: a message may come twice, late, or not at all
(then the sweeper sends it again), and every ending is written down before the message is acknowledged.
"""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import ValidationError

from media.fetch_policy import FetchUnavailable
from media.types import DecoderDied
from models.soundid.segment import IndexCorrupt
from store.artifacts import ArtifactStore
from store.store import Admission, Commit, LeaseLost, SoundUseRow, Started, Store, StoreError, TagRow
from tasks.contract import QUEUE, SoundUse, TagDocument, TagUpload
from tasks.gate import Gate
from tasks.leases import LeaseKeeper
from tasks.pipeline import Analysis, Clock, Parts, analyse
from tasks.sound_library import SoundLibrary
from tasks.sounds import original_title, original_use, sound_uses, with_sounds

log = logging.getLogger(__name__)

Handled = Literal["committed", "known", "busy", "lost", "retry", "refused", "aside"]

RETRY_S = (5.0, 30.0, 120.0, 600.0)
"""Waits before an upload is tried again whose file could not be had, s; the last one repeats."""
SUSPECT_AFTER = 2
"""Attempts lost with their node, after which an upload is worked on alone: its neighbours shall not be lost as well."""
ALONE_AGAIN_S = 60.0
"""If it does not come to that within so long, the sweeper sends it again, s."""
CRASH_RETRY_S = 2.0
"""Wait before an upload is tried again that ended its decoder, s."""
TROUBLE_S = 15.0
"""Wait before an upload is tried again after trouble that is the node's own, s."""
MAX_KEPT = 100_000
"""Characters kept of a refused message."""


@dataclass(frozen=True)
class Desk:
    """Where messages become documents: everything that handling one needs."""

    store: Store
    artifacts: ArtifactStore
    parts: Parts
    library: SoundLibrary
    leases: LeaseKeeper
    owner: str
    lease_s: float
    max_attempts: int
    gate: Gate = field(default_factory=lambda: Gate(slots=1_000, places=1_000))
    step_aside: Callable[[dict[str, Any]], None] | None = None
    """Sends a message of a busy account to where it waits for the others; None: this node does not serve that."""
    observe: Callable[[Handled, TagDocument | None, float], None] = lambda *_: None
    """Told of every handled message: how it ended, its document, and how long it took, s."""
    observe_age: Callable[[str, float], None] = lambda *_: None
    """Told of every message that comes: its queue, and how long it waited there, s."""

    def handle(self, message: Any, queue: str = QUEUE) -> Handled:
        """Handle one message. Returns how it ended; after any of these the message can be acknowledged."""
        start = time.perf_counter()
        handled, document = self._handle(message, queue)
        self.observe(handled, document, time.perf_counter() - start)
        return handled

    def _handle(self, message: Any, queue: str) -> tuple[Handled, TagDocument | None]:
        try:
            upload = TagUpload.model_validate(message)
        except ValidationError as error:
            return self._refuse(message, error, queue)
        request = upload.model_dump(mode="json", exclude_defaults=True)
        if self.step_aside is not None and queue == QUEUE and self.gate.crowded_by(upload.account_id):
            self.step_aside(request)
            return "aside", None
        with self.gate.admitted(queue, upload.account_id):
            return self._handle_upload(upload, request, queue)

    def _handle_upload(
        self, upload: TagUpload, request: dict[str, Any], queue: str
    ) -> tuple[Handled, TagDocument | None]:
        admission = self._admit(upload, request, upload.request_hash(), queue)
        if not isinstance(admission, Started):
            return self._nothing(upload, admission)
        if admission.lost < SUSPECT_AFTER:
            return self._leased(upload, admission)
        # It waits without a lease: what it waits for may be what ends the node, and it would be lost with that again.
        self.store.hand_back(admission.attempt_id, "to be worked on alone", retry_in_s=ALONE_AGAIN_S)
        self.leases.let_go(admission.attempt_id)
        with self.gate.alone():
            admission = self._admit(upload, request, upload.request_hash(), queue)
            if not isinstance(admission, Started):
                return self._nothing(upload, admission)
            return self._leased(upload, admission)

    def _nothing(self, upload: TagUpload, admission: Admission) -> tuple[Handled, None]:
        name = type(admission).__name__.lower()
        log.info("upload %s: %s, nothing to do", upload.upload_id, name)
        return ("busy" if name == "busy" else "known"), None

    def _leased(self, upload: TagUpload, attempt: Started) -> tuple[Handled, TagDocument | None]:
        try:
            return self._attempt(upload, attempt)
        finally:
            self.leases.let_go(attempt.attempt_id)

    def _admit(self, upload: TagUpload, request: dict[str, Any], request_hash: str, queue: str) -> Admission:
        with self.leases.taking():
            admission = self.store.admit(
                upload.upload_id,
                request,
                request_hash,
                owner=self.owner,
                lease_s=self.lease_s,
                queue=queue,
                priority=upload.priority,
                max_attempts=self.max_attempts,
            )
            if isinstance(admission, Started):
                self.leases.hold(admission.attempt_id)
        return admission

    def _attempt(self, upload: TagUpload, attempt: Started) -> tuple[Handled, TagDocument | None]:
        try:
            analysis = analyse(upload, self.parts)
            document = self._commit(upload, attempt, analysis)
        except LeaseLost:
            log.warning("upload %s: another node has it now, nothing was written", upload.upload_id)
            return "lost", None
        except FetchUnavailable as error:
            if attempt.number >= self.max_attempts:
                gone = TagDocument(
                    upload_id=upload.upload_id,
                    outcome="timeout",
                    reason=f"the media could not be fetched in {attempt.number} attempts: {error}",
                )
                return "committed", self._commit(upload, attempt, Analysis(gone))
            self._again(upload, attempt, f"fetch: {error}")
        except DecoderDied as error:
            # When it has ended too many of them the sweeper finds it exhausted, and quarantines it.
            log.warning("upload %s: attempt %d ended its decoder (%s)", upload.upload_id, attempt.number, error.how)
            self.store.fail(attempt.attempt_id, error.reason, retry_in_s=CRASH_RETRY_S)
        except (OSError, StoreError, IndexCorrupt) as error:
            # The node's trouble (a full disk, a damaged index, a store that is away), not the upload's: not counted.
            log.exception("upload %s: attempt %d could not be ended", upload.upload_id, attempt.number)
            self.store.hand_back(attempt.attempt_id, type(error).__name__, retry_in_s=TROUBLE_S)
        except Exception as error:
            log.exception("upload %s: attempt %d failed", upload.upload_id, attempt.number)
            self._again(upload, attempt, f"failed: {type(error).__name__}")
        else:
            why = f" ({document.reason})" if document.reason else ""
            log.info("upload %s: %s%s in %s", upload.upload_id, document.outcome, why, document.timings_ms)
            return "committed", document
        return "retry", None

    def _again(self, upload: TagUpload, attempt: Started, reason: str) -> None:
        """Give the upload back to the ledger; the sweeper sends it again when it is due."""
        wait = RETRY_S[min(attempt.number, len(RETRY_S)) - 1]
        log.warning("upload %s: again in %.0f s (%s)", upload.upload_id, wait, reason)
        self.store.fail(attempt.attempt_id, reason, retry_in_s=wait)

    def _commit(self, upload: TagUpload, attempt: Started, analysis: Analysis) -> TagDocument:
        clock = Clock()
        fingerprint = analysis.fingerprint
        uses: list[SoundUse] = []
        with clock.stage("match"):
            if fingerprint is not None:
                self.library.sync(self.store)
                uses = sound_uses(self.library.match(fingerprint))
        artifact = None
        with clock.stage("artifacts"):
            if analysis.artifacts:
                artifact = self.artifacts.put(upload.upload_id, attempt.attempt_id, analysis.artifacts)
        try:
            document, registered = self._write(upload, attempt, analysis, uses, clock, artifact)
        except BaseException:
            if artifact is not None:
                self.artifacts.delete(artifact)
            raise
        if registered:
            try:
                self.library.sync(self.store)
            except Exception:
                log.exception("the new sound is not in this machine's index yet; the next match takes it in")
        return document

    def _write(
        self,
        upload: TagUpload,
        attempt: Started,
        analysis: Analysis,
        uses: list[SoundUse],
        clock: Clock,
        artifact: str | None,
    ) -> tuple[TagDocument, bool]:
        """The one transaction. Returns the document, and whether a new sound was registered."""
        registered = False
        fingerprint = analysis.fingerprint
        with self.store.commit(attempt.attempt_id) as transaction:
            if fingerprint is not None and not uses and fingerprint.recognisable:
                uses, registered = self._register(upload, analysis, transaction)
            document = with_sounds(analysis.document, uses).model_copy(
                update={
                    "attempts": attempt.number,
                    "timings_ms": {**analysis.document.timings_ms, **clock.ms},
                }
            )
            transaction.keep_shadows(analysis.shadows)
            encodings = analysis.encodings if artifact is not None else []
            uses_kept = sound_use_rows(document)
            transaction.finish(document.to_json(), tag_rows(document), uses_kept, artifact, encodings)
        return document, registered

    def _register(self, upload: TagUpload, analysis: Analysis, transaction: Commit) -> tuple[list[SoundUse], bool]:
        """Make the upload's sound a sound of its own - unless another node was just quicker with the same one."""
        assert analysis.fingerprint is not None
        transaction.lock_sounds()
        self.library.sync(transaction)
        # Matched again in any case: another thread of this node may have taken the same sound in a moment ago.
        if uses := sound_uses(self.library.match(analysis.fingerprint)):
            return uses, False
        title = original_title(upload.upload_id)
        sound_id = transaction.add_sound(
            kind="original",
            title=title,
            duration_s=analysis.fingerprint.duration_s,
            fingerprint=analysis.fingerprint.to_bytes(),
            origin_upload_id=upload.upload_id,
        )
        return [original_use(sound_id, title, analysis.fingerprint)], True

    def _refuse(self, message: Any, error: ValidationError, queue: str) -> tuple[Handled, TagDocument | None]:
        """A message that is no upload. It is kept for people; if it says which upload it means, that has its answer."""
        problems = "; ".join(f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors())
        log.error("refused a message: %s", problems)
        body = json.dumps(message, default=str)
        self.store.refuse(body[:MAX_KEPT], problems[:2000])
        claimed = message.get("upload_id") if isinstance(message, dict) else None
        try:
            upload = TagUpload.model_validate({"upload_id": claimed, "media": "refused:"})
        except ValidationError:
            return "refused", None
        request_hash = hashlib.sha256(body.encode()).hexdigest()
        admission = self._admit(upload, {}, request_hash, queue)
        if not isinstance(admission, Started):
            return "refused", None
        reason = f"the message does not fit the contract: {problems[:500]}"
        document = TagDocument(upload_id=upload.upload_id, outcome="unsupported", reason=reason)
        try:
            return "refused", self._commit(upload, admission, Analysis(document))
        finally:
            self.leases.let_go(admission.attempt_id)


def tag_rows(document: TagDocument) -> list[TagRow]:
    """The document's tags, one row each, for queries by tag."""
    rows = [
        TagRow(
            tagger="topics", version=document.models["topics"], tag=topic.topic, score=topic.score, ranges=topic.ranges
        )
        for topic in document.topics
    ]
    rows += [
        TagRow(
            tagger="events", version=document.models["events"], tag=event.event, score=event.score, ranges=event.ranges
        )
        for event in document.events
    ]
    if document.layout is not None and document.layout.kind is not None:
        layout = document.layout
        rows.append(TagRow("layout", document.models["layout"], str(layout.kind), layout.score, []))
    return rows


def sound_use_rows(document: TagDocument) -> list[SoundUseRow]:
    """The document's sounds, one row each."""
    return [
        SoundUseRow(
            sound_id=use.sound_id,
            score=use.score,
            start_s=use.range[0],
            end_s=use.range[1],
            offset_s=use.offset_s,
            speed=use.speed,
            pitch_semitones=use.pitch_semitones,
        )
        for use in document.sounds
    ]
