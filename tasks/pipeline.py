"""One upload's way from bytes to a draft of its document: fetch, decode and measure, encode, heads.

What is shared by uploads (decoders, networks, sound index) is handed in as `Parts`; nothing here knows of a queue or a
store, so the same code serves a farm's node and `tagfarm tag FILE`.
"""

from __future__ import annotations

import logging
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from media.fetch import FetchedMedia
from media.pool import DecoderPool
from media.types import DecodedMedia, DecoderDied, MediaError
from models.layout.tagger import STILLNESS, standing_share
from models.protocol import Encoder, Encoding, Evidence, Tagger, optional_encoders
from models.soundid.fingerprint import Fingerprint
from store.documents import EncodingRow
from store.store import ShadowRow
from tasks.artifacts import artifacts_of
from tasks.contract import AudioInfo, Coverage, Diversity, MediaFacts, TagDocument, TagUpload, VideoInfo
from tasks.kept import encoding_rows
from tasks.lineup import LineupSwitch, Speakers, shadow_rows
from tasks.panes import PICTURE, pane_topics

log = logging.getLogger(__name__)

SOUNDID = "soundid"
FINGERPRINT = "fingerprint"


@dataclass(frozen=True)
class Parts:
    """What a node builds once and every upload uses."""

    fetch: Callable[[str, Path], FetchedMedia]
    decoder: DecoderPool
    encoders: Mapping[str, Encoder]
    taggers: Sequence[Tagger]
    absent: Mapping[str, str]
    """Taggers that this node cannot run, and why."""
    scratch: Path
    soundid_version: str
    lineup: LineupSwitch = field(default_factory=LineupSwitch)
    """Which trained versions speak in place of the packaged taggers; changes while the node runs."""
    off: Mapping[str, str] = field(default_factory=dict)
    """Taggers that this node leaves to others, and why: absent only where an upload asks for them by name."""

    def close(self) -> None:
        """End the decoder processes and the networks' threads."""
        self.decoder.close()
        for encoder in self.encoders.values():
            encoder.close()


@dataclass
class Analysis:
    """What was found out about one upload, before it is known which sounds it uses."""

    document: TagDocument
    fingerprint: Fingerprint | None = None
    artifacts: dict[str, np.ndarray] = field(default_factory=dict)
    """Embeddings, curves and key frames, by name: see `tasks.artifacts`."""
    encodings: list[EncodingRow] = field(default_factory=list)
    """Which encoders' rows are among the artifacts."""
    shadows: list[ShadowRow] = field(default_factory=list)
    """What shadows would have published."""


class Clock:
    """Milliseconds by stage."""

    def __init__(self) -> None:
        self.ms: dict[str, int] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time one stage; a failing stage is timed as well."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.ms[name] = self.ms.get(name, 0) + round((time.perf_counter() - start) * 1000)


def analyse(upload: TagUpload, parts: Parts) -> Analysis:
    """Analyse one upload.

    Every file gives a document: what the media's fault is becomes its outcome. Raises `media.fetch.FetchUnavailable`
    when the file could not be had *now*, and `media.types.DecoderDied` when its decoder's process ended: whoever asked
    decides how often to try again. Everything else that is raised is a bug.
    """
    clock = Clock()
    # Once for the whole upload: a promotion in its midst is for the uploads after it.
    speakers = parts.lineup.current.speakers(upload.upload_id, parts.taggers, parts.absent)
    scratch = Path(tempfile.mkdtemp(prefix="upload-", dir=parts.scratch))
    fetched: FetchedMedia | None = None
    try:
        with clock.stage("fetch"):
            fetched = parts.fetch(upload.media, scratch)
        with clock.stage("decode"):
            decoded = parts.decoder.decode(fetched.path, scratch)
        return _analyse_decoded(upload, fetched, decoded, parts, speakers, clock)
    except DecoderDied:
        raise
    except MediaError as error:
        facts = MediaFacts(sha256=fetched.sha256, bytes=fetched.bytes) if fetched else MediaFacts()
        document = TagDocument(
            upload_id=upload.upload_id,
            outcome=error.outcome,
            reason=error.reason,
            media=facts,
            timings_ms=clock.ms,
        )
        return Analysis(document)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _analyse_decoded(
    upload: TagUpload,
    fetched: FetchedMedia,
    decoded: DecodedMedia,
    parts: Parts,
    speakers: Speakers,
    clock: Clock,
) -> Analysis:
    evidence = _evidence(upload, decoded)
    with clock.stage("heads"):
        stillness = {STILLNESS: {"share": standing_share(evidence)}}  # of the frames, which are not kept
    evidence = replace(evidence, observations={**evidence.observations, **stillness})
    asked = [tagger for tagger in speakers.taggers if upload.wants(tagger.name)]
    absent = {name: why for name, why in speakers.absent.items() if upload.wants(name)}
    absent |= {name: why for name, why in parts.off.items() if name in (upload.taggers or ())}
    with clock.stage("encode"):
        watching = [shadow for shadow in speakers.shadows if upload.wants(shadow.name)]
        encodings, failed_encoders = _encode(evidence, [*asked, *watching], speakers.encoders(parts.encoders))
    evidence = replace(evidence, encodings=encodings)

    sections: dict[str, Any] = {}
    models: dict[str, str] = {}
    with clock.stage("heads"):
        for tagger in asked:
            lost = [name for name in tagger.encoders if name in failed_encoders]
            if lost:
                absent[tagger.name] = failed_encoders[lost[0]]
                continue
            try:
                sections[tagger.section] = tagger.tag(evidence)
                models[tagger.name] = tagger.version
            except Exception as error:
                log.exception("tagger %s failed on %s", tagger.name, upload.upload_id)
                absent[tagger.name] = f"failed: {type(error).__name__}"

    with clock.stage("panes"):
        _tag_panes(sections, evidence, asked, parts.encoders)

    with clock.stage("shadows"):
        shadows = shadow_rows(speakers, evidence, sections, models)

    fingerprint = None
    if upload.wants(SOUNDID) and SOUNDID not in absent and SOUNDID not in parts.off:
        fingerprint, why = _fingerprint(decoded)
        if why:
            absent[SOUNDID] = why
        else:
            models[SOUNDID] = parts.soundid_version

    reason = reason_of(decoded.damaged, decoded.info.duration_s, absent)
    topics = sections.get("topics") or []
    document = TagDocument.model_validate(
        {
            **sections,
            "upload_id": upload.upload_id,
            "outcome": "degraded" if reason else "ok",
            "reason": reason,
            "media": _facts(fetched, decoded),
            "coverage": Coverage(
                frames_decoded=decoded.frames_decoded,
                frames_embedded=len(encodings["picture"].times_s) if "picture" in encodings else 0,
                audio_s=round(len(decoded.waveform) / 16_000, 3),
                shots=len(decoded.shots),
            ),
            "diversity": Diversity(topic=topics[0]["topic"] if topics else None),
            "models": models,
            "absent": absent,
            "timings_ms": clock.ms,
        }
    )
    return Analysis(document, fingerprint, artifacts_of(decoded, evidence), encoding_rows(evidence), shadows)


def _tag_panes(
    sections: Mapping[str, Any], evidence: Evidence, asked: Sequence[Tagger], encoders: Mapping[str, Encoder]
) -> None:
    """Write the topics of each pane into the layout, if there are panes and both taggers spoke."""
    panes = (sections.get("layout") or {}).get("panes") or []
    speaker = next((tagger for tagger in asked if tagger.section == "topics"), None)
    if not panes or speaker is None or "topics" not in sections or PICTURE not in encoders:
        return
    try:
        said = pane_topics([pane["box"] for pane in panes], evidence, encoders[PICTURE], speaker)
    except Exception:  # the upload's own topics stand; a pane's are an addition
        log.exception("the panes' topics failed")
        return
    for pane, topics in zip(panes, said, strict=True):
        pane["topics"] = topics


def reason_of(damaged: bool, duration_s: float, absent: Mapping[str, str]) -> str | None:
    """Why a document is degraded; None: it is not."""
    reasons = [f"the file is damaged: {duration_s:.1f} s of it could be read"] if damaged else []
    if absent:
        reasons.append("absent: " + "; ".join(f"{name} ({why})" for name, why in sorted(absent.items())))
    return "; ".join(reasons) or None


def _evidence(upload: TagUpload, decoded: DecodedMedia) -> Evidence:
    return Evidence(
        duration_s=decoded.info.duration_s,
        frames=decoded.frames,
        frame_times_s=decoded.frame_times_s,
        shots=decoded.shots,
        waveform=decoded.waveform,
        still=decoded.info.still,
        has_audio=decoded.info.audio is not None,
        caption=upload.caption,
        hashtags=upload.hashtags,
        observations=decoded.observations,
    )


def _encode(
    evidence: Evidence, taggers: Sequence[Tagger], encoders: Mapping[str, Encoder]
) -> tuple[dict[str, Encoding], dict[str, str]]:
    """Run the encoders that these taggers read, each once. One that fails takes only its own taggers with it."""
    encodings: dict[str, Encoding] = {}
    failed: dict[str, str] = {}
    needed = (name for tagger in taggers for name in tagger.encoders)
    welcome = (name for tagger in taggers for name in optional_encoders(tagger) if name in encoders)
    for name in dict.fromkeys((*needed, *welcome)):
        try:
            # An encoder sees what those before it found: a dear one need not run on what has nothing for it.
            encodings[name] = encoders[name].encode(replace(evidence, encodings=encodings))
        except Exception as error:
            log.exception("encoder %s failed", name)
            failed[name] = f"its encoder {name} failed: {type(error).__name__}"
    return encodings, failed


def _fingerprint(decoded: DecodedMedia) -> tuple[Fingerprint | None, str | None]:
    """The fingerprint that the decoder's pass made, or why there is none."""
    if decoded.info.audio is None:
        return None, None
    observation = decoded.observations.get(FINGERPRINT)
    if observation is None or "error" in observation:
        return None, f"failed: {(observation or {}).get('error', 'no fingerprint was made')}"
    return Fingerprint.from_observation(observation), None


def _facts(fetched: FetchedMedia, decoded: DecodedMedia) -> MediaFacts:
    video, audio = decoded.info.video, decoded.info.audio
    return MediaFacts(
        sha256=fetched.sha256,
        bytes=fetched.bytes,
        container=decoded.info.container,
        duration_s=round(decoded.info.duration_s, 3),
        video=VideoInfo(**vars(video)) if video else None,
        audio=AudioInfo(**vars(audio)) if audio else None,
    )
